"""What a run would do, worked out and checked before anything is loaded or written."""

from __future__ import annotations

import importlib.util
import os

import torch

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.errors import UserError
from sfe_core.network_layout import has_bfloat16
from sfe_core.processes.launching import STRATEGY_FILES, Topology
from sfe_core.processes.placement import Placement, place
from sfe_core.processes.surroundings import arithmetic, switched_off
from sfe_core.training.contract import RecipeSpec
from sfe_core.training.engine.checkpoints import read_meta
from sfe_core.training.engine.optimiser import require_optimiser
from sfe_core.training.engine.starting import choose_start, look_into_folder
from sfe_core.training.engine.trackers import require_trackers
from sfe_core.training.options import TrainOptions, TrainPlan
from sfe_core.wording import listed

_FLOAT_BYTES = 4
_MOST_NAMED = 6


def plan_training(
    workspace: Workspace,
    options: TrainOptions,
    spec: RecipeSpec,
    cuda_devices: int | None = None,
) -> TrainPlan:
    """Work out a run; the same checks a real run starts with.

    Args:
        workspace, options: of the run.
        spec: of its recipe.
        cuda_devices: GPUs of each machine it will run on; None: of this one.

    Raises:
        UserError: a device, a file or a number of sfe.yaml does not allow the run.
    """
    changed = options.applied_to(workspace)
    config = changed.config
    placement, notes = _placed(options, cuda_devices)
    device, processes = placement.device, placement.processes
    topology = resolve_topology(options, device)
    precision = resolve_precision(config.train.mixed_precision, device)
    check_strategy(topology.strategy, precision, config.train.lora_rank)
    batch, accumulation = _divide(config, processes, notes)
    _require_metric(config.train.best_metric, spec)
    checked = spec.check(changed)
    notes += checked.notes
    require_trackers(config.train.trackers)
    require_optimiser(config.train)
    resume_from, warnings = choose_start(workspace, checked, options, topology.strategy, notes)
    done = read_meta(resume_from) if resume_from else None
    warnings += _not_taken(device)
    checkpoints = look_into_folder(workspace.runs, options, resume_from, notes)
    total, trained, averaged = _count_weights(config, checked.model)
    return TrainPlan(
        device=device,
        processes=processes,
        precision=precision,
        batch_size=batch,
        accumulation=accumulation,
        effective_batch=config.train.effective_batch,
        steps=config.train.steps,
        start_step=done.step if done else 0,
        start_images=done.images_seen if done else 0,
        split_images=checked.images,
        data_sha256=checked.data_sha256,
        told=checked.told,
        parameters=total,
        trained_parameters=trained,
        state_bytes=state_bytes(
            topology.strategy, processes, total + averaged, trained, config.train.optimiser
        ),
        resume_from=resume_from,
        checkpoints=checkpoints,
        topology=topology,
        environment=arithmetic(os.environ),
        notes=tuple(notes),
        warnings=tuple(warnings),
    )


def _placed(options: TrainOptions, cuda_devices: int | None) -> tuple[Placement, list[str]]:
    """Devices and processes over all machines, and what to tell of the choice."""
    chosen = place(
        options.gpus, options.cpu_processes, machines=options.nodes, cuda_devices=cuda_devices
    )
    fallen_back = chosen.device == "cpu" and options.cpu_processes is None
    return chosen, ["no CUDA device here: one process on the CPU"] if fallen_back else []


def _require_metric(metric: str, spec: RecipeSpec) -> None:
    if metric not in spec.higher_is_better:
        raise UserError(
            "train.best_metric",
            f"{metric} is not measured by recipe {spec.name}",
            f"choose {' or '.join(spec.higher_is_better)}",
        )


def _count_weights(config: Config, model: torch.nn.Module) -> tuple[int, int, int]:
    """Parameters in all, those that are trained, and those that the average holds once more."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    # Frozen weights are shared with the average.
    averaged = trained if config.train.ema_decay and config.train.ema_device == "model" else 0
    return total, trained, averaged


def _divide(config: Config, processes: int, notes: list[str]) -> tuple[int, int]:
    """`lay_out` of sfe.yaml's batches; tells in `notes` if they had to be made smaller."""
    train = config.train
    batch, accumulation = lay_out(train.batch_size, train.effective_batch, processes)
    if batch != train.batch_size:
        notes.append(
            f"batches of {batch} instead of {train.batch_size}, so that {processes} "
            f"process(es) make updates of exactly {train.effective_batch}"
        )
    return batch, accumulation


