"""Other people's pictures, measured by the same ruler; and two evaluations held together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.errors import RunError, UserError
from sfe_core.evaluation import evaluate as evaluation
from sfe_core.evaluation.compare import compare
from sfe_core.evaluation.evaluate import evaluate
from sfe_core.evaluation.pictures import GivenPictures
from sfe_core.evaluation.summary import EvaluationSummary
from tests.cases.colours import in_space, profile

pytestmark = pytest.mark.usefixtures("without_plots")


def folder_of(workspace: Workspace, variant: str) -> Path:
    return next((workspace.generated / "val300").glob(f"{variant}-*"))


@pytest.fixture
def given(evaluable: Workspace, tmp_path: Path) -> dict[str, Path]:
    """The drawn pictures as somebody else would send them, one of them missing."""
    folders = {}
    for name, variant in {"base": "base", "fine": "text"}.items():
        folders[name] = tmp_path / "sent" / name
        shutil.copytree(folder_of(evaluable, variant), folders[name])
    next(folders["fine"].rglob("*.png")).unlink()
    return folders


def test_given_folders_have_the_numbers_of_drawn_ones(
    evaluable: Workspace, summary: EvaluationSummary, given: dict[str, Path]
):
    shutil.rmtree(evaluable.packaged)
    found = evaluate(evaluable, images=given)
    assert list(found.scores) == ["base", "fine", "real"]
    assert found.folder == evaluable.evaluation / "val300-base+fine"
    for name in ("base", "real"):
        for metric, score in found.scores[name].items():
            assert score.value == pytest.approx(summary.scores[name][metric].value), metric
    assert found.excluded["fine"] == {"missing": 1} and found.scores["fine"]["top1"].n == 8
    assert found.baseline == "base" and set(found.deltas) == {"fine"}
    assert found.deltas["fine"]["top1"].n == 8
    assert any("elsewhere" in note for note in found.notes)
    assert not any(tool.seen_by_loss for tool in found.instruments.values())
    table = pd.read_csv(found.folder / "per_image.csv")
    assert {"orig_top1", "base_top1", "fine_top1", "fine_rank", "same_top3"} <= set(table)
    # How others drew them the workspace's settings do not tell.
    assert set(found.provenance.settings) == {"evaluate"}
    unlike = {
        name: values for name, *values in compare(evaluable, "val300", found.folder).drawn_unlike
    }
    assert unlike["sampling.steps"] == ["2", "not known"]


def test_pictures_are_read_as_photos_are_and_every_difference_is_told(
    evaluable: Workspace, given: dict[str, Path], tmp_path: Path
):
    folder = given["base"]
    paths = sorted(folder.rglob("*.png"))
    plain = {path: Image.open(path).convert("RGB") for path in paths}
    keys = [path.relative_to(folder).with_suffix("").as_posix() for path in paths]
    hidden = plain[paths[0]].convert("RGBA")
    hidden.putalpha(0)
    hidden.save(paths[0])
    grey = np.asarray(plain[paths[1]].convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 257).save(paths[1])
    plain[paths[2]].resize((96, 128)).save(paths[2])
    in_space(plain[paths[3]], "adobe").save(paths[3], icc_profile=profile("adobe"))
    paths[4].write_bytes(b"\x89PNG\r\n\x1a\ntorn")
    plain[paths[5]].save(paths[5].with_suffix(""), "PNG")
    paths[5].unlink()

    found = GivenPictures(folder, keys)
    assert found.matched == len(keys) and found.unused == 0
    assert found.picture(keys[0], 64).fault == "blank"  # white: its colours were hidden
    scaled = torch.from_numpy(np.tile(grey, (3, 1, 1))).float() / 127.5 - 1
    assert torch.equal(found.picture(keys[1], 64).image, scaled)
    wanted = torch.from_numpy(np.asarray(plain[paths[3]])).permute(2, 0, 1) / 127.5 - 1
    assert (found.picture(keys[3], 64).image - wanted).abs().mean() < 0.01
    assert found.picture(keys[4], 64).fault == "unreadable"
    assert set(found.differences(64)) == {
        "1 of 9 pictures have transparency, laid on white",
        "1 of 9 pictures have more than 8 bits, scaled by a fixed rule",
        "1 of 9 pictures are not square: their central square is measured",
        "1 of 9 pictures are shrunk to 64 px",
        "1 of 9 pictures have a colour profile, converted to sRGB",
    }


def test_two_pictures_of_one_key_are_refused(evaluable: Workspace, given: dict[str, Path]):
    twin = min(given["base"].rglob("*.png"))
    Image.new("RGB", (8, 8)).save(twin.with_suffix(".jpg"))
    with pytest.raises(UserError, match=f"{twin.stem}.jpg and {twin.name} are both the picture"):
        evaluate(evaluable, images=given)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("count", [1, 2])
def test_a_set_of_one_or_two_has_numbers_without_intervals(
    evaluable: Workspace, given: dict[str, Path], count: int
):
    for path in sorted(given["base"].rglob("*.png"))[count:]:
        path.unlink()
    found = evaluate(evaluable, images={"base": given["base"]})
    assert found.counted == f"9 pictures asked for; measured: {count} base, 9 real photos"
    for name, score in found.scores["base"].items():
        assert score.low is None, name
    assert any(note.startswith(f"{count} pictures are few") for note in found.notes)
    assert any("fewer than 3 pictures" in note for note in found.notes)
    page = (found.folder / "report.html").read_text(encoding="utf-8")
    assert f"measured: {count} base" in page and ">nan" not in page


def test_names_that_would_mix_up_columns_are_refused(evaluable: Workspace, given: dict[str, Path]):
    with pytest.raises(UserError, match="real is the corpus"):
        evaluate(evaluable, images={"real": given["base"]})
    with pytest.raises(UserError, match="cannot name a set"):
        evaluate(evaluable, images={"../x": given["base"]})
    with pytest.raises(UserError, match="same columns"):
        evaluate(evaluable, images={"fine": given["fine"], "guided": given["base"]})


def test_the_originals_table_has_its_columns_and_meaning(evaluated_once: Workspace):
    table = pd.read_csv(evaluated_once.evaluation / "val300" / "emotion_results.csv")
    sets = [
        *(f"orig_{c}" for c in ("top1", "top2", "top3", "val", "aro")),
        *(f"base_{c}" for c in ("top1", "top2", "top3", "val", "aro", "rank")),
        *(f"fine_{c}" for c in ("top1", "top2", "top3", "val", "aro", "rank")),
    ]
    assert table.columns.tolist() == ["file", "prompt", "gt", *sets, "same_top1", "same_top3"]
    for prefix in ("base", "fine"):
        firsts = table[[f"{prefix}_top{k}" for k in (1, 2, 3)]]
        for row, (gt, rank) in enumerate(zip(table["gt"], table[f"{prefix}_rank"], strict=True)):
            seen = firsts.iloc[row].tolist()
            assert rank == (seen.index(gt) + 1 if gt in seen else 0)
    same = [
        int(bool(set(row[["base_top1", "base_top2", "base_top3"]])
                 & set(row[["fine_top1", "fine_top2", "fine_top3"]])))
        for _, row in table.iterrows()
    ]  # fmt: skip
    assert table["same_top3"].tolist() == same
    assert (table["same_top1"] == (table["base_top1"] == table["fine_top1"])).all()
    assert table["prompt"].notna().all() and table["fine_val"].between(-1, 1).all()


def saved_as(workspace: Workspace, name: str, changes: dict | None = None) -> Path:
    """A copy of the evaluation under another name, its summary changed."""
    folder = workspace.evaluation / name
    shutil.copytree(workspace.evaluation / "val300", folder)
    if changes:
        path = folder / "summary.json"
        stored = json.loads(path.read_text(encoding="utf-8"))
        for place, value in changes.items():
            *parents, last = place.split("/")
            inner = stored
            for parent in parents:
                inner = inner[parent]
            inner[last] = value
        path.write_text(json.dumps(stored), encoding="utf-8")
    return folder


def test_an_evaluation_is_no_different_from_itself(evaluable: Workspace):
    saved_as(evaluable, "again", {"provenance/settings/sampling/steps": 50})
    found = compare(evaluable, "val300", "again")
    assert (found.first, found.second) == ("val300", "again")
    assert found.drawn_unlike == [("sampling.steps", "2", "50")]
    assert {score.set for score in found.scores} == {"base", "text", "guided", "real"}
    changes = [score.change for score in found.scores if score.change.value is not None]
    assert changes and all(change.value == 0.0 for change in changes)
    row = found.table()[0]
    assert row["metric"] == "Emotion Top-1 ↑" and row["val300"] == row["again"]
    assert float(row["p"]) == 1.0


def test_a_change_is_paired_picture_by_picture(evaluable: Workspace, summary: EvaluationSummary):
    folder = saved_as(evaluable, "later")
    table = pd.read_csv(folder / "per_image.csv")
    table["base_rank"] = 1
    table["base_landmark_error"] += 1.0
    table.to_csv(folder / "per_image.csv", index=False)
    found = {s.metric: s for s in compare(evaluable, "val300", folder).scores if s.set == "base"}
    before = summary.scores["base"]["top1"].value
    change = found["top1"].change
    assert change.value == pytest.approx(1.0 - before) and change.test == "McNemar exact"
    assert change.low <= change.value <= change.high
    moved = found["landmark_error"].change
    if moved.value is not None:  # the random models may draw no face at all
        assert moved.value == pytest.approx(1.0) and moved.test == "Wilcoxon signed rank"
    assert found["frechet_random-judge"].change.p_value is None


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("resolution", 128, "resolution 64 and 128"),
        ("keys_sha256", "f" * 64, "keys"),
        ("reference/sha256", "f" * 64, "reference photos"),
        ("instruments/random-judge/weights_sha256", "f" * 64, "random-judge: weights_sha256"),
        ("instruments/detector/resize", "another", "detector: resize"),
        ("scores/base/frechet_random-judge/n", 3, "base: N 9 and 3"),
    ],
)
def test_unlike_settings_are_refused_by_name(evaluable: Workspace, place: str, value, words: str):
    saved_as(evaluable, "other", {place: value})
    with pytest.raises(UserError, match=f"measured unlike: .*{words}"):
        compare(evaluable, "val300", "other")


def test_missing_and_torn_evaluations_are_told(evaluable: Workspace):
    with pytest.raises(UserError, match="there are: val300"):
        compare(evaluable, "val300", "nowhere")
    folder = saved_as(evaluable, "torn")
    (folder / "summary.json").write_text('{"split": "val300"}', encoding="utf-8")
    with pytest.raises(RunError, match="run `sfe evaluate` again"):
        compare(evaluable, "val300", "torn")


def test_a_name_keeps_the_evaluation_apart(evaluable: Workspace):
    before = (evaluable.evaluation / "val300" / "summary.json").read_bytes()
    found = evaluation.evaluate(evaluable, name="first try")
    assert found.folder == evaluable.evaluation / "first try"
    assert (found.folder / "per_image.csv").is_file()
    assert (evaluable.evaluation / "val300" / "summary.json").read_bytes() == before
    with pytest.raises(UserError, match="--name"):
        evaluation.evaluate(evaluable, name="../outside")
