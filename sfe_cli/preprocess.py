"""`sfe preprocess`: photos to corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sfe_cli import options, render
from sfe_cli.help import with_examples
from sfe_core.wording import first_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sfe_core.corpus.inspection.verify import Verification
    from sfe_core.corpus.preprocessing.preprocess import PreprocessPlan, PreprocessSummary

_SHOWN = 10
_NAMED = 3

HELP = with_examples(
    "Turn photos/ into corpus/: crops, 68 landmarks, fitted head, depth, captions, splits.\n\n"
    "Photos that cannot be used become rows with a reason. A second call does only what is new.",
    "sfe preprocess",
    "sfe preprocess --dry-run  # what would be done",
    "sfe preprocess --gpus 2",
    "sfe preprocess --verify  # is every file as it was written?",
    "sfe preprocess --prune  # forget photos that are gone for good",
    "sfe preprocess --set preprocess.crop_size=256",
    "sfe preprocess --overlay  # see whether the maps lie on the faces",
)


def preprocess(
    workspace: options.Workspace = options.HERE,
    dry_run: options.DryRun = False,
    gpus: Annotated[
        int | None,
        typer.Option(min=1, help="GPUs, one process each.", show_default="one, if of use"),
    ] = None,
    cpu_processes: Annotated[
        int | None,
        typer.Option(
            "--cpu-processes",
            "--workers",
            min=0,
            help="Processes on the CPU instead; 0 = one per core.",
            show_default="as in sfe.yaml",
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Only check the corpus: every file's hash, and orphans."),
    ] = False,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Forget photos that are not there, with their pictures."),
    ] = False,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Also blends of photo and maps, in corpus/overlay/.")
    ] = False,
    save_meshes: Annotated[
        bool, typer.Option("--save-meshes", help="Also the heads, as corpus/meshes/<key>.obj.")
    ] = False,
    save_buffers: Annotated[
        bool, typer.Option("--save-buffers", help="Also normals, albedo and Lambertian render.")
    ] = False,
    changes: options.Set = None,
) -> None:
    from sfe_cli.progress import RichReporter
    from sfe_core.config.loading import load_workspace

    asked = {"overlay": overlay, "save_meshes": save_meshes, "save_buffers": save_buffers}
    found = load_workspace(workspace, [*(changes or ()), *_switched_on(asked)])
    if verify:
        from sfe_core.corpus.inspection.verify import verify_corpus

        show_verification(verify_corpus(found, RichReporter()), found.corpus)
        return

    from sfe_core.corpus.preprocessing import preprocess as core
    from sfe_core.corpus.preprocessing.photos import Photos
    from sfe_core.corpus.preprocessing.placement import place_preprocess

    if dry_run:
        placement = place_preprocess(found.config.preprocess, gpus, cpu_processes)
        photos = Photos.find(found)
        core.read_annotations(found, photos, RichReporter())
        show_plan(core.plan_preprocess(found, placement, prune, photos))
        return
    show_summary(core.preprocess(found, RichReporter(), gpus, cpu_processes, prune))
    render.next_step("look at corpus/report.html, then `sfe train`")


def _switched_on(asked: dict[str, bool]) -> list[str]:
    return [f"preprocess.{name}=true" for name, wanted in asked.items() if wanted]


preprocess.__doc__ = HELP


def show_plan(plan: PreprocessPlan) -> None:
    """How many photos would be taken in, kept, refused."""
    render.facts(
        [
            ("photos", len(plan.photos)),
            ("to be taken in", len(plan.jobs)),
            ("stand as they are", len(plan.kept)),
            ("refused", len(plan.photos.refused) or None),
            *(("no photos", line) for line in plan.photos.scan.told),
            ("missing, kept", len(plan.absent) or None),
            *_first("to be removed", plan.stale),
            ("of these, in part", sum(job.wanted is not None for job in plan.jobs) or None),
            ("processes", f"{plan.workers} x {plan.device}"),
        ]
    )


def show_verification(found: Verification, corpus: Path) -> None:
    """What is wrong with the corpus; a corpus at fault is a failure, exit code 1."""
    render.facts(
        [
            ("files", found.files),
            ("whole", found.whole),
            ("missing", len(found.missing) or None),
            ("changed", len(found.changed) or None),
            ("without a row", len(found.orphans) or None),
            ("left by a killed run", len(found.leftovers) or None),
            *(("missing", path) for path in first_of(found.missing, _SHOWN)),
            *(("changed", path) for path in first_of(found.changed, _SHOWN)),
            *(("without a row", path) for path in first_of(found.orphans, _SHOWN)),
            *(("left by a killed run", path) for path in first_of(found.leftovers, _SHOWN)),
        ]
    )
    found.check(corpus)


def show_summary(summary: PreprocessSummary) -> None:
    """What became of the photos."""
    fit = summary.mean_fit_error
    render.facts(
        [
            ("manifest", summary.manifest),
            ("preview", summary.preview),
            ("report", summary.report),
            ("photos", summary.status_counts),
            ("taken in now", f"{summary.done}, {summary.kept} stood from before"),
            *_first("removed", summary.pruned),
            ("splits", _splits(summary)),
            *(("of the splits", note) for note in summary.sides.notes),
            ("copies", summary.sides.duplicates.told()),
            *_first("copies labelled in two ways", summary.sides.contradictions),
            ("emotions", summary.emotion_counts or None),
            ("labels", _matched(summary.labels_matched, summary.labels_unmatched)),
            ("numbers mean", summary.label_scheme),
            ("captions", _matched(summary.captions_matched, summary.captions_unmatched)),
            ("too long", summary.captions_cut),
            ("landmark error", f"{fit:.2%} of the eyes' distance" if fit is not None else None),
            ("speed", f"{summary.photos_per_second:.1f} photos/s"),
            *(("read so", f"{count} × {note}") for note, count in summary.notes.items()),
            *(("not used", problem) for problem in summary.problems),
            ("not used", _more(summary)),
            *(("no photos", line) for line in summary.passed_over),
            ("all of these", summary.passed_over_list),
        ]
    )


def _more(summary: PreprocessSummary) -> str | None:
    rest = summary.problem_count - len(summary.problems)
    return f"and {rest} more, see {summary.report}" if rest else None


def _splits(summary: PreprocessSummary) -> str:
    return f"{render.text_of(summary.split_counts)}; people: {summary.sides.people.told()}"


def _first(name: str, lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The first few lines under a name, and how many more there are."""
    for line in first_of(lines, _NAMED):
        yield name, line


def _matched(matched: int, unmatched: int) -> str:
    tail = f", {unmatched} lines without a photo" if unmatched else ""
    return f"{matched} photos have one{tail}"