def _not_taken(device: str) -> list[str]:
    """A word about variables that ask accelerate for something else than sfe.yaml says."""
    asked = switched_off(os.environ)
    if device == "cpu":
        asked.pop("ACCELERATE_USE_CPU", None)
    if not asked:
        return []
    named = [f"{name}={value}" for name, value in asked.items()]
    told = listed(named, _MOST_NAMED)
    why = "sfe.yaml and the options of `sfe train` alone say how it learns"
    return [f"not taken from the environment: {told}; {why}"]


def resolve_topology(options: TrainOptions, device: str) -> Topology:
    """Strategy and machines of a run.

    Raises:
        UserError: an unknown strategy, one that this device or installation does not have, or
            machines that could not find each other.
    """
    strategy, nodes, rank = options.strategy, options.nodes, options.node_rank
    if strategy not in STRATEGY_FILES:
        raise UserError("--strategy", f"{strategy!r}", f"allowed: {', '.join(STRATEGY_FILES)}")
    if strategy.startswith("zero2"):
        if device == "cpu":
            raise UserError(
                f"--strategy {strategy}", "needs GPUs", "on the CPU, choose ddp or fsdp"
            )
        if importlib.util.find_spec("deepspeed") is None:
            raise UserError(
                f"--strategy {strategy}",
                "DeepSpeed is not installed",
                "pip install 'sfe[deepspeed]'",
            )
    if nodes < 1 or not 0 <= rank < nodes:
        raise UserError("--nodes, --node-rank", f"{nodes}, {rank}", "give 0 <= node-rank < nodes")
    host, _, port = options.main_address.partition(":")
    if nodes > 1 and not host:
        raise UserError("--nodes", "no --main-address", "give host[:port] of machine 0 on each")
    if port and not (port.isdigit() and 0 < int(port) < 65536):
        raise UserError("--main-address", f"{port!r} is not a port", "give host:1 to host:65535")
    return Topology(strategy, nodes, rank, options.main_address)


def check_strategy(strategy: str, precision: str, lora_rank: int | None) -> None:
    """Check that a strategy computes in a precision, and trains what is to be trained.

    Raises:
        UserError: float16 with shards, whose gradients accelerate does not scale; LoRA with sharded
            weights.
    """
    if strategy == "fsdp" and lora_rank:
        raise UserError(
            "--strategy fsdp", "shards whole UNets, not LoRA", "use ddp: LoRA needs little memory"
        )
    if strategy != "ddp" and precision == "fp16":
        raise UserError("train.mixed_precision", f"fp16 with --strategy {strategy}", "choose bf16")


def state_bytes(
    strategy: str, processes: int, weights: int, trained: int, optimiser: str = "adamw"
) -> int:
    """Bytes on each device without activations.

    Args:
        strategy: what it deals out among `processes`.
        weights: parameters held, the moving average's included.
        trained: parameters with a gradient and two moments.
        optimiser: `train.optimiser`; adamw-8bit takes a byte a moment, prodigy keeps four.
    """
    moments = {"adamw-8bit": trained // 2, "prodigy": 4 * trained}.get(optimiser, 2 * trained)
    state = trained + moments
    if strategy == "fsdp":
        weights, state = weights // processes, state // processes
    elif strategy == "zero2":
        state //= processes
    elif strategy == "zero2-offload":
        state = 0  # in main memory; buckets of gradients pass through the device
    return _FLOAT_BYTES * (weights + state)


def resolve_precision(wanted: str, device: str) -> str:
    """Precision of the forward pass: "no" (float32), "fp16" or "bf16".

    Args:
        wanted: one of these, or "auto": bf16 where the device has instructions for it.
        device: "cpu" or "cuda".

    Raises:
        UserError: fp16 on the CPU.
    """
    if wanted == "fp16" and device == "cpu":
        raise UserError(
            "train.mixed_precision", "fp16 needs a GPU", "on the CPU, choose auto, no or bf16"
        )
    if wanted != "auto":
        return wanted
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    return "bf16" if has_bfloat16() else "no"


def lay_out(batch_size: int, effective_batch: int, processes: int) -> tuple[int, int]:
    """Images per forward pass, at most `batch_size`, and forward passes per update.

    Their product with `processes` is exactly `effective_batch`.

    Raises:
        UserError: `effective_batch` cannot be shared evenly.
    """
    share, rest = divmod(effective_batch, processes)
    if rest:
        near = max(1, round(effective_batch / processes)) * processes
        raise UserError(
            "train.effective_batch",
            f"{effective_batch} cannot be shared by {processes} processes",
            f"give a multiple of {processes}, e.g. {near}",
        )
    batch = max(size for size in range(1, min(batch_size, share) + 1) if share % size == 0)
    return batch, share // batch
