"""A split whose labels tell of action units, drawn by a package that is told them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import UserError
from sfe_core.evaluation.compare import compare
from sfe_core.evaluation.evaluate import evaluate
from sfe_core.evaluation.reporting.report_units import unit_judge_sentence, unit_tables, units_lead
from sfe_core.evaluation.statistics import agreement
from sfe_core.evaluation.summary import EvaluationSummary
from sfe_core.evaluation.yardstick import PRESENT_FROM
from sfe_core.faces.recognition.unit_readers import load_unit_reader
from sfe_core.sampling.pngs import read_record
from tests.sfe_core.conftest import with_settings
from tests.sfe_core.evaluation.units import (
    UNITS,
    label_units,
    with_units,
    write_units_judge,
    write_units_package,
)


@pytest.fixture(scope="module")
def measured(
    evaluated_once: Workspace, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, EvaluationSummary]:
    """A copy of the evaluated workspace with units, evaluated again; once, as it takes seconds."""
    folder = tmp_path_factory.mktemp("units")
    shutil.copytree(evaluated_once.root, folder / "work")
    judge = write_units_judge(folder / "units-judge")
    workspace = with_units(Workspace(folder / "work", evaluated_once.config), judge)
    label_units(workspace)
    write_units_package(workspace, tiny_base)
    return workspace, evaluate(workspace, name="units")


def test_a_package_of_units_is_told_those_of_the_labels(measured):
    workspace, summary = measured
    assert list(summary.scores) == ["base", "text", "guided", "real"]
    assert summary.provenance.package == "told"
    assert any("are the same pictures, drawn once" in note for note in summary.notes)
    table = pd.read_csv(summary.folder / "per_image.csv").set_index("key")
    (folder,) = [
        path
        for path in (workspace.generated / "val300").glob("guided-*")
        if "units" in (read_record(next(path.rglob("*.png"))) or {})
    ]
    for picture in folder.rglob("*.png"):
        record = read_record(picture)
        row = table.loc[record["key"]]
        wanted = {"AU4": row["AU4L"], "AU12L": row["AU12L"], "AU12R": row["AU12R"]}
        assert record["units"] == pytest.approx(wanted, rel=1e-5)  # AU25 it does not know
        assert record["maps"] == {}


def test_each_unit_is_scored_on_both_sides_and_by_people(measured):
    _, summary = measured
    table = pd.read_csv(summary.folder / "per_image.csv")
    for name, prefix in {"guided": "fine", "real": "orig"}.items():
        scores = summary.scores[name]
        for unit in UNITS:
            read = table[[f"{prefix}_{unit}L", f"{prefix}_{unit}R"]].to_numpy()
            asked = table[[f"{unit}L", f"{unit}R"]].to_numpy()
            for kind, statistic in (
                ("pearson", agreement.pearson),
                ("spearman", agreement.spearman),
                ("slope", agreement.slope),
                ("mse", agreement.mean_square),
            ):
                score = scores[f"unit_{kind}_{unit}"]
                # The table holds six digits.
                expected = float(statistic(read.mean(1), asked.mean(1)))
                assert score.value == pytest.approx(expected, rel=1e-3, abs=1e-4)
                assert score.low <= score.value <= score.high and score.people == 3
            seen = (read.max(axis=1) >= PRESENT_FROM).astype(float)
            f1 = agreement.f1(seen, table[f"{unit}_present"].to_numpy(float))
            assert scores[f"unit_f1_{unit}"].value == pytest.approx(float(f1))
        left = float(agreement.pearson(table[f"{prefix}_AU12L"], table["AU12L"]))
        found = scores["unit_pearson_left_AU12"].value
        assert found == pytest.approx(left, rel=1e-3, abs=1e-4)
        assert "unit_pearson_left_AU4" not in scores  # its halves are told alike
        each = [scores[f"unit_pearson_{unit}"].value for unit in UNITS]
        assert scores["units_pearson"].value == pytest.approx(np.mean(each))
        assert scores["units_pearson"].n == 9


def test_what_a_detector_wrote_of_the_same_pictures_judges_and_nothing_is_drawn(measured, tmp_path):
    workspace, summary = measured
    table = pd.read_csv(summary.folder / "per_image.csv").set_index("key")
    drawn = workspace.generated / "val300"
    values = np.random.default_rng(0).uniform(0, 5, (len(table), 2)).round(2)
    for folder in (*(path.name for path in drawn.iterdir() if path.is_dir()), "real"):
        for key, (frown, smile) in zip(table.index, values, strict=True):
            file = tmp_path / "openface" / folder / f"{key}.csv"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"face, confidence, AU04_r, AU12_r\n0, 0.9, {frown}, {smile}\n")
    before = {path: path.stat().st_mtime_ns for path in drawn.rglob("*.png")}
    filed = with_settings(workspace, evaluate={"units_judge": str(tmp_path / "openface")})
    found = evaluate(filed, name="filed")
    assert {path: path.stat().st_mtime_ns for path in drawn.rglob("*.png")} == before
    for place, unit in enumerate(("AU4", "AU12")):
        asked = table[[f"{unit}L", f"{unit}R"]].to_numpy().mean(1)
        expected = float(agreement.pearson(values[:, place], asked))
        for name in ("guided", "real"):
            score = found.scores[name][f"unit_pearson_{unit}"]
            assert score.value == pytest.approx(expected, rel=1e-3, abs=1e-4)
    report = found.report.read_text(encoding="utf-8")
    assert "OpenFace" in report and "AU25, which openface does not tell of" in report


def test_the_judge_reads_left_and_right_as_the_person_has_them(measured):
    workspace, summary = measured
    table = pd.read_csv(summary.folder / "per_image.csv").set_index("key")
    network = load_unit_reader(workspace.config.evaluate.units_judge)
    key = table.index[4]
    with torch.no_grad():
        left, right = network(Corpus.open(workspace).image(key, 64)[None])[0].numpy()
    for place, unit in enumerate(UNITS):
        row = table.loc[key]
        assert (row[f"orig_{unit}L"], row[f"orig_{unit}R"]) == pytest.approx(
            (left[place], right[place]), rel=1e-3, abs=1e-4
        )


def test_leakage_and_curves_are_kept_and_shown(measured):
    _, summary = measured
    found = summary.units
    assert found is not None and found.units == list(UNITS)
    assert summary.instruments["units"].backend == found.judge == "units-judge"
    for one in found.sets.values():
        assert np.array(one.leakage, dtype=float).shape == (3, 3)
        assert len(one.unasked) == len(one.curves) == 3
        for curve in one.curves:
            grades = [point.asked for point in curve]
            assert grades == sorted(set(grades)) and set(grades) <= set(range(6))
            assert sum(point.n for point in curve) == 9
    page = summary.report.read_text(encoding="utf-8")
    assert 'id="units"' in page and "Action units are read by units-judge" in page
    assert {"unit_curves", "unit_leakage_guided", "unit_leakage_real"} <= {
        path.stem for path in (summary.folder / "plots").glob("*.svg")
    }
    headings = [row["metric"] for row in summary.table]
    assert "Units, Pearson ↑" in headings and not any("AU12" in one for one in headings)


def test_the_tables_and_sentences_say_what_follows(measured):
    _, summary = measured
    first, *_, last = unit_tables(summary)
    assert (first.title, last.title) == ("fine-tuned, guided", "real photos")
    row = next(row for row in first.rows if row.code == "AU12")
    assert row.cells["pearson_left"].value and not first.rows[0].cells["pearson_left"].value
    real = summary.scores["real"]["unit_pearson_AU12"].value
    assert row.ceiling == f"{real:.2f}" and row.most.split()[0] in ("AU4", "AU25")
    assert units_lead(summary).startswith("Action units, fine-tuned, guided: ")
    assert "of 3 follow with a Pearson of 0.8" in units_lead(summary)
    assert "no network is said to have read their labels" in unit_judge_sentence(summary)


def test_two_evaluations_are_held_against_each_other_unit_by_unit(measured):
    workspace, summary = measured
    scores = compare(workspace, "units", "units").scores
    (change,) = [s for s in scores if (s.set, s.metric) == ("guided", "unit_pearson_left_AU12")]
    assert change.change.value == pytest.approx(0.0)
    assert change.change.n == summary.pictures


def test_without_labels_nothing_reads_units(evaluated_once: Workspace, summary: EvaluationSummary):
    assert evaluated_once.config.evaluate.units_judge == "auto"
    assert summary.units is None and "units" not in summary.instruments
    assert not any(name.startswith("unit") for name in summary.metrics)


def test_a_package_that_learnt_by_the_judges_labels_is_refused(measured):
    workspace, _ = measured
    told = workspace.packaged / "told" / "train_config.yaml"
    told.write_text("photos: {labels_read_by: [units-judge]}\n", encoding="utf-8")
    with pytest.raises(UserError, match="read the labels that told learnt by"):
        evaluate(workspace)
    told.unlink()


@pytest.mark.usefixtures("without_plots")
def test_who_labelled_or_steered_cannot_judge(measured, tmp_path: Path):
    workspace, _ = measured
    judge = workspace.config.evaluate.units_judge
    copy = tmp_path / "another-name"
    shutil.copytree(judge, copy)
    labelled = with_settings(workspace, photos={"labels_read_by": [str(copy)]})
    with pytest.raises(UserError, match=r"units_judge.*labels_read_by \(.*another-name\)"):
        evaluate(labelled)
    other = with_settings(workspace, photos={"labels_read_by": ["tiny-units-loss"]})
    found = evaluate(other, name="units")
    assert found.units is not None and found.units.labels_read_by == ["tiny-units-loss"]
    assert "their labels by tiny-units-loss" in unit_judge_sentence(found)
