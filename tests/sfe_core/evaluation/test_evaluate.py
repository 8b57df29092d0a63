"""End to end on random models: everything is drawn, read, scored and written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from jsonschema import Draft202012Validator

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import read_manifest, write_manifest
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.evaluation.evaluate import evaluate
from sfe_core.evaluation.instruments.measuring import Meter
from sfe_core.evaluation.resampled import RESAMPLES, load_resampled
from sfe_core.evaluation.summary import SCHEMA, EvaluationSummary, summary_schema
from tests.sfe_core.evaluation.conftest import TRAINING, VALIDATION, write_faces, write_package

VARIANTS = ["base", "text", "guided", "real"]


def test_writes_every_output(summary: EvaluationSummary):
    names = {path.relative_to(summary.folder).as_posix() for path in summary.folder.rglob("*.*")}
    plain = {name for name in names if not name.startswith("plots/")}
    tables = {"per_image.csv", "emotion_results.csv", "table.tex"}
    assert plain == {"summary.json", "summary.schema.json", "report.html", RESAMPLES, *tables}
    # test_report holds every plot against the page.
    assert {"plots/topk.png", "plots/topk.svg"} <= names


def test_scores_every_set_with_all_that_makes_them_comparable(summary: EvaluationSummary):
    assert list(summary.scores) == VARIANTS
    assert (summary.split, summary.pictures, summary.resolution) == ("val300", VALIDATION, 64)
    assert summary.reference.split == "train" and summary.reference.n == TRAINING
    for scores in summary.scores.values():
        for name, score in scores.items():
            assert score.backend and score.resize
            assert len(score.weights_sha256) == 64
            assert score.value is None or score.reason or score.low <= score.high, name
    real = summary.scores["real"]
    assert real["face_found"].value == 1.0 and real["landmark_error"].value < 8
    assert real["perceptual_st-lpips"].value is None
    # The photos of one face lie nearer to others of it than the random models' noise does.
    name = "frechet_random-judge"
    assert real[name].value < summary.scores["base"][name].value
    assert set(summary.deltas) == set(summary.tests) == {"text", "guided"}


def test_summary_json_holds_the_schema_and_the_summary(summary: EvaluationSummary):
    stored = json.loads((summary.folder / "summary.json").read_text(encoding="utf-8"))
    assert stored == summary.as_json()
    assert stored["schema_name"] == SCHEMA
    again = EvaluationSummary.model_validate({**stored, "folder": summary.folder})
    assert again == summary
    schema = json.loads((summary.folder / "summary.schema.json").read_text(encoding="utf-8"))
    assert schema == json.loads(summary_schema())
    Draft202012Validator.check_schema(schema)
    assert not list(Draft202012Validator(schema).iter_errors(stored))
    broken = {**stored, "pictures": "many", "surprise": 1}
    assert len(list(Draft202012Validator(schema).iter_errors(broken))) == 2


def test_no_output_tells_where_it_was_made(
    evaluated_once: Workspace, summary: EvaluationSummary, tiny_base: Path
):
    texts = [path for path in summary.folder.iterdir() if path.is_file()]
    assert {"summary.json", "report.html", "table.tex"} <= {path.name for path in texts}
    for place in (evaluated_once.root, tiny_base):
        telling = [path.name for path in texts if str(place).encode() in path.read_bytes()]
        assert telling == []


def test_what_the_bootstrap_drew_is_kept_to_be_pooled(summary: EvaluationSummary):
    found = load_resampled(summary.folder)
    assert found.keys() == summary.scores.keys()
    assert found["guided"].keys() == summary.scores["guided"].keys()
    assert len(found["base"]["top1"].values) == 200
    assert found["base"]["top1"].behind.pictures == summary.scores["base"]["top1"].n


def test_the_table_is_ready_to_show(summary: EvaluationSummary):
    first = summary.table[0]
    assert list(first) == [
        "metric",
        "base",
        "fine-tuned, text",
        "fine-tuned, guided",
        "real photos",
    ]
    assert first["metric"] == "Emotion Top-1 ↑"
    assert all(isinstance(value, str) and value for row in summary.table for value in row.values())


def test_per_image_rows_agree_with_the_scores(summary: EvaluationSummary):
    table = pd.read_csv(summary.folder / "per_image.csv")
    assert len(table) == VALIDATION
    assert table["key"].str.startswith("val300/no ").all()
    for variant, prefix in {"base": "base", "text": "text", "guided": "fine"}.items():
        assert table[f"{prefix}_top1"].isin(EMOTIONS).all()
        scores = summary.scores[variant]
        right = (table[f"{prefix}_top1"] == table["emotion"]).mean()
        assert right == pytest.approx(scores["top1"].value)
        assert (table[f"{prefix}_rank"] <= 3).mean() == pytest.approx(scores["top3"].value)
        mean = table[f"{prefix}_perceptual"].mean()
        assert mean == pytest.approx(scores["perceptual_st-lpips"].value, rel=1e-4)
    assert set(table["same_top1"]) <= {True, False}


@pytest.mark.usefixtures("without_plots")
def test_a_second_run_draws_and_measures_nothing_and_writes_the_same(
    evaluated_once: Workspace, summary: EvaluationSummary, monkeypatch: pytest.MonkeyPatch
):
    names = ("summary.json", "per_image.csv", "emotion_results.csv", "table.tex")
    before = {summary.folder / name: (summary.folder / name).read_bytes() for name in names}
    page = summary.report.read_bytes()

    def refuse(*_arguments, **_options):
        raise AssertionError("nothing should have to be done again")

    monkeypatch.setattr(Meter, "read", refuse)
    monkeypatch.setattr("sfe_core.sampling.share.draw_all", refuse)
    evaluate(evaluated_once)
    assert {p: p.read_bytes() for p in before} == before
    summary.report.write_bytes(page)  # this one has no plots


@pytest.mark.slow
@pytest.mark.usefixtures("without_plots")
def test_a_new_package_reuses_base_and_photos(
    evaluable: Workspace,
    summary: EvaluationSummary,
    tiny_base,
    monkeypatch: pytest.MonkeyPatch,
):
    first = summary
    write_package(evaluable, tiny_base, "later", seed=5)
    measured = []
    read = Meter.read
    monkeypatch.setattr(
        Meter, "read", lambda *arguments: measured.append(arguments[1]) or read(*arguments)
    )
    second = evaluate(evaluable)
    assert [pictures.folder.name.split("-")[0] for pictures in measured] == ["text", "guided"]
    assert second.provenance.package == "later"
    assert second.scores["base"] == first.scores["base"]
    weights = (first.provenance.weights_sha256, second.provenance.weights_sha256)
    assert weights[0]["base"] == weights[1]["base"] and weights[0]["text"] != weights[1]["text"]


@pytest.mark.usefixtures("without_plots")
def test_without_labels_the_emotion_metrics_are_skipped_with_the_reason(evaluable: Workspace, face):
    write_faces(evaluable, face, labelled=False)
    found = evaluate(evaluable)
    assert any("no emotion label" in note for note in found.notes)
    assert found.scores["guided"]["top1"].value is None
    assert found.scores["guided"]["kernel_random-judge"].value is not None
    assert found.table[0]["base"] == "n/a"
    assert "no emotion labels" in found.report.read_text(encoding="utf-8")


@pytest.mark.usefixtures("without_plots")
def test_one_picture_and_no_training_photos(evaluable: Workspace):
    path = evaluable.corpus / MANIFEST
    rows = read_manifest(path)
    rows["split"] = ["val300"] + [""] * (len(rows) - 1)
    write_manifest(path, rows)
    found = evaluate(evaluable)
    assert found.pictures == 1
    assert found.scores["base"]["frechet_random-judge"].value is None
    assert any("fewer than two photos" in note for note in found.notes)
    top1 = found.scores["real"]["top1"]
    assert top1.value in (0.0, 1.0) and top1.low is None and "fewer than 3 pictures" in top1.reason
    assert found.report.is_file()


@pytest.mark.usefixtures("without_plots")
def test_a_package_without_guidance_is_measured_from_text(evaluable: Workspace):
    shutil.rmtree(evaluable.packaged / "tuned" / "guidance_encoder")
    found = evaluate(evaluable)
    assert list(found.scores) == ["base", "text", "real"]
    assert any("no guidance encoders" in note for note in found.notes)
    assert "fine-tuned, guided" not in found.table[0]
    assert "fine_top1" not in pd.read_csv(found.folder / "per_image.csv")


@pytest.mark.slow
@pytest.mark.usefixtures("without_plots")
def test_the_training_split_has_no_reference_of_its_own(evaluable: Workspace):
    found = evaluate(evaluable, split="train")
    assert found.folder == evaluable.evaluation / "train"
    assert "reference" in found.scores["real"]["frechet_random-judge"].reason


def test_unknown_splits_and_missing_packages_are_the_users_errors(evaluable: Workspace):
    with pytest.raises(UserError, match=r"val300 \(9\)"):
        evaluate(evaluable, split="test")
    shutil.rmtree(evaluable.packaged)
    with pytest.raises(UserError, match="package-checkpoint"):
        evaluate(evaluable)
    assert not (evaluable.evaluation / "test").exists()


@pytest.mark.usefixtures("without_plots")
def test_a_package_of_this_workspace_shows_its_numbers_and_one_elsewhere_stays(
    evaluable: Workspace, tmp_path: Path
):
    mine = next(evaluable.packaged.iterdir())
    (mine / "README.md").write_text("# tuned\n", encoding="utf-8")
    theirs = tmp_path / "shared" / mine.name
    shutil.copytree(mine, theirs)
    evaluate(evaluable, package=theirs)
    assert (theirs / "README.md").read_text(encoding="utf-8") == "# tuned\n"
    found = evaluate(evaluable, package=mine)
    card = (mine / "README.md").read_text(encoding="utf-8")
    assert "## Evaluation on val300" in card and found.table[0]["base"] in card
