"""What is packaged, found and checked before anything is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sfe_core.assets import locate
from sfe_core.config.workspace import Workspace
from sfe_core.diffusion.families.contract import Family
from sfe_core.diffusion.families.known import family_of
from sfe_core.diffusion.fineface import load_fineface_beside
from sfe_core.diffusion.guidance_files import UNITS_FOLDER
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
        fineface: folder of FineFace's files, whose action units are still to be unpacked; or None.
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
    fineface: Path | None = None


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
        name=package_name(name, f"{checkpoint.run}-{checkpoint.step}{suffix}"),
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
    base = _configured_base(workspace)
    reporter.say(f"VAE, text encoder and tokenizer are those of {workspace.config.model.base}")
    origin = f"folder {source.name} in the StableFace layout"
    return _over_base(workspace, base, package_name(name, source.name), origin, source)


def plan_base(workspace: Workspace, name: str | None) -> PackagePlan:
    """Plan the workspace's base model as it stands, for what comes beside it.

    Raises:
        UserError: it is missing.
    """
    base = _configured_base(workspace)
    own = Path(workspace.config.model.base).stem
    return _over_base(workspace, base, package_name(name, own), f"base model {own}")


def with_fineface(plan: PackagePlan, fineface: Path, named: bool) -> PackagePlan:
    """The plan with FineFace's action units beside; they are checked, not unpacked yet.

    Args:
        fineface: folder of the published files.
        named: whether the name was chosen; else it tells of them.

    Raises:
        UserError: the files are not there or do not fit the base, or the run has units of its own.
        RunError: a file cannot be read.
    """
    if UNITS_FOLDER in plan.folders:
        raise UserError(
            "--fineface", f"{plan.origin} has action units of its own", "leave --fineface out"
        )
    load_fineface_beside(fineface, plan.base / "unet")
    return replace(
        plan,
        name=plan.name if named else f"{plan.name}-fineface",
        origin=f"{plan.origin}, with FineFace's action units",
        fineface=fineface,
    )


def _configured_base(workspace: Workspace) -> Path:
    base = base_folder(locate(workspace.config.model.base))
    pipeline_parts(base)
    return base


def _over_base(
    workspace: Workspace, base: Path, name: str, origin: str, source: Path | None = None
) -> PackagePlan:
    """The base model, with what comes from a foreign folder in place of its parts."""
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
        name=name,
        origin=origin,
        run=source.name if source else "",
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


def package_name(given: str | None, default: str) -> str:
    """The name asked for, or the default, as that of a folder.

    Raises:
        UserError: it is none.
    """
    plain = check_key(default if given is None else given, "--name")
    if "/" in plain or "\\" in plain or plain.startswith((".", TEMPORARY_MARK)):
        raise UserError("--name", f"{given!r} is not a folder name", "use letters, digits, - and _")
    return plain
