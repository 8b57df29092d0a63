"""A picture of the rooms and their imports, as tests/sfe_core/test_rooms.py reads them.

`python -m tests.rooms_picture` draws docs/rooms.svg, after imports between rooms have changed.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.sfe_core.test_rooms import edges, imports, room

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "rooms.svg"
MEANINGS = {
    "processes": "starting workers, placing them on devices, signals",
    "config": "sfe.yaml: typed sections, presets, --set",
    "assets": "model files: licence, checksum, where they lie",
    "faces": "detection, landmarks, crops, heads, depth, recognisers",
    "controls": "action units and other ways to ask for an expression",
    "synthesis": "portraits with exact labels; the tiny models",
    "corpus": "photos, labels and captions to a data set, and its checks",
    "diffusion": "families of models, guidance encoders, prompts, schedules",
    "losses": "one pure function per term",
    "training": "the engine: updates, checkpoints, exact resume, devices",
    "recipes": "one readable file each: networks, data, loss, samples",
    "runs": "starting a run: launcher, clusters, preflight",
    "packaging": "checkpoint to pipeline folder, single file, LoRA, hub",
    "sampling": "triptychs, galleries, single prompts, sweeps",
    "evaluation": "instruments, statistics with intervals, reports",
}


def edges_between_rooms() -> set[tuple[str, str]]:
    """(importer, imported) for every two rooms of which one imports the other."""
    ours = [edge for edge in edges() if edge[1] in imports()]
    pairs = {(room(importer), room(imported)) for importer, imported in ours}
    return {(one, other) for one, other in pairs if one != other and {one, other} <= set(MEANINGS)}


def edges_drawn() -> set[tuple[str, str]]:
    """The imports that the committed picture shows."""
    text = PICTURE.read_text(encoding="utf-8")
    return set(re.findall(r'id="import-([a-z]+)-([a-z]+)"', text))


def draw() -> None:
    """Write the picture: a row per room, a dot where it imports the room of that column."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "rooms", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    names, left, step = list(MEANINGS), 4.4, 0.62
    figure, axes = pyplot.subplots(figsize=(9.4, 5))
    for row, name in enumerate(names):
        place = left + row * step
        axes.text(-8.3, row, name, va="center", weight="bold", color="#1d3557")
        axes.text(-5.7, row, MEANINGS[name], va="center", color="#444444", size=8)
        axes.plot([left - 0.4, place, place], [row, row, len(names)], color="#e6e6e6", lw=0.8)
        axes.text(place + 0.05, row - 0.35, name, rotation=35, color="#1d3557", size=8)
    for importer, imported in sorted(edges_between_rooms()):
        place = left + names.index(imported) * step
        (dot,) = axes.plot([place], [names.index(importer)], "o", color="#e76f51", ms=6, zorder=3)
        dot.set_gid(f"import-{importer}-{imported}")
    axes.set(xlim=(-8.4, 15.2), ylim=(len(names) - 0.4, -1.2))
    axes.axis("off")
    figure.tight_layout(pad=0.3)
    figure.savefig(PICTURE, metadata={"Date": None}, facecolor="white")


if __name__ == "__main__":
    draw()
