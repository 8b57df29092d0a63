"""Building a run: its folder, its networks, its data, its optimiser."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from sfe_core.assets import locate
from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.dataset import FaceDataset
from sfe_core.corpus.reader import Corpus
from sfe_core.corpus.sampler import DeterministicSampler, balance_weights
from sfe_core.diffusion.encoders import Encoders
from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.diffusion.guided_unet import GuidedUNet
from sfe_core.diffusion.hashing import hash_base
from sfe_core.diffusion.loading import BaseModels, load_base, load_part
from sfe_core.diffusion.noise_schedule import set_schedule
from sfe_core.errors import UserError
from sfe_core.faces.recognition.recognisers import load_recogniser
from sfe_core.files import derive_seed
from sfe_core.losses.composite import EMOTION_TERMS, PERCEPTUAL, CompositeLoss
from sfe_core.losses.perceptual import load_perceptual
from sfe_core.recipes.objective import Objective, build_objective
from sfe_core.recipes.sample_numbers import SampleMeter
from sfe_core.reporting import Reporter
from sfe_core.training.batches.data import BatchSource
from sfe_core.training.batches.sources import SourceOptions, open_source
from sfe_core.training.engine.lora import add_lora
from sfe_core.training.engine.nonfinite import SkipCount
from sfe_core.training.engine.optimiser import MovingAverage, build_optimiser, freeze
from sfe_core.training.engine.options import TrainOptions, TrainPlan
from sfe_core.training.engine.plan import TRAIN_SPLIT
from sfe_core.training.engine.run_folder import note_start, open_run, write_config
from sfe_core.training.engine.runlog import RunLog, Window
from sfe_core.training.parallel.compute import compile_blocks, to_channels_last
from sfe_core.training.parallel.devices import open_accelerator
from sfe_core.training.parallel.sharding import is_sharded, shard_like_live


@dataclass
class Session:
    """Everything a run holds in memory.

    `model` is the GuidedUNet itself; `wrapped` is what accelerate made of it (DDP, autocast), and
    the one to call for a gradient.
    """

    config: Config
    plan: TrainPlan
    run: Path
    reporter: Reporter
    accelerator: Accelerator
    base: BaseModels
    model: GuidedUNet
    wrapped: nn.Module
    optimiser: torch.optim.Optimizer
    ema: MovingAverage | None
    objective: Objective
    corpus: Corpus
    dataset: FaceDataset
    source: BatchSource
    sampler: DeterministicSampler
    hashes: dict[str, str]
    log: RunLog | None  # main process only
    meter: SampleMeter
    faces: FaceDataset | None = None  # to draw samples of; None without a validation split
    step: int = 0
    skips: SkipCount = field(default_factory=lambda: SkipCount(1))
    window: Window = field(default_factory=Window)
    one_device: float | None = None  # images/s of one device alone, see `scaling`
    scaling_told: bool = False
    held: ExitStack = field(default_factory=ExitStack)  # log and lock

    def close(self) -> None:
        """Finish the log, and let other processes into the run's folder."""
        self.held.close()


