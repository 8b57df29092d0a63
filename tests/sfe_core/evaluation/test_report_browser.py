"""The page as a browser shows it: headless Chromium, no network, both themes, desk and phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sfe_core.evaluation.reporting.report import render_report
from sfe_core.evaluation.summary import EvaluationSummary, usual_set
from tests.sfe_core.evaluation.reporting.test_report_strips import Grey
from tests.sfe_core.evaluation.summaries import make_summary

DESK, PHONE = (1200, 900), (360, 740)


def find_chromium() -> str:
    """A Chromium on this machine, or playwright's own if somebody installed that; else ""."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if found := shutil.which(name):
            return found
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as driver:
        own = driver.chromium.executable_path
    return own if Path(own).is_file() else ""


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = find_chromium()
    if not path:
        pytest.skip("no Chromium here: apt-get install chromium, or playwright install chromium")
    with sync_api.sync_playwright() as driver:
        # Containers run as root, where Chromium's sandbox cannot.
        running = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(
    scope="module", params=[(DESK, "light"), (DESK, "dark"), (PHONE, "light"), (PHONE, "dark")]
)
def page(browser, request, summary: EvaluationSummary) -> Iterator[object]:
    """The report, opened without a network; anything but the file itself is an error."""
    (width, height), scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
    )
    opened = context.new_page()
    asked, faults = [], []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("console", lambda message: faults.append(message.text))
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.goto(summary.report.as_uri())
    outside = [url for url in asked if not url.startswith(("data:", summary.report.as_uri()))]
    assert outside == [] and faults == []
    opened.scheme = scheme
    yield opened
    context.close()


WIDE = """() => [...document.querySelectorAll('body *')]
    .filter(one => !one.closest('svg') && !one.closest('table') || one.tagName === 'svg')
    .filter(one => one.getBoundingClientRect().right > innerWidth + 1)
    .map(one => one.tagName + '.' + one.className)"""


def pixels(page, full: bool = False) -> np.ndarray:
    with Image.open(BytesIO(page.screenshot(full_page=full))) as picture:
        return np.asarray(picture.convert("RGB"), dtype=float)


def test_nothing_is_wider_than_the_screen(page):
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    assert page.evaluate(WIDE) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("size", [DESK, (800, 900), PHONE])
def test_many_models_with_long_names_fit(browser, tmp_path: Path, size: tuple[int, int]):
    names = ["base", *(f"a_model_whose_name_has_forty_five_letters_{i}" for i in range(6))]
    known = make_summary(tmp_path).scores["base"]
    summary = make_summary(
        tmp_path,
        sets={name: usual_set(name) for name in names},
        scores=dict.fromkeys(names, known),
        deltas={},
        tests={},
    )
    columns = {
        f"{usual_set(name).prefix}_{of}": [None] for name in names for of in ("top1", "asked")
    }
    table = pd.DataFrame(
        {"key": ["k" * 90], "caption": ["<b>c" * 40], "emotion": [None], **columns}
    )
    grey = Grey()
    text = render_report(summary, table, dict.fromkeys(names, grey), [])
    (tmp_path / "report.html").write_text(text, encoding="utf-8")
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.goto((tmp_path / "report.html").as_uri())
    assert page.evaluate(WIDE) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()


def test_text_can_be_read(page):
    """Letters of at least 11 px, and 4.5 : 1 between text and what is behind it (WCAG 2 AA)."""
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    found = page.evaluate(
        """() => {
            const numbers = text => text.match(/[\\d.]+/g).map(Number);
            const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
                .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
                .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
            const behind = one => {
                for (; one; one = one.parentElement) {
                    const colour = numbers(getComputedStyle(one).backgroundColor);
                    if (colour.length === 3 || colour[3] === 1) return colour;
                }
            };
            return [...document.querySelectorAll('body *')].filter(one =>
                !one.closest('svg') && one.tagName !== 'SUP' && one.getClientRects().length &&
                [...one.childNodes].some(n => n.nodeType === 3 && n.data.trim())
            ).map(one => {
                const style = getComputedStyle(one);
                const [a, b] = [numbers(style.color), behind(one)].map(light);
                return [one.tagName + ' ' + one.textContent.trim().slice(0, 20),
                    parseFloat(style.fontSize),
                    (Math.max(a, b) + .05) / (Math.min(a, b) + .05)];
            });
        }"""
    )
    assert len(found) > 100
    assert [one for one in found if one[1] < 11 or one[2] < 4.5] == []


def test_the_theme_is_followed(page):
    """Dark paper and light ink, or the other way round, in the page and inside the plots."""
    level = pixels(page).mean()
    assert level < 90 if page.scheme == "dark" else level > 165
    ink = page.evaluate(
        """() => {
            const glyph = document.querySelector('figure.plot use');
            return getComputedStyle(glyph).fill.match(/\\d+/g).map(Number);
        }"""
    )
    assert min(ink) > 200 if page.scheme == "dark" else max(ink) < 60


def test_every_picture_and_plot_is_drawn(page):
    broken = page.eval_on_selector_all(
        "img", "all => all.filter(one => !one.complete || !one.naturalWidth).length"
    )
    assert broken == 0
    for figure in page.query_selector_all("figure.plot svg"):
        box = figure.bounding_box()
        assert box["width"] > 250 and box["height"] > 200
    # A plot is more than its paper: some hundred shades between ink, lines and colours.
    shot = page.query_selector("figure.plot svg").screenshot()
    with Image.open(BytesIO(shot)) as picture:
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 50


def test_the_links_lead_somewhere(page):
    # Closed, as a reader finds them.
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = false)")
    for link in page.query_selector_all("nav a"):
        link.click()
        top = page.evaluate("document.querySelector(location.hash).getBoundingClientRect().top")
        at_end = page.evaluate("innerHeight + scrollY >= document.body.scrollHeight - 2")
        assert at_end or -5 <= top < 60
