"""What a caller of training may choose, and what it gets back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfe_core.config.workspace import Workspace
from sfe_core.processes.launching import ONE_MACHINE, Topology
from sfe_core.processes.placement import Device


@dataclass(frozen=True)
class TrainOptions:
    """Choices of one `sfe train`, beside sfe.yaml.

    Attributes:
        gpus: this many GPUs of each machine; None: one if there is one, else one CPU process.
        cpu_processes: this many CPU processes on each machine instead.
        strategy, nodes, node_rank, main_address: see `sfe_core.processes.launching.Topology`.
        resume: "auto" (the newest checkpoint, if any; of `run`, where that is given), or the path
            of a run or checkpoint.
        run: name of the run folder; None: the time, as YYYYmmdd-HHMMSS.
        batch_size, effective_batch, steps: instead of sfe.yaml's.
        dry_run: plan only.
        accept_changes: go on though sfe.yaml or the corpus differ from the checkpoint's.
        checked: `resume` is a checkpoint whose checksums were compared, and what has changed since
            was told of, already.
        joined: a launcher has started all processes already, and this is one of them.
        checkpoints: with `checked`, the names of those in its run at that time.
    """

    gpus: int | None = None
    cpu_processes: int | None = None
    strategy: str = "ddp"
    nodes: int = 1
    node_rank: int = 0
    main_address: str = ""
    resume: str | None = None
    run: str | None = None
    batch_size: int | None = None
    effective_batch: int | None = None
    steps: int | None = None
    dry_run: bool = False
    accept_changes: bool = False
    checked: bool = False
    joined: bool = False
    checkpoints: tuple[str, ...] | None = None

    def applied_to(self, workspace: Workspace) -> Workspace:
        """The workspace with these overrides in its configuration."""
        names = ("batch_size", "effective_batch", "steps")
        changed = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if not changed:
            return workspace
        train = workspace.config.train
        # Through the model's validation, so that an override obeys sfe.yaml's limits.
        train = type(train).model_validate(train.model_dump() | changed)
        config = workspace.config.model_copy(update={"train": train})
        return Workspace(root=workspace.root, config=config)


@dataclass(frozen=True)
class TrainPlan:
    """What a run would do.

    Attributes:
        device: "cuda" or "cpu".
        processes: one per device, over all machines.
        topology: how they share the work, and over which machines.
        precision: of the forward pass: "no" (float32), "fp16" or "bf16".
        batch_size: images per process and forward pass.
        accumulation: forward passes per update and process.
        effective_batch: their product with `processes`, images per update.
        steps: optimiser updates of the whole run; start_step of them are done already.
        split_images: images that training draws from.
        data_sha256: hash of the data.
        start_images: images drawn by then.
        told: label to value, what the recipe tells of itself.
        parameters: trained + frozen parameters of the networks.
        trained_parameters: those of them that are trained.
        state_bytes: weights, gradients, AdamW moments and moving average on each device, as the
            strategy deals them out. What the activations take comes on top, and depends on the
            batch.
        resume_from: checkpoint to go on from, or None.
        checkpoints: names of those in that checkpoint's run when the plan was made.
        environment: variables that bear on how libraries calculate, and their values.
        notes: lines worth telling: fallbacks taken, sizes adapted.
        warnings: torn checkpoints passed over, changes accepted, variables not taken.
    """

    device: Device
    processes: int
    precision: str
    batch_size: int
    accumulation: int
    effective_batch: int
    steps: int
    start_step: int
    split_images: int
    data_sha256: str
    parameters: int
    trained_parameters: int
    state_bytes: int
    start_images: int = 0
    resume_from: Path | None = None
    checkpoints: tuple[str, ...] = ()
    topology: Topology = ONE_MACHINE
    environment: dict[str, str] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=())
    warnings: tuple[str, ...] = field(default=())

    @property
    def images_seen(self) -> int:
        """Images drawn over the whole run."""
        return self.images_before(self.steps)

    @property
    def epochs(self) -> float:
        """How often the whole run sees each image, on average."""
        return self.images_seen / self.split_images

    def images_before(self, update: int) -> int:
        """Images drawn before an update, from 0; updates may have been of another size once."""
        return self.start_images + (update - self.start_step) * self.effective_batch


@dataclass(frozen=True)
class TrainSummary:
    """What a run did.

    Attributes:
        run: its folder.
        checkpoint: the newest checkpoint in it.
        step: updates done over the whole run.
        images_seen: images drawn over the whole run.
        images_per_s: of this call, over all devices, without setting up.
        one_device: what the first of several devices did alone, None where not measured.
        losses: weighted terms of the last line of metrics.jsonl, and their "total".
        samples: the newest sample grid, or None.
        skipped: updates left out because their loss or gradient was NaN or infinite.
        skipped_last: how many of them are its last ones, after which nothing was learnt.
        best: the best checkpoint by `train.best_metric`, None where it was never measured.
    """

    run: Path
    checkpoint: Path
    step: int
    images_seen: int
    images_per_s: float
    losses: dict[str, float]
    samples: Path | None = None
    one_device: float | None = None
    skipped: int = 0
    skipped_last: int = 0
    best: Path | None = None
