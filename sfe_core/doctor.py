"""Is this machine ready for the workspace, and what is the next command?"""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import psutil

from sfe_core.assets.needs import OUTSIDE_JUDGES, needed_assets
from sfe_core.assets.registry import registry
from sfe_core.assets.store import assets_root, how_to_get, missing_files
from sfe_core.config.loading import CONFIG_NAME, load_workspace, preset_config
from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.errors import UserError
from sfe_core.wording import bytes_told

Status = Literal["ok", "warn", "fail"]
OLDEST, NEWEST = (3, 10), (3, 13)
GB = 10**9
# The demo peaks below 4 GB on the CPU; the published recipe fits 24 GB only with the small preset.
MEMORY_FAIL, MEMORY_WARN = 3 * GB, 4 * GB
DISK_FAIL, DISK_WARN = 1 * GB, 5 * GB
# Modules of the packages that bring the offline models, and what each is for.
PARTS = {
    "dlib": ("detector dlib", "pip install dlib-bin"),
    "face_recognition_models": ("detector dlib", "pip install face_recognition_models"),
    "stlpips_pytorch": ("st-lpips", "pip install stlpips_pytorch"),
    "face_alignment": ("detector face-alignment", "pip install face-alignment"),
    "timm": ("hsemotion", "pip install timm"),
}


@dataclass(frozen=True)
class Check:
    """One thing looked at. `remedy` is empty where nothing needs doing."""

    name: str
    status: Status
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All checks, and the next command to type."""

    checks: list[Check]
    next_step: str

    @property
    def ready(self) -> bool:
        """No check failed."""
        return all(check.status != "fail" for check in self.checks)


def diagnose(root: Path, overrides: list[str] | tuple[str, ...] = ()) -> Diagnosis:
    """Look at the machine and at the workspace in `root`. Never raises for what it finds."""
    workspace: Workspace | None = None
    checks = [_python(), *_torch(), _memory(), _disk(root)]
    try:
        workspace = load_workspace(root, overrides)
        config, named = workspace.config, f"preset {workspace.config.preset}"
        checks.append(Check("workspace", "ok", f"{workspace.root} ({named})"))
    except UserError as error:
        config, named = preset_config("tiny"), "preset tiny"
        fresh = not (Path(root) / CONFIG_NAME).exists()
        status: Status = "warn" if fresh else "fail"
        checks.append(Check("workspace", status, f"{error.where}: {error.problem}", error.remedy))
    checks += _packages(config)
    checks += _assets(config)
    failed = [check for check in checks if check.status == "fail"]
    step = f"mend `{failed[0].name}`: {failed[0].remedy}" if failed else next_command(workspace)
    return Diagnosis(checks, step)


def next_command(workspace: Workspace | None) -> str:
    """What a person would type now, from what the workspace holds."""
    if workspace is None:
        return "`sfe demo` to see it all, or `sfe init` for your own photos"
    if not _holds(workspace.photos, "*"):
        return f"put photos in {workspace.photos}, or `sfe synthesize --count 400`"
    if not (workspace.corpus / "manifest.parquet").is_file():
        return "`sfe preprocess`"
    if not _holds(workspace.runs, "*/checkpoint-*"):
        return "`sfe train`"
    if not _holds(workspace.packaged, "*/model_index.json"):
        return "`sfe package-checkpoint`"
    if workspace.config.recipe == "physical":
        return "`sfe edit PHOTO --emotion happy --yaw 20`"
    if not _holds(workspace.triptychs, "*/index.html"):
        return "`sfe triptych`"
    if not _holds(workspace.evaluation, "*/report.html"):
        return "`sfe evaluate`"
    return f"open {next(workspace.evaluation.glob('*/report.html'))}"


def _holds(folder: Path, pattern: str) -> bool:
    return any(not path.name.startswith(".") for path in folder.glob(pattern))


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return Check("Python", "ok", found)
    return Check("Python", "fail", found, "install Python 3.10 to 3.13")


def _torch() -> Iterator[Check]:
    try:
        torch = import_module("torch")
        import_module("torchvision")
    except Exception as error:  # a broken binary raises nearly anything at import
        remedy = "pip install torch torchvision"
        yield Check("torch", "fail", f"{type(error).__name__}: {error}", remedy)
        return
    yield Check("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")
    if not torch.cuda.is_available():
        yield Check(
            "GPUs",
            "warn",
            "no CUDA device",
            "fine for the tiny preset; the stableface presets need one",
        )
        return
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        yield Check(f"GPU {index}", "ok", f"{device.name}, {bytes_told(device.total_memory)}")


def _memory() -> Check:
    memory = psutil.virtual_memory()
    found = f"{bytes_told(memory.available)} of {bytes_told(memory.total)} free"
    if memory.available < MEMORY_FAIL:
        return Check("memory", "fail", found, "close other programs; the demo needs 4 GB")
    if memory.available < MEMORY_WARN:
        return Check("memory", "warn", found, "lower sampling.batch_size and train.batch_size")
    return Check("memory", "ok", found)


def _disk(root: Path) -> Check:
    place = Path(root).expanduser().resolve()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    found = f"{bytes_told(free)} free at {place}"
    if free < DISK_FAIL:
        return Check("disk", "fail", found, "free space, or work on another disk")
    if free < DISK_WARN:
        return Check("disk", "warn", found, "checkpoints of Stable Diffusion 1.5 take 10 GB each")
    return Check("disk", "ok", found)


def _packages(config: Config) -> Iterator[Check]:
    for module, (part, remedy) in PARTS.items():
        needed = part in _parts_in_use(config)
        present = find_spec(module) is not None
        if present and (needed or module != "face_alignment"):
            yield Check(module, "ok", f"installed, for {part}")
        elif needed:
            yield Check(module, "fail", f"not installed; {part} needs it", remedy)


def _parts_in_use(config: Config) -> set[str]:
    networks = (config.loss.perceptual_network, config.evaluate.perceptual_network)
    parts = {f"detector {config.preprocess.detector}", f"detector {config.evaluate.detector}"}
    parts |= set(networks)
    judges = (config.loss.emotion_network, config.evaluate.judge)
    return parts | {"hsemotion" for name in judges if name.startswith("hsemotion")}


def _assets(config: Config) -> Iterator[Check]:
    needed = {asset.name: asset for assets in needed_assets(config).values() for asset in assets}
    for asset in needed.values():
        missing = missing_files(asset)
        if missing:
            yield Check(
                f"asset {asset.name}", "fail", f"missing, for {asset.purpose}", how_to_get(asset)
            )
        else:
            yield Check(f"asset {asset.name}", "ok", asset.purpose)
    for asset in (registry()[name] for name in OUTSIDE_JUDGES if name not in needed):
        if missing_files(asset):
            found = "not fetched; `sfe evaluate` leaves this witness out"
            yield Check(f"asset {asset.name}", "warn", found, how_to_get(asset))
        else:
            yield Check(f"asset {asset.name}", "ok", asset.purpose)
    if any(asset.source in ("download", "gated") for asset in needed.values()):
        yield Check("assets folder", "ok", str(assets_root()))
