"""The page is whole, asks nothing of the network, escapes what it shows, and tells the truth."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from io import BytesIO

import pandas as pd
import pytest
from PIL import Image

from sfe_core.evaluation.reporting import report
from sfe_core.evaluation.reporting.report import lead_sentence, render_report
from sfe_core.evaluation.reporting.report_strips import Strips
from sfe_core.evaluation.summary import Delta, EvaluationSummary, Metric, Resampling

VOID = {"meta", "img", "br"}
SHAPES = {"path", "use", "rect", "circle"}  # of SVG; html.parser reports <use/> as start and end


class Page(HTMLParser):
    """Collects what a page refers to, and whether its tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.scripts = self.unclosed = 0
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        names = ("src", "href", "srcset", "data", "action", "poster")
        self.references += [value for name, value in attrs if name in names]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def text(summary: EvaluationSummary) -> str:
    return summary.report.read_text(encoding="utf-8")


def test_everything_is_inside(text: str):
    page = Page(text)
    assert page.open == [] and page.scripts == 0
    pictures = [one for one in page.references if not one.startswith("#")]
    assert pictures and all(one.startswith("data:image/png") for one in pictures)
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style and "@import" not in style
    assert not re.search(r"https?://", text)


def test_every_reference_inside_the_page_has_one_target(text: str):
    targets = re.findall(r'\bid="([^"]+)"', text)
    assert len(targets) == len(set(targets))
    used = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    assert used and used <= set(targets)


def test_every_embedded_picture_opens(text: str):
    pictures = [one for one in Page(text).references if one.startswith("data:")]
    for one in pictures:
        with Image.open(BytesIO(base64.b64decode(one.split(",", 1)[1]))) as picture:
            picture.load()
            assert picture.size == (64, 64)  # the model's own side
    assert len(pictures) == 4 * 8  # four keys helped most and four least, four sets each


def test_every_plot_is_on_the_page_and_lies_beside_it(summary: EvaluationSummary, text: str):
    shown = re.findall(r'<figure class="card plot" id="plot-([^"]+)">', text)
    files = {path.name for path in (summary.folder / "plots").iterdir()}
    assert files == {f"{name}.{kind}" for name in shown for kind in ("png", "svg")}
    per_set = ("confusion", "reliability", "affect")
    wanted = {f"{plot}_{name}" for plot in per_set for name in summary.scores}
    wanted |= {"topk", "recall", "radar", "radar_photos"}
    other = "tiny-emotion-loss"
    wanted |= {f"{plot}_{other}" for plot in ("topk", "recall", "reliability_real")}
    wanted |= {f"confusion_real_{other}"}
    assert set(shown) == wanted


def test_captions_are_escaped(text: str):
    assert "<b>face</b>" not in text
    assert "&lt;b&gt;face&lt;/b&gt;" in text


def test_it_fits_phones_and_both_themes(text: str):
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text and "max-width: 44rem" in text


def test_every_headline_number_stands_on_the_page(summary: EvaluationSummary, text: str):
    words = " ".join(" ".join(Page(text).words).split())
    for row in summary.table:
        for shown in list(row.values())[1:]:
            assert shown.split(" [")[0] in words
    assert "McNemar" in words and "not FID" in words
    assert "seen by the loss" in words


def test_the_page_says_whether_people_or_pictures_were_resampled(summary, text, monkeypatch):
    assert "bootstrap over 9 pictures, as if each were of somebody else" in text
    assert "Who is on the pictures is not known" in text and "flip the sign" not in text
    drawn = Resampling(unit="people", people=12, unknown=0)
    monkeypatch.setattr(report, "best_and_worst", lambda *_: Strips("", "", "", [], []))
    page = render_report(summary.model_copy(update={"resampling": drawn}), pd.DataFrame(), {}, [])
    assert "bootstrap over 12 people, each with all of their pictures" in page
    assert "flip the sign of each person’s changes together" in page
    assert "is not known" not in page


def test_the_lead_says_what_the_scores_say(summary: EvaluationSummary):
    sentence = lead_sentence(summary)
    for variant in ("base", "text", "guided", "real"):
        assert f"{100 * summary.scores[variant]['top1'].value:.1f} %" in sentence


def metric(unit: str = "share", better: str = "higher", digits: int = 1) -> Metric:
    return Metric(title="m", unit=unit, better=better, headline=True, digits=digits)


@pytest.mark.parametrize(
    ("low", "high", "better", "verdict"),
    [
        (0.1, 0.3, "higher", "better"),
        (0.1, 0.3, "lower", "worse"),
        (-0.3, -0.1, "lower", "better"),
        (-0.3, -0.1, "higher", "worse"),
        (-0.1, 0.1, "higher", "even"),
        (0.0, 0.1, "higher", "even"),
        (None, None, "higher", "even"),
    ],
)
def test_a_difference_counts_only_where_its_interval_leaves_zero_out(low, high, better, verdict):
    delta = Delta(value=0.2, low=low, high=high, n=9)
    assert metric(better=better).verdict(delta) == verdict


def test_numbers_are_shown_in_their_unit():
    delta = Delta(value=-0.125, low=-0.25, high=0.05, n=8)
    assert metric().show(delta, signed=True) == "−12.5 % [−25.0, +5.0]"
    assert metric(unit="", digits=3).show(delta) == "−0.125 [−0.250, 0.050]"
    assert metric(unit="%", digits=2).show(delta) == "−0.12 % [−0.25, 0.05]"
    alone = Delta(value=0.5, low=None, high=None, n=1)
    assert metric().show(alone) == "50.0 %"
    assert metric().show(None) == "n/a"
