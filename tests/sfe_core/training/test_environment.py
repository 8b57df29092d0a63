"""Nothing that stands in the environment changes what a run learns."""

from __future__ import annotations

import json
import re
from pathlib import Path

import accelerate
import pytest
import torch

from sfe_core.errors import RunError
from sfe_core.runs.start import plan_training
from sfe_core.training.engine.run_folder import STARTS
from sfe_core.training.engine.runlog import read_metrics
from sfe_core.training.options import TrainOptions
from sfe_core.training.parallel.devices import open_accelerator
from tests.listening import Listener
from tests.sfe_core.conftest import with_settings
from tests.sfe_core.training.engine.test_loop import PLAIN, run, weights_of, without_speed

pytestmark = pytest.mark.slow

_READ = re.compile(r"""(?:environ\.get\(|environ\[|from_env\(\[?)\s*["']([A-Z0-9_]+)["']""")
_PREFIXED = re.compile(r"""(?:environ\.get\(|from_env\()\s*(?:env_)?prefix \+ ["']([A-Z0-9_]+)""")
_LIST = re.compile(r"get_int_from_env\(\s*\[([^]]*)\]")
_PREFIX = re.compile(r"""prefix = ["']([A-Z0-9_]+_)["']""")
# Not accelerate's own: of the system, of other libraries, of trackers, of machines nobody has here.
_OTHERS = re.compile(
    r"PATH|HOME|CUDA_\w+|NCCL_\w+|OMP_\w+|KMP_\w+|MLFLOW_\w+|CLEARML_\w+|PT_HPU_\w+|TPU_\w+|"
    r"DEEPSPEED_USE_HPU|SLURM_\w+|PYTORCH_\w+|TORCH\w*|USE_TORCH_XLA|HF_\w+|AWS_\w+|MASTER_\w+"
)


def read_by_accelerate() -> set[str]:
    """Every variable that the installed accelerate reads, found in its source."""
    found: set[str] = set()
    folder = Path(accelerate.__file__).parent
    for path in folder.rglob("*.py"):
        if path.relative_to(folder).parts[0] in ("commands", "test_utils"):
            continue
        text = path.read_text(encoding="utf-8")
        found |= set(_READ.findall(text))
        found |= {
            name for inner in _LIST.findall(text) for name in re.findall(r"[A-Z0-9_]+", inner)
        }
        prefixes, names = set(_PREFIX.findall(text)), set(_PREFIXED.findall(text))
        found |= {prefix + name for prefix in prefixes for name in names}
    return {name for name in found if not _OTHERS.fullmatch(name)}


def test_every_variable_that_accelerate_reads_changes_no_bit(workspace, monkeypatch):
    quick = with_settings(workspace, loss=PLAIN, train={"steps": 2, "trackers": ()})
    alone = run(quick, run="alone")
    names = read_by_accelerate()
    assert {
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS",
        "ACCELERATE_MIXED_PRECISION",
        "ACCELERATE_DYNAMO_BACKEND",
        "ACCELERATE_USE_FSDP",
        "FSDP_VERSION",
        "OMPI_COMM_WORLD_SIZE",
        "WORLD_SIZE",
    } <= names
    odd = {"STEPS": "4", "SIZE": "2", "PRECISION": "bf16", "BACKEND": "eager", "DEVICE": "meta"}
    for name in names:
        value = next((text for end, text in odd.items() if name.endswith(end)), "1")
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_USE_MEGATRON_LM", "true")
    listener = Listener()
    surrounded = run(quick, listener, run="surrounded")
    assert without_speed(read_metrics(alone.run)) == without_speed(read_metrics(surrounded.run))
    expected, actual = weights_of(alone.checkpoint), weights_of(surrounded.checkpoint)
    assert all(torch.equal(actual[name], tensor) for name, tensor in expected.items())
    told = [line for line in listener.lines if line.startswith("not taken from the environment")]
    assert len(told) == 1 and told[0].count("=") == 6 and " more; sfe.yaml" in told[0]


def test_what_is_taken_is_planned_and_recorded(workspace, monkeypatch):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    quick = with_settings(workspace, loss=PLAIN, train={"steps": 1, "trackers": ()})
    summary = run(quick)
    (line,) = (summary.run / STARTS).read_text().splitlines()
    start = json.loads(line)
    assert start["environment"] == {"NVIDIA_TF32_OVERRIDE": "0"}
    assert (start["device"], start["processes"], start["updates_done"]) == ("cpu", 1, 0)


def test_a_run_of_two_does_not_go_on_with_one(workspace):
    plan = plan_training(workspace, TrainOptions(cpu_processes=2))
    with pytest.raises(RunError, match="1 processes meet where 2 are planned"):
        open_accelerator(plan)
