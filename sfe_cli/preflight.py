"""`sfe train --preflight` and `--batch-size auto`: what a run takes, before it is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from sfe_cli import render
from sfe_core.wording import bytes_told

if TYPE_CHECKING:
    from sfe_core.config.workspace import Workspace
    from sfe_core.training.options import TrainOptions

AUTO = "auto"


def parse_batch_size(text: str) -> int:
    """A number of images.

    Raises:
        typer.BadParameter: anything else.
    """
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"{text!r} is neither a number of images nor {AUTO}")
    return int(text)


def choose_batch_size(workspace: Workspace, options: TrainOptions) -> TrainOptions:
    """The options with the largest batch that fits, which is told."""
    from dataclasses import replace

    from sfe_cli.progress import RichReporter
    from sfe_core.runs.preflight import find_batch_size

    reporter = RichReporter()
    size = find_batch_size(workspace, options, reporter)
    reporter.say(f"batches of {size}")
    return replace(options, batch_size=size)


def run_preflight(workspace: Workspace, options: TrainOptions) -> None:
    """Rehearse a run and show what it takes; exit code 1 if it runs out of memory."""
    from sfe_cli.progress import RichReporter, duration
    from sfe_core.runs.preflight import device_memory_bytes, launch_preflight
    from sfe_core.runs.preflight_advice import cheaper, faster

    plan, measured = launch_preflight(workspace, options, RichReporter())
    config = options.applied_to(workspace).config
    device_bytes = device_memory_bytes(plan.device)
    images_per_s = measured.images_per_s(plan.processes, plan.accumulation)
    seconds = plan.images_seen / images_per_s if images_per_s else None
    render.facts(
        [
            ("devices", f"{plan.processes} x {plan.device}"),
            ("batch", f"{plan.batch_size} images, {plan.accumulation} passes an update"),
            ("out of memory in", measured.failed_in or None),
            ("images/s", images_per_s or None),
            ("whole run", f"{duration(seconds)} and samples" if seconds else None),
            *((f"peak memory, {stage}", bytes_told(n)) for stage, n in measured.peak_bytes.items()),
            ("memory there is", bytes_told(device_bytes)),
            (
                "a checkpoint",
                bytes_told(measured.checkpoint_bytes) if measured.checkpoint_bytes else None,
            ),
            ("cheaper", _told(cheaper(config, plan))),
            ("faster", _told(faster(config, plan, measured, device_bytes))),
        ]
    )
    if measured.failed_in:
        raise typer.Exit(1)


def _told(advice: object) -> str:
    return str(advice) if advice is not None else "nothing more"
