"""`sfe triptych`: original, base and fine-tuned side by side."""

from __future__ import annotations

from sfe_cli import options, render
from sfe_cli.help import with_examples

HELP = with_examples(
    "Draw original, base and fine-tuned side by side for every item of a split.\n\n"
    "Pictures drawn before are reused; index.html and contact sheets show them all.",
    "sfe triptych",
    "sfe triptych --split val300 --package first-500",
    "sfe triptych --preset original  # DDPM, 300 steps, scale 9, seed 42, as published",
    "sfe triptych --preset fast --gpus 2",
)


def triptych(
    workspace: options.Workspace = options.HERE,
    split: options.Split = None,
    package: options.Package = None,
    preset: options.Preset = None,
    gpus: options.Gpus = None,
    cpu_processes: options.CpuProcesses = None,
    changes: options.Set = None,
) -> None:
    from sfe_cli.packages import find_package
    from sfe_cli.progress import RichReporter
    from sfe_core.config.loading import load_workspace

    # Settings first: a mistyped key need not wait for torch to be imported.
    chosen = [f"sampling.preset={preset}"] if preset else []
    found = load_workspace(workspace, [*chosen, *(changes or ())])

    from sfe_core.processes.placement import place
    from sfe_core.sampling.triptych import make_triptychs

    placement = place(gpus, cpu_processes)
    package_folder = find_package(found, package)
    summary = make_triptychs(found, split, package_folder, RichReporter(), placement)
    render.facts(
        [
            ("gallery", summary.gallery),
            ("triptychs", f"{summary.total}, {summary.composed} of them new"),
            ("pictures drawn", f"{summary.base_drawn} base, {summary.fine_tuned_drawn} fine-tuned"),
            ("contact sheets", summary.folder / "contact_sheets"),
            ("originals missing", summary.missing_originals or None),
            ("blank pictures", summary.blank_pictures or None),
        ]
    )
    render.next_step(f"`sfe evaluate --set {chosen[0]}`" if chosen else "`sfe evaluate`")


triptych.__doc__ = HELP
