"""How plots look: colours, type, and the two forms each is kept in (PNG and SVG)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

DPI = 160
# One column of the report; on a phone it is about as wide as the screen.
WIDTH = 3.7

PAPER, INK, FAINT, FULL = "#ffffff", "#1b1f24", "#d5d9df", "#1b4f9c"
# On the page these follow the reader's theme: the page gives each a light and a dark value.
THEMED = {PAPER: "var(--card)", INK: "var(--ink)", FAINT: "var(--line)", FULL: "var(--full)"}

# Okabe & Ito's palette keeps the sets apart for every kind of colour vision.
SET_COLOURS = {"base": "#8c8c8c", "text": "#56a0d9", "guided": "#e0762f", "real": "#2fa37c"}
OTHER_COLOURS = ("#cc79a7", "#b8a800", "#0072b2", "#8a63d2", "#a0522d", "#1ba5a5")
EMOTION_COLOURS = (
    "#8c8c8c",
    "#e6a700",
    "#3b7dd8",
    "#d55e9c",
    "#8a63d2",
    "#5ba300",
    "#d1462f",
    "#1ba5a5",
)

_STYLE: dict[RcKeyType, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.facecolor": "none",
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.fonttype": "path",
}


def set_colours(names: list[str]) -> dict[str, str]:
    """A colour for each set; the usual four always have their own."""
    free = iter(OTHER_COLOURS * (len(names) // len(OTHER_COLOURS) + 1))
    return {name: SET_COLOURS.get(name) or next(free) for name in names}


@dataclass(frozen=True)
class Frame:
    """Height of a figure, and the room round its axes; all in inches.

    Fixed, as matplotlib's search for a layout takes longer than the drawing itself.
    """

    height: float
    left: float = 0.55
    right: float = 0.12
    top: float = 0.5
    bottom: float = 0.5

    def figure(self) -> Figure:
        """An empty figure of one column's width."""
        figure = Figure(figsize=(WIDTH, self.height), facecolor=PAPER)
        figure.subplots_adjust(
            left=self.left / WIDTH,
            right=1 - self.right / WIDTH,
            top=1 - self.top / self.height,
            bottom=self.bottom / self.height,
        )
        return figure


def render(draw: Callable[[Figure], None], frame: Frame, name: str) -> tuple[bytes, str]:
    """Draw a figure.

    Args:
        draw: fills the empty figure.
        frame: its size and margins.
        name: of the plot; with the content, decides the names inside the SVG.

    Returns:
        The PNG's bytes and the SVG's text, in the light theme; the same bytes for the same figure.
    """
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = frame.figure()
        draw(figure)
        png, svg = BytesIO(), StringIO()
        figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return png.getvalue(), svg.getvalue()


def inline_svg(svg: str, name: str, title: str) -> str:
    """The SVG as an element of a page: themed colours, a name for screen readers, unique ids."""
    body = svg[svg.index("<svg") :].strip()
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r"<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*">', "<g>", body)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", body)
    body = body.replace("xlink:href", "href")
    for colour, themed in THEMED.items():
        body = body.replace(colour, themed)
    label = title.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    box = re.search(r'viewBox="[^"]*"', body)
    opening = f'<svg {box[0] if box else ""} role="img" aria-label="{label}">'
    body = re.sub(r"<svg[^>]*>", lambda _: opening, body, count=1)
    return re.sub(r"\n\s*", "\n", body)


def legend_above(
    figure: Figure, names: Collection[str], handles: Sequence[Artist] | None = None
) -> None:
    """The figure's legend at its upper edge, in one column where names are long.

    Args:
        handles: what stands for each name; None = what was drawn under a label.
    """
    columns = 2 if max(map(len, names), default=0) < 22 else 1
    given = () if handles is None else (list(handles), list(names))
    figure.legend(*given, loc="upper center", ncols=columns, fontsize=8, handlelength=1)


def legend_room(names: Collection[str]) -> float:
    """Inches that `legend_above` takes."""
    columns = 2 if max(map(len, names), default=0) < 22 else 1
    return 0.12 + 0.17 * -(-len(names) // columns)


def set_title(axes: Axes, title: str) -> None:
    """A title over the axes, smaller where it is long: sets may have any name."""
    axes.set_title(title, fontsize=min(9.5, 9.5 * 36 / max(len(title), 1)))


def quiet_grid(axes: Axes, along: Literal["both", "x", "y"]) -> None:
    """Thin lines behind the data, and no tick marks."""
    axes.grid(axis=along, lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