def build_model(config: Config, base: BaseModels) -> GuidedUNet:
    """The base's UNet and a fresh guidance bank, with what is frozen frozen.

    The base's text encoder joins them where it is trained.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.train.seed, "guidance bank") % 2**32)
        bank = GuidanceBank(
            config.guidance.maps, config.guidance.block_channels, base.unet.conv_in.out_channels
        )
        freeze(base.unet, config.train.frozen)
        if config.train.lora_rank:
            add_lora(base.unet, config.train.lora_rank, config.train.frozen)
    base.unet.train()
    if config.train.gradient_checkpointing:
        base.unet.enable_gradient_checkpointing()
        base.vae.enable_gradient_checkpointing()
    text_encoder = load_part(base.folder, "text_encoder") if config.train.text_encoder else None
    return GuidedUNet(base.unet, bank, text_encoder)


def build_composite(config: Config) -> CompositeLoss:
    """The loss, with only those networks that a term needs."""
    weights = config.loss
    perceptual = recogniser = None
    if getattr(weights, PERCEPTUAL) > 0:
        perceptual = load_perceptual(weights.perceptual_network)
    if any(getattr(weights, name) > 0 for name in EMOTION_TERMS):
        recogniser = load_recogniser(weights.emotion_network)
    return CompositeLoss(weights, recogniser, perceptual)


def open_data(
    workspace: Workspace,
    corpus: Corpus,
    base: BaseModels,
    accelerator: Accelerator,
    images: bool,
    faces: int,
    reporter: Reporter,
) -> tuple[FaceDataset, BatchSource]:
    """The first `faces` of the training split, and where its batches come from.

    `images` says whether these hold the photos.
    """
    config = workspace.config
    maps, side = config.guidance.maps, config.model.resolution
    dataset = FaceDataset(corpus, TRAIN_SPLIT, maps, side, config.data, faces)
    options = SourceOptions(
        config.data.cache,
        workspace.cache,
        config.train.loader_workers,
        images,
        accelerator.process_index,
        accelerator.num_processes,
    )
    encoders = Encoders(base.folder, accelerator.device, config.train.text_encoder)
    teller = reporter if accelerator.is_main_process else Reporter()
    return dataset, open_source(dataset, base, encoders, options, teller)


def build(
    workspace: Workspace, plan: TrainPlan, options: TrainOptions, reporter: Reporter
) -> Session:
    """Load and connect everything; `workspace` already carries the overrides of `options`.

    The session is to be closed.

    Raises:
        SfeError: see `open_run`, `RunLog` and `open_source`.
    """
    accelerator = open_accelerator(plan, workspace.config.train.max_gradient_norm)
    with ExitStack() as held:
        run, lock = open_run(workspace, plan, options, accelerator)
        log = None
        if lock is not None:
            held.callback(lock.release)
            note_start(run, plan)
            # Before anything long: a tracker may not start.
            log = _open_log(run, plan, workspace.config)
            held.callback(log.close)
        session = _connect(workspace, plan, run, accelerator, log, reporter)
        session.held = held.pop_all()
    return session


def _connect(
    workspace: Workspace,
    plan: TrainPlan,
    run: Path,
    accelerator: Accelerator,
    log: RunLog | None,
    reporter: Reporter,
) -> Session:
    config = workspace.config
    device = accelerator.device
    base = load_base(locate(config.model.base), encoders=False)
    base.scheduler = set_schedule(base.scheduler, config.model)
    base.vae.requires_grad_(False).to(device)
    corpus = Corpus.open(workspace)
    main = accelerator.is_main_process
    composite = build_composite(config).to(device)
    dataset, source = open_data(
        workspace, corpus, base, accelerator, composite.needs_pixels, plan.split_images, reporter
    )
    model = build_model(config, base).to(device)
    if config.train.channels_last:
        to_channels_last(model, base.vae)
    train = config.train
    ema = MovingAverage(model, train.ema_decay, train.ema_device) if train.ema_decay else None
    if train.compile:
        compile_blocks(model.unet)
    wrapped, optimiser = accelerator.prepare(model, build_optimiser(model, config.train))
    if ema is not None and is_sharded(model):
        shard_like_live(accelerator, ema.model)
        ema.pair_shards()
    weights = balance_weights(dataset.emotions.tolist(), config.train.balance)
    hashes = {"base": hash_base(base.folder), "corpus": corpus.sha256} if main else {}
    if main and plan.resume_from is None:
        write_config(run, config)
    return Session(
        config=config,
        plan=plan,
        run=run,
        reporter=reporter,
        accelerator=accelerator,
        base=base,
        model=model,
        wrapped=wrapped,
        optimiser=optimiser,
        ema=ema,
        objective=build_objective(config, base, composite, dataset, source.empty_text, device),
        corpus=corpus,
        dataset=dataset,
        source=source,
        sampler=DeterministicSampler(len(dataset), config.train.seed, weights),
        hashes=hashes,
        log=log,
        meter=SampleMeter(config.evaluate, config.model.resolution, reporter),
        faces=_sample_faces(corpus, config, reporter) if main else None,
        skips=SkipCount(config.train.max_skipped_updates),
    )


def _sample_faces(corpus: Corpus, config: Config, reporter: Reporter) -> FaceDataset | None:
    name, resolution = config.split.validation_name, config.model.resolution
    try:
        return FaceDataset(corpus, name, config.guidance.maps, resolution)
    except UserError:
        reporter.warn("no validation split in the corpus: no samples will be drawn")
        return None


def _open_log(run: Path, plan: TrainPlan, config: Config) -> RunLog:
    plain = config.model_dump(mode="json")
    return RunLog(run, plan.start_step, config.train.trackers, plain)
