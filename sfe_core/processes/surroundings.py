"""What in a process's environment bears on a run: a launcher, and variables that libraries read."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

# Everything that accelerate reads where it is given no value (its `Accelerator`, state and
# plugins): precision, accumulation, compilation, sharding, devices.
_ACCELERATE = re.compile(
    r"(ACCELERATE|FSDP|MEGATRON_LM|PARALLELISM_CONFIG)_\w+|FORK_LAUNCHED|XLA_(USE|DOWNCAST)_BF16"
)
# These of them say no more than how much is logged and checked.
_HARMLESS = {"ACCELERATE_LOG_LEVEL", "ACCELERATE_DEBUG_MODE", "ACCELERATE_ENABLE_RICH"}
_NOTHING = {"", "no", "none", "false", "0", "off", "default"}
# How a process of torch learns which of how many it is.
_TORCH_WORLD = re.compile(
    r"RANK|WORLD_SIZE|(LOCAL|GROUP|ROLE)_(RANK|WORLD_SIZE)|MASTER_(ADDR|PORT)"
)
_TORCHRUN = re.compile(r"(TORCHELASTIC|PET)_\w+|ROLE_NAME")
# The same of MPI's, which accelerate asks first.
_MPI_WORLD = re.compile(r"(PMI|OMPI_COMM_WORLD|MV2_COMM_WORLD)_\w+|MPI_LOCALN?RANK(ID|S)")
# Sizes of a world whose processes cannot be joined, by who tells of it.
_OTHER_WORLDS = {
    "srun": "SLURM_STEP_NUM_TASKS",
    "mpirun": "OMPI_COMM_WORLD_SIZE",
    "mpiexec": "PMI_SIZE",
    "mpirun_rsh": "MV2_COMM_WORLD_SIZE",
}
# Read by torch, its libraries and diffusers for how they calculate: rounding, kernels, compilation.
_ARITHMETIC = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "DIFFUSERS_ATTN_BACKEND",
    "DNNL_DEFAULT_FPMATH_MODE",
    "MKL_CBWR",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "PYTORCH_JIT",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_BLAS_PREFER_CUBLASLT",
    "TORCH_COMPILE_BACKEND",
    "TORCH_COMPILE_DISABLE",
    "TORCH_CUDNN_V8_API_DISABLED",
    "TORCHDYNAMO_DISABLE",
    "TORCHINDUCTOR_USE_FAST_MATH",
)


@dataclass(frozen=True)
class World:
    """The processes that a launcher started, of which this is one.

    Attributes:
        launcher: its name, to be typed.
        size: of all machines.
        rank: this one's number, from 0; None where that is not told in torch's words, so that the
            others cannot be met.
        local_size: processes of this machine.
        address: host:port where they meet.
    """

    launcher: str
    size: int
    rank: int | None = None
    local_size: int = 1
    address: str = ""

    @property
    def machines(self) -> int:
        """How many, each with as many processes as this one."""
        return self.size // self.local_size


def find_world(environment: Mapping[str, str]) -> World | None:
    """The world that a process was started in; None where it was started alone."""
    size = _number(environment, "WORLD_SIZE")
    if size > 1 and "RANK" in environment:
        if "LOCAL_RANK" not in environment or "MASTER_ADDR" not in environment:
            return World("a launcher that sets RANK and WORLD_SIZE", size)
        launcher = "accelerate launch" if _by_accelerate(environment) else "torchrun"
        port = environment.get("MASTER_PORT", "29500")
        return World(
            launcher,
            size,
            _number(environment, "RANK"),
            _number(environment, "LOCAL_WORLD_SIZE") or size,
            f"{environment['MASTER_ADDR']}:{port}",
        )
    for launcher, name in _OTHER_WORLDS.items():
        if _number(environment, name) > 1:
            return World(launcher, _number(environment, name))
    return None


def is_first(environment: Mapping[str, str]) -> bool:
    """Whether this is the first process of a world of torch, or alone."""
    return _number(environment, "WORLD_SIZE") < 2 or _number(environment, "RANK") == 0


def switch_off(environment: MutableMapping[str, str], alone: bool) -> None:
    """Take out of an environment what would make accelerate work otherwise than it is told to.

    Args:
        environment: changed.
        alone: this process is to meet no others.
    """
    for name in list(environment):
        world = _MPI_WORLD.fullmatch(name) or (alone and _TORCH_WORLD.fullmatch(name))
        if world or _is_accelerates(name):
            del environment[name]


def for_children(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment to start a launcher in: without another one's words, and as `switch_off`."""
    changed = {k: v for k, v in environment.items() if not _TORCHRUN.fullmatch(k)}
    switch_off(changed, alone=True)
    return changed


def switched_off(environment: Mapping[str, str]) -> dict[str, str]:
    """Those of the variables that `switch_off` takes out which asked for something."""
    asked = {
        name: value
        for name, value in environment.items()
        if _is_accelerates(name) and value.lower() not in _NOTHING
    }
    if asked.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS") == "1":
        del asked["ACCELERATE_GRADIENT_ACCUMULATION_STEPS"]
    return dict(sorted(asked.items()))


def arithmetic(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that are set and change how torch and its libraries calculate; these are left."""
    return {name: environment[name] for name in _ARITHMETIC if environment.get(name)}


def _is_accelerates(name: str) -> bool:
    return bool(_ACCELERATE.fullmatch(name)) and name not in _HARMLESS


def _by_accelerate(environment: Mapping[str, str]) -> bool:
    # Its launcher always says whether and how to compile.
    return "ACCELERATE_DYNAMO_BACKEND" in environment


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    return int(text) if text.isdecimal() else 0
