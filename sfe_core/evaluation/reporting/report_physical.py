"""The physical protocol in the report: a row a mode, a row a part, and what it says in words."""

from __future__ import annotations

from sfe_core.evaluation.reporting.text_tables import TextRow, TextTable, ToldTables
from sfe_core.evaluation.summary import (
    EditsOfMode,
    EvaluationSummary,
    Interval,
    PartOfEdit,
    PhysicalOfSet,
    PhysicalResult,
)

PART_COLUMNS = {
    "error": "Error",
    "change": "Error of no edit",
    "correlation": "Correlation, r",
    "reach": "Share of the change found",
    "combined": "Error by all, over alone",
    "combined_reach": "That share by all, over alone",
}
MODE_COLUMNS = {
    "identity": "Identity",
    "identity_kept": "that, less drawn back",
    "distance": "Perceptual, all",
    "outside": "Changed outside, grey levels",
    "outside_distance": "Perceptual, outside",
    "noise": "Noise, grey levels",
    "noisy": "Noisy",
    "face_found": "Face found",
}
MODE_TITLES = {
    "photo": "photo",
    "own": "unedited, drawn back",
    "expression": "expression alone",
    "pose": "pose alone",
    "light": "light alone",
    "all": "all three",
}
MARGIN = 1.15  # by so much may edits by all be further off than edits by one
_UNITS = {"expression": " (mm)", "pose": " (degrees)", "light": " (%)", "shape": " (mm)"}


def physical_tables(summary: EvaluationSummary) -> ToldTables | None:
    """By model, mode and part of the face, and by model and mode; None of any other evaluation."""
    found = summary.physical
    if found is None:
        return None
    several = len(found.sets) > 2
    parts, modes = [], []
    for one in found.sets.values():
        model = f"{one.title}, " if several else ""
        for edits in one.modes:
            mode = f"{model}{MODE_TITLES[edits.mode]}"
            cells = {name: _shown(name, getattr(edits, name)) for name in MODE_COLUMNS}
            modes.append(TextRow(mode, cells))
            parts += [_part_row(mode, one, edits, part) for part in edits.parts]
    by_part = TextTable("Part of the face", PART_COLUMNS, parts)
    return ToldTables(_sentence(found), (by_part, TextTable("Edits", MODE_COLUMNS, modes)))


def physical_lead(found: PhysicalResult) -> str:
    """The result in a sentence: how edits by all three correlate with what was asked."""
    told = []
    for one in found.sets.values():
        parts = [part for edits in one.modes if edits.mode == "all" for part in edits.parts]
        asked = [
            f"{part.part} {part.correlation.shown}"
            for part in parts
            if part.asked and part.correlation.value is not None
        ]
        told += [f"{one.title}: {', '.join(asked)}"] if asked else []
    if not told:
        return "No edited picture could be fitted again."
    return f"All three at once, found again with a correlation of: {'; '.join(told)}."


def _part_row(mode: str, one: PhysicalOfSet, edits: EditsOfMode, part: PartOfEdit) -> TextRow:
    ratios = {
        name: found.get(part.part) if edits.mode == "all" else None
        for name, found in (("combined", one.combined), ("combined_reach", one.combined_reach))
    }
    kept = "" if part.asked or edits.mode in ("own", "photo") else ", to stay"
    cells = {
        "error": part.error.shown,
        "change": part.change.shown if part.asked else "",
        "correlation": part.correlation.shown,
        "reach": part.reach.shown if part.asked else "",
        **{name: "" if ratio is None else ratio.shown for name, ratio in ratios.items()},
    }
    return TextRow(f"{mode}: {part.part}{_UNITS[part.part]}{kept}", cells)


def _shown(name: str, found: Interval) -> str:
    """`41.7 %` of shares, else two digits with the interval."""
    if found.value is None or name not in ("noisy", "face_found"):
        return found.shown if found.value is not None else "n/a"
    return f"{100 * found.value:.1f} %"


def _sentence(found: PhysicalResult) -> str:
    """How pictures were asked for, who looked, and whether edits by all hold up."""
    who = (
        f"{found.found_by} fitted the pictures again, and what it sees on the photos that "
        "expression, pose and light were taken from is what was asked"
        if found.independent
        else f"{found.found_by} fitted the pictures again; it made the edits, too, so that what it "
        "misreads on photo and picture alike is no error here"
    )
    held = [f"{one.title}: {_combined(one)}" for one in found.sets.values() if one.combined]
    return (
        f"{found.photos} held-out photos, {found.edits} edits of each by each mode; edits by all "
        f"three take the same from the same photos as those by one. {who}. Errors of expression "
        "and shape are how far landmarks lie off on a frontal mean head, of light how far the "
        "shading of a ball is off, over its mean. Identity is the cosine "
        f"by {found.embedder} to the photo. Error by all over alone is to stay within "
        f"{MARGIN:g}. {' '.join(held)}"
    ).strip()


def _combined(one: PhysicalOfSet) -> str:
    words = []
    for part, ratio in one.combined.items():
        if ratio.value is not None:
            within = "within" if ratio.value <= MARGIN else "beyond"
            words.append(f"{part} {ratio.value:.2f}, {within}")
    return ("; ".join(words) or "not measured") + "."
