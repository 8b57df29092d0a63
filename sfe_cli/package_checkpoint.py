"""`sfe package-checkpoint`: a checkpoint to a pipeline folder."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

import typer

from sfe_cli import options, render
from sfe_cli.help import with_examples
from sfe_core.wording import bytes_told

if TYPE_CHECKING:
    from sfe_core.packaging.package import PackageSummary
    from sfe_core.packaging.preview import PackagePreview

HELP = with_examples(
    "Make a complete diffusers pipeline folder of a checkpoint, reload it and draw with it.\n\n"
    "Without options: the newest checkpoint of the newest run.",
    "sfe package-checkpoint",
    "sfe package-checkpoint --run first --step 500 --name first-500",
    "sfe package-checkpoint --weights raw  # not the moving average",
    "sfe package-checkpoint --dtype fp16 --also single-file --also lora-kohya  # for ComfyUI",
    "sfe package-checkpoint --from ~/StableFaceEmotion  # published weights, to measure them here",
    "sfe package-checkpoint --fineface ~/fineface  # its action units beside model.base",
    "sfe package-checkpoint --run first --fineface ~/fineface  # beside a run's model",
    "sfe package-checkpoint --push-to me/my-faces --dry-run",
)


class Form(str, Enum):
    """Other forms of the model; an option that repeats takes no Literal."""

    single_file = "single-file"
    lora_diffusers = "lora-diffusers"
    lora_kohya = "lora-kohya"
    stableface = "stableface"


class _Choice(TypedDict):
    """What is packaged, and under which name."""

    run: str | None
    step: int | None
    name: str | None
    weights: Literal["ema", "raw"]
    source: Path | None
    fineface: Path | None


RunName = Annotated[
    str | None, typer.Option(metavar="NAME", help="Which run.", show_default="the newest")
]
Step = Annotated[
    int | None, typer.Option(min=0, help="Which checkpoint.", show_default="the newest")
]
Name = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Folder below packaged/.", show_default="RUN-STEP"),
]
Weights = Annotated[Literal["ema", "raw"], typer.Option(help="Moving average, or as trained.")]
Source = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="DIR",
        help="Package a folder in the StableFace project's layout instead of a run.",
        show_default=False,
    ),
]
FineFace = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Also FineFace's action units, from its published files: beside --run's model, or "
        "else beside model.base alone.",
        show_default=False,
    ),
]
Precision = Annotated[
    Literal["float32", "fp16", "bf16"] | None,
    typer.Option(help="Precision of the weight files.", show_default="as stored"),
]
ShardSize = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE", help="Split larger weight files, e.g. at 2GB.", show_default=False
    ),
]
Also = Annotated[
    list[Form] | None,
    typer.Option(help="Another form beside the folder; may be repeated.", show_default=False),
]
LoraRank = Annotated[
    int | None,
    typer.Option(min=1, help="Rank of the LoRA.", show_default="the run's own, else 32"),
]
SafetyChecker = Annotated[
    bool, typer.Option("--safety-checker/--no-safety-checker", help="Keep the base's, if any.")
]
PushTo = Annotated[
    str | None,
    typer.Option(metavar="OWNER/NAME", help="Upload to this hub repository.", show_default=False),
]
Public = Annotated[
    bool, typer.Option("--public", help="A repository made for it is public, not private.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace a package, here and there.")]


def package_checkpoint(
    workspace: options.Workspace = options.HERE,
    run: RunName = None,
    step: Step = None,
    name: Name = None,
    weights: Weights = "ema",
    source: Source = None,
    fineface: FineFace = None,
    dtype: Precision = None,
    max_shard_size: ShardSize = None,
    also: Also = None,
    lora_rank: LoraRank = None,
    safety_checker: SafetyChecker = True,
    push_to: PushTo = None,
    public: Public = False,
    force: Force = False,
    dry_run: options.DryRun = False,
    changes: options.Set = None,
) -> None:
    from sfe_cli.progress import RichReporter
    from sfe_core.config.loading import load_workspace

    # Settings first: a mistyped key need not wait for torch to be imported.
    found = load_workspace(workspace, changes or ())

    from sfe_core.packaging.hub import check_repository, push_package
    from sfe_core.packaging.listing import holds_rig
    from sfe_core.packaging.options import PackageOptions
    from sfe_core.packaging.package import package_checkpoint as package
    from sfe_core.packaging.package import usual_extras
    from sfe_core.packaging.preview import preview_package

    if push_to is not None:
        check_repository(push_to)
    form = PackageOptions(
        precision=dtype,
        shard_size=max_shard_size,
        extras=tuple(dict.fromkeys(one.value for one in also or ()))
        if also or source or fineface
        else usual_extras(found),
        lora_rank=lora_rank,
        safety_checker=safety_checker,
    )
    choice: _Choice = {
        "run": run,
        "step": step,
        "name": name,
        "weights": weights,
        "source": source,
        "fineface": fineface,
    }
    reporter = RichReporter()
    if dry_run:
        _show_preview(preview_package(found, form, reporter, **choice), push_to, public)
        return
    summary = package(
        found, **choice, force=force, reporter=reporter, options=form, reuse=push_to is not None
    )
    _show_summary(summary)
    if push_to is not None:
        render.facts([("pushed to", push_package(summary.folder, push_to, public, force))])
    rig = holds_rig(summary.folder)
    render.next_step("`sfe edit PHOTO --emotion happy --yaw 20`" if rig else "`sfe triptych`")


def _show_summary(summary: PackageSummary) -> None:
    render.facts(
        [
            ("package", summary.folder),
            ("from", f"{summary.origin}, {summary.weights} weights"),
            ("size", bytes_told(summary.size_bytes)),
            *((name, line) for name, line in summary.extras.items()),
            ("drawn with it", summary.pictures),
            ("", "stood from before, as asked for" if summary.reused else None),
        ]
    )


def _show_preview(preview: PackagePreview, push_to: str | None, public: bool) -> None:
    render.facts(
        [
            ("would package", preview.origin),
            ("weights", preview.weights),
            ("base model", preview.base),
            ("into", f"{preview.folder}" + (" (exists)" if preview.exists else "")),
            *((f"{name}", bytes_told(size)) for name, size in preview.sizes.items()),
            ("together", f"about {bytes_told(preview.size_bytes)}"),
            ("free there", bytes_told(preview.free_bytes)),
        ]
    )
    if push_to is not None:
        kind = "public" if public else "private"
        render.facts([("would push to", f"{push_to} ({kind} if it must be made)")])


package_checkpoint.__doc__ = HELP
