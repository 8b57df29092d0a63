"""Names of libraries that may go without notice: each is known here, is there, and has a successor.

Private are names with a leading underscore, and the modules of `UNDOCUMENTED`. A new use fails the
first test until it stands in `HELD`; an update of a library that drops one fails the second.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

ROOT = Path(__file__).parents[2]
OWN = ("sfe_core", "sfe_cli")
# Modules that their libraries' references leave out, or name as internal.
UNDOCUMENTED = (
    "accelerate.checkpointing",
    "accelerate.commands",
    "accelerate.utils.constants",
    "accelerate.utils.fsdp_utils",
    "diffusers.loaders.",
    "diffusers.pipelines.",
    "diffusers.training_utils",
    "diffusers.utils",
    "torch_fidelity.interpolate_compat_tensorflow",
)
# A name, as it is used, to what takes its place where it goes.
HELD = {
    "accelerate.checkpointing.load_accelerator_state": "Accelerator.load_state, on a folder of its",
    "accelerate.checkpointing.save_accelerator_state": "Accelerator.save_state, in a folder of its",
    "accelerate.utils.constants.OPTIMIZER_NAME": '"optimizer", the file that save_state writes',
    "accelerate.utils.constants.SCALER_NAME": '"scaler.pt", the file that save_state writes',
    "accelerate.utils.fsdp_utils.fsdp2_prepare_model": "torch.distributed.fsdp.fully_shard a block",
    "AcceleratorState._reset_state": "a process for each run",
    "GradientState._reset_state": "a process for each run",
    "PartialState._shared_state": "PartialState.initialized, which makes one",
    "diffusers.pipelines.stable_diffusion.safety_checker.StableDiffusionSafetyChecker": (
        "AutoModel.from_pretrained of the folder safety_checker"
    ),
    "diffusers.utils.convert_state_dict_to_kohya": "the names in packaging/lora",
    "diffusers.utils.logging": "logging.getLogger('diffusers')",
    "ResNet._make_layer": "BasicBlock and Bottleneck, put together as torchvision does",
    "self._execution_device": "the device of the guidance encoder",
    "torch._utils._rebuild_parameter": "torch.load(weights_only=True), of files that it takes",
    "torch._utils._rebuild_tensor_v2": "torch.load(weights_only=True), of files that it takes",
    "torch_fidelity.interpolate_compat_tensorflow.interpolate_bilinear_2d_like_tensorflow1x": (
        "functional.interpolate with align_corners=False and half pixels moved"
    ),
}
DOCUMENTED = {"os._exit"}
# Objects by the names that they have where they are used.
OBJECTS = {
    "AcceleratorState": "accelerate.state.AcceleratorState",
    "GradientState": "accelerate.state.GradientState",
    "PartialState": "accelerate.state.PartialState",
    "ResNet": "torchvision.models.ResNet",
    "self": "diffusers.pipelines.pipeline_utils.DiffusionPipeline",  # diffusion/pipeline.py
}


def trees() -> list[ast.Module]:
    paths = (path for top in OWN for path in sorted((ROOT / top).rglob("*.py")))
    return [ast.parse(path.read_text(encoding="utf-8")) for path in paths]


def named_here(nodes: list[ast.AST]) -> Iterator[str]:
    """Names that our own code gives, to which an underscore means: of this file or class alone."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.attr if isinstance(node, ast.Attribute) else node.id


def used(nodes: list[ast.AST]) -> Iterator[str]:
    """Private names of libraries, as they are used."""
    own = set(named_here(nodes))
    for node in nodes:
        if isinstance(node, ast.Attribute) and _is_private(node.attr) and node.attr not in own:
            yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            top = node.module.split(".")[0]
            if top in OWN or top in sys.stdlib_module_names:
                continue
            for name in (f"{node.module}.{alias.name}" for alias in node.names):
                if name.startswith(UNDOCUMENTED) or any(map(_is_private, name.split("."))):
                    yield name


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_every_private_name_is_held_and_no_other() -> None:
    nodes = [node for tree in trees() for node in ast.walk(tree)]
    assert set(used(nodes)) - DOCUMENTED == set(HELD)


@pytest.mark.parametrize("name", HELD)
def test_it_is_still_there(name: str) -> None:
    first, _, rest = name.partition(".")
    words = f"{OBJECTS.get(first, first)}.{rest}".split(".")
    found, module = None, []
    for word in words:
        try:
            found = importlib.import_module(".".join([*module, word]))
            module.append(word)
        except ImportError:
            found = inspect.getattr_static(found, word)
    assert found is not None and HELD[name]


def test_what_took_a_private_names_place_is_public_and_does_the_same() -> None:
    from accelerate import Accelerator

    assert "get_capabilities" in torch.cpu.__all__
    assert isinstance(inspect.getattr_static(Accelerator, "sync_gradients"), property)
    accelerator = Accelerator(cpu=True)
    for last in (False, True):
        accelerator.sync_gradients = last
        assert accelerator.gradient_state.sync_gradients is last
    average, now = torch.rand(2, 7), torch.rand(2, 7)
    expected = average.clone().lerp_(now, 1.0 - 0.9)
    get_ema_multi_avg_fn(0.9)([average], [now], 3)
    assert torch.equal(average, expected)
