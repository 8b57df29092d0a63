"""What packaging would do, told before it is done."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sfe_core.config.workspace import Workspace
from sfe_core.diffusion.families.known import networks_of
from sfe_core.diffusion.fineface import find_fineface
from sfe_core.diffusion.guidance_files import UNITS_FOLDER
from sfe_core.diffusion.loading import read_configs
from sfe_core.diffusion.physical.loading import RIG_FOLDER
from sfe_core.diffusion.weight_files import WeightFiles
from sfe_core.packaging.assembly import pipeline_parts
from sfe_core.packaging.extras import require_extras
from sfe_core.packaging.options import PackageOptions
from sfe_core.packaging.package import make_plan
from sfe_core.packaging.plan import PackagePlan
from sfe_core.packaging.rigs import RigPlan, choose_rig, plan_rig
from sfe_core.packaging.stableface_layout import find_unet
from sfe_core.packaging.weights import PRECISIONS, weight_bytes
from sfe_core.reporting import Reporter


@dataclass(frozen=True)
class PackagePreview:
    """A package that is not made yet.

    Args:
        exists: a package of that name is there already.
        sizes: part or other form to the bytes of its weights; exact but for LoRAs, left out here.
        free_bytes: of the disk it would lie on.
    """

    folder: Path
    exists: bool
    origin: str
    weights: str
    base: Path
    sizes: dict[str, int]
    free_bytes: int

    @property
    def size_bytes(self) -> int:
        """Of all weights together."""
        return sum(self.sizes.values())


def preview_package(
    workspace: Workspace, options: PackageOptions, reporter: Reporter | None = None, **choice: Any
) -> PackagePreview:
    """What `package_checkpoint` with the same options and choice would write; nothing is written.

    Args:
        choice: run, step, name, weights, source and fineface of `package_checkpoint`.

    Raises:
        UserError, RunError: as `package_checkpoint` does before it writes.
    """
    reporter = reporter or Reporter()
    if choice.get("source") is None and choice.get("fineface") is None:
        rig = choose_rig(workspace, choice.get("run"), choice.get("step"))
        if rig is not None:
            weights = choice.get("weights", "ema")
            return _preview_rig(
                workspace, plan_rig(rig, choice.get("name"), weights, options, reporter), options
            )
    plan = make_plan(workspace, reporter=reporter, **choice)
    require_extras(plan, options)
    sizes = {part: size for part, size in _parts(plan, options).items() if size}
    if "single-file" in options.extras:
        sizes["single-file"] = sum(sizes[part] for part in networks_of(read_configs(plan.base)))
    if "stableface" in options.extras:
        sizes["stableface"] = sizes["unet"] + sizes.get("guidance_encoder", 0)
    folder = workspace.packaged / plan.name
    return PackagePreview(
        folder=folder,
        exists=folder.exists(),
        origin=plan.origin,
        weights=plan.weights,
        base=plan.base,
        sizes=sizes,
        free_bytes=shutil.disk_usage(workspace.root).free,
    )


def _preview_rig(workspace: Workspace, plan: RigPlan, options: PackageOptions) -> PackagePreview:
    folder = workspace.packaged / plan.name
    dtype = PRECISIONS[options.precision] if options.precision else None
    return PackagePreview(
        folder=folder,
        exists=folder.exists(),
        origin=plan.origin,
        weights=plan.weights,
        base=Path(plan.base or "random weights"),
        sizes={RIG_FOLDER: weight_bytes(plan.network, dtype)},
        free_bytes=shutil.disk_usage(workspace.root).free,
    )


def _parts(plan: PackagePlan, options: PackageOptions) -> dict[str, int]:
    parts = pipeline_parts(plan.base)
    if not options.safety_checker:
        parts = [part for part in parts if part != "safety_checker"]
    replaced = dict(plan.folders)
    if plan.source is not None:
        replaced["unet"] = find_unet(plan.source)
        if (plan.source / "guidance_encoder").is_dir():
            replaced["guidance_encoder"] = plan.source / "guidance_encoder"
    dtype = PRECISIONS[options.precision] if options.precision else None
    sizes = {
        part: weight_bytes(replaced.get(part, plan.base / part), dtype)
        for part in dict.fromkeys((*parts, *replaced))
    }
    if plan.fineface is not None:
        shapes = WeightFiles(find_fineface(plan.fineface)).shapes().values()
        sizes[UNITS_FOLDER] = sum(map(math.prod, shapes)) * (dtype or torch.float32).itemsize
    return sizes
