"""The protocols of action units from end to end, on random models and few units."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.errors import UserError
from sfe_core.evaluation import protocol as module
from sfe_core.evaluation.protocol import evaluate_protocol
from sfe_core.evaluation.protocol_scoring import asked_labels, pairs_of_people
from sfe_core.evaluation.summary import EvaluationSummary
from sfe_core.evaluation.unit_protocols import PhotoToChange, fineface_commands, magicface_commands
from sfe_core.sampling.pngs import read_record
from tests.sfe_core.conftest import with_settings
from tests.sfe_core.evaluation.conftest import write_faces, write_package
from tests.sfe_core.evaluation.units import (
    label_units,
    with_units,
    write_units_judge,
    write_units_package,
)


def test_a_picture_counts_for_the_units_that_it_asks_for_and_rest_for_all():
    commands = [one for one in fineface_commands(("AU4", "AU12"), ["a"]) if one.part == "single"]
    labels = asked_labels(commands, ("AU4", "AU12"))
    counted = np.isfinite(labels.units["AU12"][:, 0])
    assert counted.sum() == 6 and labels.units["AU12"][counted, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert labels.units["AU12"][counted, 2].tolist() == [0, 0, 1, 1, 1, 1]
    assert np.isfinite(labels.commanded["AU12"][:, :2]).all()
    assert labels.commanded["AU12"][~counted, :2].max() == 0.0


def test_changes_have_no_presence():
    photo = PhotoToChange("k", "k", "", {"AU12": (1.0, 1.0)})
    labels = asked_labels(magicface_commands(("AU12",), [photo]), ("AU12",))
    assert labels.units["AU12"][:, 0].tolist() == [-1.0, -1.0, 2.0, 4.0]
    assert np.isnan(labels.units["AU12"][:, 2]).all()


def test_pairs_go_round_the_photos_of_each_person():
    who = pd.Series(["a", "b", "a", None, "a", "c", "b"], dtype="string")
    one, other = pairs_of_people(who)
    assert list(zip(one.tolist(), other.tolist(), strict=True)) == [
        (0, 2), (1, 6), (2, 4), (4, 0), (6, 1),
    ]  # fmt: skip
    assert len(pairs_of_people(pd.Series(["a", "b"]))[0]) == 0


@pytest.fixture(scope="module")
def told(
    evaluated_once: Workspace, face, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory
) -> Workspace:
    """Six labelled photos, a package that knows two units, and two prompts."""
    folder = tmp_path_factory.mktemp("protocols")
    judge = write_units_judge(folder / "units-judge")
    workspace = with_units(Workspace(folder / "work", evaluated_once.config), judge)
    workspace = with_settings(
        workspace,
        evaluate={"protocol_prompts": "prompts.txt", "protocol_photos": 2, "batch_size": 32},
        sampling={"steps": 1, "batch_size": 32},
    )
    write_faces(workspace, face, counts=(6, 3))
    (workspace.root / "prompts.txt").write_text("a woman\n\na man\na woman\n", encoding="utf-8")
    label_units(workspace)
    write_units_package(workspace, tiny_base)
    return workspace


@pytest.fixture
def few_combinations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfe_core.evaluation.unit_protocols.COMBINATIONS", 4)


@pytest.fixture
def fineface(told: Workspace, few_combinations: None) -> EvaluationSummary:
    """Drawn and read by the first test that asks; the others find it done."""
    return evaluate_protocol(told, "fineface")


@pytest.mark.slow
def test_fineface_scores_units_alone_and_together_with_the_photos_as_ceiling(
    told: Workspace, fineface: EvaluationSummary
):
    assert list(fineface.scores) == ["single", "combined", "real"]
    assert fineface.counted == (
        "22 pictures units alone, 4 pictures units together, 6 pictures real photos"
    )
    assert any("left out: AU1, AU2, AU5" in note for note in fineface.notes)
    table = pd.read_csv(fineface.folder / "per_image.csv")
    assert table["part"].value_counts().to_dict() == {"single": 22, "combined": 4}
    chosen = table[table["AU12L"].notna() & (table["part"] == "single")]
    read = chosen[["single_AU12L", "single_AU12R"]].mean(axis=1)
    score = fineface.scores["single"]["unit_mse_AU12"]
    assert score.value == pytest.approx(((read - chosen["AU12L"]) ** 2).mean(), rel=1e-3)
    assert (score.n, score.people) == (12, 2)
    assert fineface.scores["real"]["unit_pearson_AU12"].n == 6
    quality = fineface.scores["single"]["kernel_random-judge"]
    assert quality.value is not None and fineface.reference.n == 3
    assert any("4.71" in note for note in fineface.notes)


@pytest.mark.slow
def test_each_picture_is_told_what_the_list_says(told: Workspace, fineface: EvaluationSummary):
    listed = pd.read_csv(fineface.folder / "commands.csv").set_index("name")
    (folder,) = (told.generated / "protocols").glob("fineface-*")
    seeds = set()
    for name, row in listed.iterrows():
        record = read_record(folder / f"{name}.png")
        assert record is not None and record["prompt"] == row["prompt"]
        assert record["units"] == {n: row[n] for n in ("AU4L", "AU4R", "AU12L", "AU12R")}
        seeds.add((row["prompt"], record["seed"]))
    assert {prompt for prompt, _ in seeds} == {"a woman", "a man"} and len(seeds) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("without_plots")
def test_pictures_made_elsewhere_are_read_by_the_lists_names(
    told: Workspace, fineface: EvaluationSummary, tmp_path: Path
):
    (drawn,) = (told.generated / "protocols").glob("fineface-*")
    shutil.copytree(drawn, tmp_path / "theirs", ignore=shutil.ignore_patterns("*.json", ".*"))
    found = evaluate_protocol(told, "fineface", images={"theirs": tmp_path / "theirs"})
    assert found.folder.name == "fineface-theirs"
    assert list(found.scores) == ["theirs_single", "theirs_combined", "real"]
    mine, theirs = fineface.scores["single"], found.scores["theirs_single"]
    assert theirs["unit_slope_AU4"].value == mine["unit_slope_AU4"].value


@pytest.mark.slow
@pytest.mark.usefixtures("few_combinations")
def test_magicface_measures_changes_of_labelled_photos(told: Workspace):
    found = evaluate_protocol(told, "magicface")
    assert list(found.scores) == ["single", "combined", "real"]
    table = pd.read_csv(found.folder / "per_image.csv")
    single = table[table["part"] == "single"]
    assert single["AU12L"].min() < -1 < 1 < single["AU12L"].max()
    assert table["person"].nunique() == 2
    assert not any(name.startswith("unit_f1") for name in found.metrics)
    assert found.scores["single"]["perceptual_st-lpips"].value is not None
    assert found.scores["single"]["units_mse"].value is not None
    assert found.scores["real"]["unit_pearson_AU4"].n == 6  # two photos of each of three people
    page = found.report.read_text(encoding="utf-8")
    assert "One face, each unit" in page and "0.261" in page
    stored = json.loads((found.folder / "summary.json").read_text(encoding="utf-8"))
    assert EvaluationSummary.model_validate({**stored, "folder": found.folder}) == found


@pytest.mark.slow
@pytest.mark.usefixtures("few_combinations", "without_plots")
def test_maps_hold_the_photos_face_where_the_package_reads_them(told: Workspace, tiny_base: Path):
    one = with_settings(told, evaluate={"protocol_photos": 1})
    package = write_package(one, tiny_base, "mapped")
    found = evaluate_protocol(one, "magicface", package=package, name="mapped")
    assert any("guided by maps of each photo's own face" in note for note in found.notes)
    assert found.scores["single"]["units_mse"].value is not None
    assert "pose_error" in found.metrics
    listed = pd.read_csv(found.folder / "commands.csv").set_index("name")
    folders = (told.generated / "protocols").glob("magicface-guided-*")
    (folder,) = [path for path in folders if (path / f"{listed.index[0]}.png").is_file()
                 and "change" in (read_record(path / f"{listed.index[0]}.png") or {})]  # fmt: skip
    for name, row in listed.iterrows():
        record = read_record(folder / f"{name}.png")
        assert record is not None and str(name).startswith(record["photo"])
        for unit, sides in record["change"].items():
            assert sum(sides) / 2 == pytest.approx(row[f"{unit}_asked"], abs=1e-4)
    again = draw_mtimes(folder)
    evaluate_protocol(one, "magicface", package=package, name="mapped")
    assert draw_mtimes(folder) == again  # found, not drawn again


def draw_mtimes(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*.png")}


@pytest.mark.slow
@pytest.mark.usefixtures("few_combinations", "without_plots")
def test_a_package_without_units_is_told_them_in_words(told: Workspace, tiny_base: Path):
    shutil.copytree(tiny_base, told.packaged / "plain")
    found = evaluate_protocol(told, "fineface", package=told.packaged / "plain", name="words")
    assert any("told in words" in note for note in found.notes)
    folders = (told.generated / "protocols").glob("fineface-text-*")
    (picture,) = [path / "00" / "AU12-4.png" for path in folders]
    record = read_record(picture)
    assert record is not None and record["prompt"] == "a woman, lip corners pulled up strongly"
    assert "units" not in record


def test_mistakes_are_told_before_anything_is_drawn(
    told: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "draw_records", lambda *_: pytest.fail("drawn"))
    with pytest.raises(UserError, match="--protocol.*'emotions' is unknown"):
        evaluate_protocol(told, "emotions")
    without = with_settings(told, evaluate={"units_judge": ""})
    with pytest.raises(UserError, match="units_judge.*is empty"):
        evaluate_protocol(without, "fineface")
    elsewhere = with_settings(told, evaluate={"protocol_prompts": "none.txt"})
    with pytest.raises(UserError, match="protocol_prompts"):
        evaluate_protocol(elsewhere, "fineface")
    Image.new("RGB", (64, 64)).save(tmp_path / "other.png")
    with pytest.raises(UserError, match="such as 00/rest.png"):
        evaluate_protocol(told, "fineface", images={"theirs": tmp_path})
    assert (told.evaluation / "fineface-theirs" / "commands.csv").is_file()
