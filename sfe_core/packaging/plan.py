"""What is packaged, found and checked before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sfe_core.assets import locate
from sfe_core.config.workspace import Workspace
from sfe_core.diffusion.families.contract import Family
from sfe_core.diffusion.families.known import family_of
from sfe_core.diffusion.hashing import hash_base
from sfe_core.diffusion.loading import read_configs
from sfe_core.diffusion.unpacking import base_folder
from sfe_core.errors import UserError
from sfe_core.files import TEMPORARY_MARK, check_key
from sfe_core.packaging.assembly import find_base, pipeline_parts
from sfe_core.packaging.history import RunHistory, read_history
from sfe_core.packaging.selection import Weights, choose_checkpoint, weight_folders
from sfe_core.packaging.stableface_layout import find_unet
from sfe_core.reporting import Reporter
from sfe_core.training.engine.checkpoints import CheckpointMeta


@dataclass(frozen=True)
class PackagePlan:
    """A package to be.

    Args:
        name: of its folder.
        origin: where its weights come from, in words: `run first, step 10`.
        run: name of the run, or of the foreign folder.
        step: updates done; 0 where nobody knows.
        weights: ema or raw.
        folders: part of the pipeline to the folder that stands in for the base's.
        source: folder in the StableFace layout, whose parts are still to be unpacked; or None.
        resolution: side of the training pictures, pixels.
        family: of the base model.
    """

    name: str
    origin: str
    run: str
    step: int
    weights: Weights
    folders: dict[str, Path]
    source: Path | None
    history: RunHistory
    base_name: str
    base: Path
    resolution: int
    family: Family


def plan_checkpoint(
    workspace: Workspace,
    run: str | None,
    step: int | None,
    name: str | None,
    weights: Weights,
    reporter: Reporter,
) -> PackagePlan:
    """Plan the packaging of a run's checkpoint; see `package_checkpoint` for the arguments.

    Raises:
        UserError: there is none, its base is missing, or it was trained without one.
    """
    checkpoint = choose_checkpoint(workspace.runs, run, step)
    if weights == "ema" and not checkpoint.has_ema:
        reporter.say(f"run {checkpoint.run} kept no moving average: packaging its raw weights")
        weights = "raw"
    history = read_history(checkpoint)
    if not history.meta.base_sha256:
        raise UserError(
            f"run {checkpoint.run}",
            f"recipe {workspace.config.recipe} trains no base model: there is no pipeline to put "
            "together",
            "take its networks from the folders of the checkpoint",
        )
    base_name, base = find_base(workspace.config.model.base, history.meta)
    suffix = "-raw" if weights == "raw" else ""
    return PackagePlan(
        name=_name(name, f"{checkpoint.run}-{checkpoint.step}{suffix}"),
        origin=f"run {checkpoint.run}, step {checkpoint.step}",
        run=checkpoint.run,
        step=checkpoint.step,
        weights=weights,
        folders=weight_folders(checkpoint, weights),
        source=None,
        history=history,
        base_name=base_name,
        base=base,
        resolution=history.resolution(workspace.config.model.resolution),
        family=family_of(read_configs(base)),
    )


def plan_foreign(
    workspace: Workspace, source: Path, name: str | None, reporter: Reporter
) -> PackagePlan:
    """Plan the packaging of a folder in the StableFace layout, over the workspace's base model.

    Raises:
        UserError: it is no such folder, or the base model is missing.
    """
    source = Path(source).resolve()
    find_unet(source)
    base = base_folder(locate(workspace.config.model.base))
    pipeline_parts(base)
    reporter.say(f"VAE, text encoder and tokenizer are those of {workspace.config.model.base}")
    meta = CheckpointMeta(
        step=0,
        images_seen=0,
        saved_at="",
        base=workspace.config.model.base,
        base_sha256=hash_base(base),
        corpus_sha256="",
        has_ema=False,
    )
    return PackagePlan(
        name=_name(name, source.name),
        origin=f"folder {source.name} in the StableFace layout",
        run=source.name,
        step=0,
        weights="raw",
        folders={},
        source=source,
        history=RunHistory(meta),
        base_name=workspace.config.model.base,
        base=base,
        resolution=workspace.config.model.resolution,
        family=family_of(read_configs(base)),
    )


def _name(given: str | None, default: str) -> str:
    plain = check_key(default if given is None else given, "--name")
    if "/" in plain or "\\" in plain or plain.startswith((".", TEMPORARY_MARK)):
        raise UserError("--name", f"{given!r} is not a folder name", "use letters, digits, - and _")
    return plain
