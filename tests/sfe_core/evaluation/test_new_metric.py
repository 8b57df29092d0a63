"""A metric is one record in one file: a toy one, added as a diff, is told wherever numbers are."""

from __future__ import annotations

import json
import shutil
from difflib import ndiff
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from sfe_core.config.workspace import Workspace
from sfe_core.evaluation import metrics
from sfe_core.evaluation.compare import compare
from sfe_core.evaluation.evaluate import evaluate

# What somebody adds to sfe_core/evaluation/metrics.py, and nothing else anywhere.
ABOVE = "    *(_recall_of(emotion) for emotion in EMOTIONS),\n"
TOY = """\
    GUIDANCE(
        name="toy",
        title="Toy number",
        meaning="Found faces, counted by halves.",
        digits=2,
        measure=OfPictures(lambda seen: (seen.column("detected") / 2,), stored=("*_toy",)),
    ),
"""


@pytest.fixture
def with_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file as it is with the toy's record in it."""
    before = Path(metrics.__file__).read_text(encoding="utf-8")
    after = before.replace(ABOVE, ABOVE + TOY)
    changed = list(ndiff(before.splitlines(True), after.splitlines(True)))
    assert [line[2:] for line in changed if line[0] == "+"] == TOY.splitlines(True)
    assert not [line for line in changed if line[0] == "-"]
    module = ModuleType(metrics.__name__)
    exec(compile(after, metrics.__file__, "exec"), vars(module))
    monkeypatch.setattr(metrics, "METRICS", module.METRICS)


@pytest.mark.usefixtures("with_toy", "without_plots")
def test_one_record_is_enough(evaluable: Workspace):
    (package,) = evaluable.packaged.iterdir()
    (package / "README.md").write_text("# tuned\n", encoding="utf-8")
    before = json.loads((evaluable.evaluation / "val300" / "summary.json").read_text("utf-8"))
    summary = evaluate(evaluable)

    stored = json.loads((summary.folder / "summary.json").read_text("utf-8"))
    assert stored["metrics"]["toy"]["description"] == "Found faces, counted by halves."
    assert stored["scores"]["real"]["toy"]["value"] == 0.5  # a face is on every photo
    assert "toy" in stored["deltas"]["guided"]
    assert stored["metrics"].keys() - before["metrics"].keys() == {"toy"}
    assert (pd.read_csv(summary.folder / "per_image.csv")["orig_toy"] == 0.5).all()

    page = summary.report.read_text("utf-8")
    assert "Toy number" in page and "Found faces, counted by halves." in page
    assert r"Toy number $\uparrow$" in (summary.folder / "table.tex").read_text("utf-8")
    assert "| Toy number ↑ |" in (package / "README.md").read_text("utf-8")
    assert any(row["metric"] == "Toy number ↑" for row in summary.table)

    again = evaluable.evaluation / "again"
    shutil.copytree(summary.folder, again)
    table = pd.read_csv(again / "per_image.csv")
    table.assign(orig_toy=table["orig_toy"] + 1.0).to_csv(again / "per_image.csv", index=False)
    scores = compare(evaluable, "val300", again).scores
    (change,) = [s.change for s in scores if (s.set, s.metric) == ("real", "toy")]
    assert (change.value, change.test) == (1.0, "Wilcoxon signed rank")
