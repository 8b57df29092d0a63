"""The table for papers: right numbers, right marks, and LaTeX that LaTeX takes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sfe_core.evaluation.reporting.latex import escape, latex_table
from sfe_core.evaluation.summary import Delta, SetInfo
from tests.sfe_core.evaluation.summaries import FRECHET, TOP1, make_summary, score


def body(text: str) -> list[list[str]]:
    """Cells of the rows of numbers."""
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    rows = [re.split(r"(?<!\\)&", line.removesuffix(r"\\")) for line in lines]
    return [[cell.strip() for cell in row] for row in rows]


def test_numbers_intervals_and_marks(tmp_path: Path):
    heading, top1, around, frechet, beneath = body(latex_table(make_summary(tmp_path)))
    assert heading == ["", "base", "fine-tuned, guided", "real photos"]
    assert top1[:2] == [r"Emotion Top-1, \% $\uparrow$", "$31.0$"]
    # Best of the drawn sets, and better beyond its interval; the ceiling is no competitor.
    assert top1[2:] == [r"$\mathbf{39.0}^{\ast}$", "$52.0$"]
    assert around[:2] == ["", r"{\scriptsize $[26.0, 36.0]$}"]
    # Best, but not beyond doubt.
    assert frechet[2] == r"$\mathbf{84.4}$" and frechet[0] == r"Fréchet $\downarrow$"
    assert beneath[0] == r"{\scriptsize (emonet\_8)}"


def test_worse_is_marked_and_a_tie_is_shared(tmp_path: Path):
    worse = {"guided": {"top1": Delta(value=-0.1, low=-0.2, high=-0.05, n=9)}}
    row = body(latex_table(make_summary(tmp_path, deltas=worse)))[1]
    assert r"^{\circ}" in row[2] and r"^{\circ}" not in row[1]
    even = {
        name: {"top1": score((0.5, None, None), "x"), "frechet_emonet_8": score(None, "x")}
        for name in TOP1
    }
    rows = body(latex_table(make_summary(tmp_path, scores=even, deltas={})))
    assert rows[1][1:] == [r"$\mathbf{50.0}$", r"$\mathbf{50.0}$", "$50.0$"]
    assert len(rows) == 2  # no interval, and nothing of the distance was measured


def test_negative_numbers_are_set_as_mathematics(tmp_path: Path):
    scores = make_summary(tmp_path).scores
    changed = {**scores["base"], "frechet_emonet_8": score((-0.5, -1.0, -0.1), "x")}
    text = latex_table(make_summary(tmp_path, scores={**scores, "base": changed}))
    assert r"$\mathbf{-0.5}$" in text and "$[-1.0, -0.1]$" in text
    assert "\N{MINUS SIGN}" not in text


def test_special_characters_are_harmless():
    assert escape(r"50 % of a_b & {c}\d $#~^") == (
        r"50 \% of a\_b \& \{c\}\textbackslash{}d \$\#\textasciitilde{}\textasciicircum{}"
    )
    assert escape("two\nlines") == "two lines"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_sets_it(tmp_path: Path):
    named = {name: SetInfo(title=f"50 % {name}_#&", role="tuned", prefix=name) for name in FRECHET}
    (tmp_path / "table.tex").write_text(latex_table(make_summary(tmp_path, sets=named)), "utf-8")
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}"
        "\\input{table.tex}\\end{document}",
        encoding="utf-8",
    )
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]
