"""The Accelerator of a run, whatever the strategy, and how a pass counts into an update under it.

The strategy itself (DDP, FSDP, DeepSpeed ZeRO-2) comes through the environment that accelerate's
launcher sets from a file of accelerate_configs/; here it meets the run's own settings.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import (
    DeepSpeedPlugin,
    DistributedDataParallelKwargs,
    DistributedType,
    FullyShardedDataParallelPlugin,
    GradientAccumulationPlugin,
    InitProcessGroupKwargs,
)
from torch import nn
from torch.distributed.tensor import DTensor

from sfe_core.errors import RunError
from sfe_core.processes.surroundings import switch_off
from sfe_core.training.options import TrainPlan

# What torch.compile hands its graphs to; tests take one that needs no compiler.
BACKEND = "inductor"


def open_accelerator(
    plan: TrainPlan, max_gradient_norm: float = 1.0, blocks: Sequence[str] = ()
) -> Accelerator:
    """An Accelerator for this run, also where an earlier run in this process left its state.

    Accumulation is counted by the engine itself, in images per update, so accelerate's stays 1.
    What else accelerate would read from the environment is taken out of it, but for what its own
    launcher has put there for GPUs under FSDP and DeepSpeed.

    Args:
        plan: gives device, precision and strategy.
        max_gradient_norm: DeepSpeed clips by itself, above this.
        blocks: class names of the blocks that FSDP shards one by one.

    Raises:
        RunError: there are other processes than the plan's.
    """
    strategy = plan.topology.strategy
    if strategy == "ddp" or (plan.device == "cpu" and strategy == "fsdp"):
        switch_off(os.environ, alone=plan.processes == 1 and strategy == "ddp")
    accelerator = _open(plan, max_gradient_norm, blocks)
    if accelerator.num_processes != plan.processes:
        raise RunError(
            "training worker",
            f"{accelerator.num_processes} processes meet where {plan.processes} are planned",
            "start `sfe train` once, not through a launcher",
        )
    return accelerator


def _open(plan: TrainPlan, max_gradient_norm: float, blocks: Sequence[str]) -> Accelerator:
    if not PartialState._shared_state or PartialState().num_processes == 1:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
    strategy = plan.topology.strategy
    if strategy == "fsdp":
        # accelerate's launcher has read those of fsdp.yaml, and other recipes have other blocks.
        os.environ["FSDP_TRANSFORMER_CLS_TO_WRAP"] = ",".join(blocks)
    if strategy.startswith("zero2"):
        plugin = _deepspeed_plugin(plan, max_gradient_norm)
        # accelerate knows how the processes of accelerators meet, for DeepSpeed not those of CPUs.
        meeting = [InitProcessGroupKwargs(backend="gloo")] if plan.device == "cpu" else []
        # Precision is DeepSpeed's business (torch_autocast below); weights stay float32.
        return Accelerator(
            mixed_precision="no",
            gradient_accumulation_plugin=_one_pass(),
            deepspeed_plugins=plugin,
            kwargs_handlers=meeting,
        )
    ddp = DistributedDataParallelKwargs(
        # Gradients live in DDP's buckets instead of beside them: a copy of the weights less.
        gradient_as_bucket_view=True,
        # The only buffers are a text encoder's position numbers, the same everywhere, and running
        # statistics, which training never reads (the first process's are saved); exchanging them
        # before each pass would make the pass of one process wait for the others'.
        broadcast_buffers=False,
    )
    accelerator = Accelerator(
        mixed_precision=plan.precision,
        gradient_accumulation_plugin=_one_pass(),
        cpu=plan.device == "cpu",
        kwargs_handlers=[ddp],
    )
    if strategy == "fsdp" and accelerator.distributed_type == DistributedType.MULTI_CPU:
        # accelerate shards on accelerators only; torch does so on the CPU as well, over gloo.
        accelerator.state.distributed_type = DistributedType.FSDP
        accelerator.state.fsdp_plugin = _fsdp_plugin(blocks)
    return accelerator


def _one_pass() -> GradientAccumulationPlugin:
    # As a plugin: a number would give way to one in the environment.
    return GradientAccumulationPlugin(num_steps=1)


def _deepspeed_plugin(plan: TrainPlan, max_gradient_norm: float) -> DeepSpeedPlugin:
    plugin = DeepSpeedPlugin()  # stage and offloading come from the launcher's environment
    plugin.deepspeed_config |= {
        "train_micro_batch_size_per_gpu": plan.batch_size,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": max_gradient_norm,
        "zero_allow_untested_optimizer": True,
    }
    if plan.precision == "bf16":
        plugin.deepspeed_config["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
    return plugin


def _fsdp_plugin(blocks: Sequence[str]) -> FullyShardedDataParallelPlugin:
    """As fsdp.yaml asks for, where no launcher has read it."""
    return FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="TRANSFORMER_BASED_WRAP",
        transformer_cls_names_to_wrap=list(blocks),
        reshard_after_forward=True,
        cpu_ram_efficient_loading=False,
        state_dict_type="SHARDED_STATE_DICT",
    )


@contextmanager
def accumulate(accelerator: Accelerator, wrapped: nn.Module, last: bool) -> Iterator[None]:
    """Around one forward and backward pass of an update; only the `last` one exchanges gradients.

    Under DeepSpeed, the last backward pass also clips, steps and zeroes.
    """
    # DeepSpeed reads from it whether a pass ends the update, and optimisers whether to step.
    accelerator.sync_gradients = last
    with nullcontext() if last else accelerator.no_sync(wrapped):
        yield


def clip_gradient(accelerator: Accelerator, wrapped: nn.Module, limit: float) -> float:
    """Scale the gradient down to a norm of `limit`, if it is longer; its norm before that."""
    norm = accelerator.clip_grad_norm_(wrapped.parameters(), limit)
    # Of shards, each process holds a part of the norm.
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)


def compile_blocks(unet: nn.Module) -> None:
    """Compile a UNet's blocks in place (torch.compile), one by one; of another network, itself.

    Blocks instead of the whole: guidance enters by a hook on `conv_in`, which then stays outside,
    a change of hook compiles nothing anew, and parameters keep their names.
    """
    blocks = [*getattr(unet, "down_blocks", ()), *getattr(unet, "up_blocks", ())]
    for block in (*blocks, unet.mid_block) if blocks else (unet,):
        block.compile(backend=BACKEND, dynamic=False)
