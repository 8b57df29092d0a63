"""The physical recipe: a photo out of its face's shading, normals and albedo (DiffusionRig).

Ding et al. 2023, https://arxiv.org/abs/2304.06711. Stage 1 learns from many people, from random
weights: the UNet what hair, skin and background belong to a rendered face, the encoder what of them
the face does not tell. Stage 2 goes on from there on one person's album; the encoder stays as it
is, batch statistics too, so each photo's code is worked out once. Whoever can render the face with
another expression, pose or light can then draw the photo that belongs to it.

In the order of a run: settings, what is checked before it, the network, the data, the run and its
loss, the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from pydantic import Field
from torch import Tensor, nn
from torch.utils.data import Dataset

from sfe_core.assets import locate
from sfe_core.assets.reference import ModelReference
from sfe_core.config.model import Config
from sfe_core.config.sections import Count, Fraction, Positive, Section, Weight
from sfe_core.config.training_sections import NO_BASE
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.balance import draws_per_epoch
from sfe_core.corpus.buffers import CHANNELS, NORMALS, hash_buffers, read_buffers, require_buffers
from sfe_core.corpus.choice import choose_faces
from sfe_core.corpus.dataset import FaceDataset
from sfe_core.corpus.inspection.buffer_sets import BufferSet
from sfe_core.corpus.inspection.gate import require_sound
from sfe_core.corpus.people.albums import choose_album
from sfe_core.corpus.reader import Corpus
from sfe_core.corpus.sampler import DeterministicSampler
from sfe_core.corpus.views import View
from sfe_core.diffusion.physical.diffusion_rig import DiffusionRig
from sfe_core.diffusion.physical.loading import RIG_FOLDER, load_rig, rig_config
from sfe_core.diffusion.physical.pipeline import RigPipeline, make_scheduler, training_schedule
from sfe_core.diffusion.physical.rig_unet import BLOCKS_PER_LEVEL
from sfe_core.diffusion.prediction import add_noise, signal_to_noise, training_target
from sfe_core.errors import UserError
from sfe_core.files import derive_seed, sha256_json
from sfe_core.losses.composite import LossTerms
from sfe_core.losses.noise import noise_l2, p2_weight
from sfe_core.losses.perceptual import load_perceptual
from sfe_core.network_layout import to_channels_last
from sfe_core.recipes.shared.draws import Slot, draw_noise, plan_update
from sfe_core.recipes.shared.samples import SAMPLE_STEPS, pick_faces
from sfe_core.reporting import Reporter
from sfe_core.training.batches import data as batch_data
from sfe_core.training.batches.batch import pack_image, signed_image
from sfe_core.training.batches.data import open_loader
from sfe_core.training.contract import Checked, Fingerprint, RecipeSpec, Samples, SamplingStopped
from sfe_core.training.network import Network

TRAIN_SPLIT = "train"
BASE = "model.base"
# Fewer photos than this teach stage 1 nothing that holds for others, and stage 2 no person.
LEAST_FACES, LEAST_OF_ALBUM = 16, 4
_ENCODED_AT_ONCE = 32
_HALF = 2  # bytes

# ---- Settings ------------------------------------------------------------------------------------


class Options(Section):
    """`recipe_options` of this recipe. A base brings its own network; without one it is built."""

    freeze_encoder: bool = Field(
        False, description="stage 2: the encoder stays as model.base has it, batch statistics too"
    )
    mean_shape: bool = Field(
        False, description="buffers with the album's mean shape instead of each photo's own"
    )
    p2_k: Positive = Field(1.0, description="p2 weight 1 / (k + SNR)^gamma of a photo's error")
    p2_gamma: Weight = Field(1.0, description="0 = every timestep counts alike")
    base_width: Count = Field(128, description="channels that the multipliers multiply")
    multipliers: tuple[Positive, ...] | None = Field(
        None, description="channels by level; null = the published ones of model.resolution"
    )
    attention_px: tuple[Count, ...] = Field(
        (16,), description="sizes of the feature maps that attend"
    )
    blocks_per_level: Count = Field(BLOCKS_PER_LEVEL, description="residual blocks, downwards")
    dropout: Fraction = Field(0.1, description="in the residual blocks")
    encoder: Literal["resnet18", "resnet50"] = Field("resnet18", description="of the look")
    encoder_width: Count = Field(64, description="channels of its first level")
    latent_width: Count = Field(64, description="numbers of its code")
    seen_px: Count | None = Field(
        None,
        description="the encoder looks at photos shrunk to so many pixels: less of their light and "
        "expression gets into the code; null = as the base does, or at whole photos",
    )


def _options(workspace: Workspace) -> Options:
    return Options.model_validate(workspace.config.recipe_options)


# ---- Checked before anything is loaded -----------------------------------------------------------


def check(workspace: Workspace) -> Checked:
    """See that base, corpus and settings go together, and that the corpus has sound buffers.

    Raises:
        UserError: naming the field of sfe.yaml, or the corpus, that does not fit.
    """
    options, config = _options(workspace), workspace.config
    _check_settings(config, options)
    settings = network_settings(config, options)
    with torch.device("meta"):
        rig = DiffusionRig(**settings)
    if options.freeze_encoder:
        rig.freeze_encoder()
    _check_size(config, settings)
    corpus = Corpus.open(workspace)
    choice = choose_faces(corpus.split(TRAIN_SPLIT), config.data)
    draws_per_epoch(choice.rows, config)
    _check_faces(corpus, len(choice.rows), config, options)
    require_buffers(corpus, choice.rows, options.mean_shape)
    sets: tuple[BufferSet, ...] = ("mean",) if options.mean_shape else ("photo",)
    require_sound(corpus, TRAIN_SPLIT, (), config.quality, sets)
    buffers = hash_buffers(corpus.rows, options.mean_shape)
    notes = [f"data.{name} leaves out {count} faces" for name, count in choice.left_out.items()]
    if config.data.cache == "disk":
        notes.append("data.cache disk: this recipe keeps pictures in memory or reads them anew")
    return Checked(
        model=TrainedRig(rig),
        images=len(choice.rows),
        data_sha256=sha256_json([corpus.sha256, buffers]),
        must_match=_fingerprints(config),
        told={
            "stage": "2, encoder frozen" if options.freeze_encoder else "1, encoder learns",
            "base": None if config.model.base == NO_BASE else locate(config.model.base),
            "person": config.data.person,
            "buffers": "the album's mean shape" if options.mean_shape else "each photo's own shape",
        },
        notes=tuple(notes),
    )


def _check_settings(config: Config, options: Options) -> None:
    """Refuse what this recipe has no use for, and stages that contradict themselves."""
    for field, value, none in (
        ("guidance.maps", config.guidance.maps, "[]"),
        ("train.text_encoder", config.train.text_encoder, "false"),
        ("train.lora_rank", config.train.lora_rank, "0"),
        ("train.snr_gamma", config.train.snr_gamma, "null: it weighs by p2"),
        ("model.zero_terminal_snr", config.model.zero_terminal_snr, "false"),
    ):
        if value:
            raise UserError(
                field, f"{value}: recipe physical has no use for it", f"set it to {none}"
            )
    if options.freeze_encoder and config.model.base == NO_BASE:
        raise UserError(
            BASE,
            f"{NO_BASE}: a frozen encoder of random weights tells nothing",
            "name a package of stage 1 or a published model*.pt",
        )
    if (
        not options.freeze_encoder
        and min(config.train.batch_size, config.train.effective_batch) < 2
    ):
        raise UserError(
            "train.batch_size", "1: the encoder normalises over a batch", "give at least 2"
        )


def _check_size(config: Config, settings: Mapping[str, Any]) -> None:
    """Refuse a base of another size, or one that wants to be told more than there is."""
    if extra := settings.get("extra_width"):
        raise UserError(
            BASE,
            f"takes {extra} numbers beside the encoder's, as DiffusionRig-Emo's second version",
            "give a model of DiffusionRig, or of DiffusionRig-Emo's first version",
        )
    asked, said = config.model.prediction, settings.get("prediction", "epsilon")
    if asked not in ("base", said):
        raise UserError(
            "model.prediction", f"{asked}, and the base predicts {said}", "set it to base"
        )
    size, base_size = config.model.resolution, settings["image_size"]
    if size != base_size:
        raise UserError(
            "model.resolution", f"{size} px, and the base draws {base_size} px", f"set {base_size}"
        )
    multipliers = settings.get("multipliers")
    halvings = 1 if multipliers is None else 2 ** (len(multipliers) - 1)
    if size % halvings:
        raise UserError(
            "model.resolution",
            f"{size} px cannot be halved as often as the network's {len(multipliers or ())} levels",
            f"give a multiple of {halvings}",
        )


def _check_faces(corpus: Corpus, faces: int, config: Config, options: Options) -> None:
    """Refuse too few photos, and pictures smaller than what is learnt."""
    if config.data.person is not None:
        choose_album(corpus.rows["key"], config.data.person, "data.person")
    least = LEAST_OF_ALBUM if options.freeze_encoder else LEAST_FACES
    if faces < least:
        raise UserError(
            corpus.place,
            f"{faces} faces to learn from",
            "give an album of 10 to 20 photos, and set split.by: photos"
            if options.freeze_encoder
            else f"give at least {least}, of many people; many thousand for a model of any use",
        )
    key = str(corpus.split(TRAIN_SPLIT)["key"].iloc[0])
    stored, size = corpus.picture("inputs", key).width, config.model.resolution
    if stored < size:
        raise UserError(
            "model.resolution",
            f"{size} px, and the corpus's pictures have {stored} px",
            f"set it to {stored} at most, or raise preprocess.crop_size and run `sfe preprocess`",
        )


def _fingerprints(config: Config) -> dict[str, Fingerprint]:
    if config.model.base == NO_BASE:
        return {}
    return {BASE: Fingerprint(lambda: ModelReference(config.model.base).sha256)}


# ---- The network ---------------------------------------------------------------------------------


class TrainedRig(nn.Module):
    """The rig as the one network of a model, as the engine wants it."""

    def __init__(self, rig: DiffusionRig) -> None:
        super().__init__()
        self.rig = rig

    def forward(self, *inputs: Tensor, **others: Tensor) -> Tensor:
        """See `DiffusionRig.forward`."""
        return self.rig(*inputs, **others)


NETWORK = Network(RIG_FOLDER, RIG_FOLDER, RIG_FOLDER, compile=True)


def network_settings(config: Config, options: Options) -> dict[str, Any]:
    """What `DiffusionRig` is built with: the base's own settings, or else the options'.

    Raises:
        UserError: the base is no rig, or is torn.
    """
    if config.model.base != NO_BASE:
        found = rig_config(locate(config.model.base), BASE)
        return found if options.seen_px is None else found | {"seen_px": options.seen_px}
    return {
        "image_size": config.model.resolution,
        "base_width": options.base_width,
        "multipliers": options.multipliers,
        "attention_sizes": options.attention_px,
        "blocks_per_level": options.blocks_per_level,
        "dropout": options.dropout,
        "encoder_kind": options.encoder,
        "encoder_width": options.encoder_width,
        "latent_width": options.latent_width,
        "seen_px": options.seen_px,
        "prediction": "v_prediction" if config.model.prediction == "v_prediction" else "epsilon",
    }


def build_rig(config: Config, options: Options) -> DiffusionRig:
    """The base, or a network of random weights that are the same in every process."""
    if config.model.base != NO_BASE:
        rig = load_rig(locate(config.model.base), BASE)
        if options.seen_px is not None:
            rig.register_to_config(seen_px=options.seen_px)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(config.train.seed, "rig") % 2**32)
            rig = DiffusionRig(**network_settings(config, options))
    if options.freeze_encoder:
        rig.freeze_encoder()
    if config.train.gradient_checkpointing:
        rig.enable_gradient_checkpointing()
    return rig.train()


# ---- The data ------------------------------------------------------------------------------------


@dataclass
class RigBatch:
    """What a step sees of B photos.

    Attributes:
        pictures: [B, 3, S, S] float32 in [-1, 1], or uint8 until `to`.
        buffers: [B, 9, S, S] float32, or half floats until `to`; see `corpus.buffers`.
        codes: [B, latent_width] of a frozen encoder; None where it learns.
    """

    pictures: Tensor
    buffers: Tensor
    codes: Tensor | None = None

    def to(self, device: torch.device) -> RigBatch:
        """All of it, in float32, on a device."""
        codes = None if self.codes is None else self.codes.to(device, non_blocking=True)
        return RigBatch(
            signed_image(self.pictures.to(device, non_blocking=True)),
            self.buffers.to(device, non_blocking=True).float(),
            codes,
        )

    def pin_memory(self) -> RigBatch:
        """All of it in page-locked memory, from which GPUs copy while they compute."""
        codes = None if self.codes is None else self.codes.pin_memory()
        return RigBatch(self.pictures.pin_memory(), self.buffers.pin_memory(), codes)


class RigPhotos(Dataset):
    """Photos with their buffers, by view; kept small: bytes and half floats.

    Args:
        faces: the photos.
        mean_shape: see `read_buffers`.
    """

    def __init__(self, faces: FaceDataset, mean_shape: bool) -> None:
        self.faces, self.mean_shape = faces, mean_shape

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, view: View) -> tuple[Tensor, Tensor]:
        key = self.faces.keys[view.place]
        frame = self.faces.variation.frame(key, view)
        corpus, size = self.faces.corpus, self.faces.resolution
        buffers = read_buffers(corpus, key, size, self.mean_shape, frame)
        return pack_image(self.faces.image(view)), buffers.half()

    @property
    def views(self) -> list[View]:
        """Every view of every photo, in the order of their numbers."""
        variation = self.faces.variation
        return [view for place in range(len(self)) for view in variation.all_of(place)]

    def number(self, view: View) -> int:
        """The place of a view in `views`."""
        variation = self.faces.variation
        return view.place * variation.per_face + variation.number(view)

    @property
    def bytes_kept(self) -> int:
        """What all views take in memory."""
        of_pixel = 3 + _HALF * CHANNELS
        return len(self) * self.faces.variation.per_face * self.faces.resolution**2 * of_pixel


def collate_photos(items: Sequence[tuple[Tensor, Tensor]]) -> RigBatch:
    """Photos and buffers to a batch."""
    pictures, buffers = zip(*items, strict=True)
    return RigBatch(torch.stack(pictures), torch.stack(buffers))


class RigSource:
    """Where batches come from: memory, if all photos fit, or loader processes.

    Args:
        photos: of the training split.
        cache: `data.cache`; auto = memory if they fit.
        workers: loader processes, where photos are read anew.
        reporter: told of the reading.
        encode: bytes [B, 3, S, S] to codes on the CPU, of a frozen encoder; None where it learns.
    """

    def __init__(
        self,
        photos: RigPhotos,
        cache: str,
        workers: int,
        reporter: Reporter,
        encode: Callable[[Tensor], Tensor] | None,
    ) -> None:
        self.photos, self.workers = photos, workers
        fits = photos.bytes_kept <= batch_data.CACHE_BYTES
        self.kept: RigBatch | None = None
        self.codes: Tensor | None = None
        keeps = cache == "memory" or (cache == "auto" and fits)
        if keeps or encode is not None:
            self._read(keeps, encode, reporter)

    def _read(
        self, keeps: bool, encode: Callable[[Tensor], Tensor] | None, reporter: Reporter
    ) -> None:
        """Look at every view once: keep it, or at least its code."""
        views, parts, codes = self.photos.views, [], []
        wanted = [
            views[start : start + _ENCODED_AT_ONCE]
            for start in range(0, len(views), _ENCODED_AT_ONCE)
        ]
        with reporter.task("Reading photos and buffers", len(views)) as task:
            for batch in open_loader(self.photos, wanted, self.workers, collate_photos):
                if encode is not None:
                    codes.append(encode(batch.pictures))
                if keeps:
                    parts.append(batch)
                task.advance(len(batch.pictures))
        if keeps:
            self.kept = RigBatch(
                torch.cat([part.pictures for part in parts]),
                torch.cat([part.buffers for part in parts]),
            )
        self.codes = torch.cat(codes) if codes else None

    def batches(self, wanted: Iterable[Sequence[View]]) -> Iterator[RigBatch]:
        """One batch per list of views, in order."""
        if self.kept is None:
            asked: list[list[int]] = []
            yield from self._streamed(wanted, asked)
            return
        for views in wanted:
            rows = torch.tensor([self.photos.number(view) for view in views])
            codes = None if self.codes is None else self.codes[rows]
            batch = RigBatch(self.kept.pictures[rows], self.kept.buffers[rows], codes)
            yield batch.pin_memory() if torch.cuda.is_available() else batch

    def _streamed(
        self, wanted: Iterable[Sequence[View]], asked: list[list[int]]
    ) -> Iterator[RigBatch]:
        """Read by loader processes, which ask ahead: their views wait in `asked` for the batch."""

        def noted() -> Iterator[list[View]]:
            for views in wanted:
                asked.append([self.photos.number(view) for view in views])
                yield list(views)

        for batch in open_loader(self.photos, noted(), self.workers, collate_photos):
            rows = asked.pop(0)
            yield (
                batch
                if self.codes is None
                else RigBatch(batch.pictures, batch.buffers, self.codes[rows])
            )


# ---- The run and its loss ------------------------------------------------------------------------


@dataclass
class Physical:
    """A run's network, data and loss; fulfils `training.contract.Recipe`.

    Attributes:
        held: photos to reconstruct as samples; None without a validation split, and in all
            processes but one.
        measure: perceptual distance of [B, 3, S, S] in [-1, 1]; None where it is not installed.
    """

    config: Config
    options: Options
    model: TrainedRig
    must_match: Mapping[str, Fingerprint]
    source: RigSource
    sampler: DeterministicSampler
    alphas: Tensor
    held: RigPhotos | None
    measure: nn.Module | None

    networks = (NETWORK,)

    def assemble(self, networks: Mapping[str, nn.Module]) -> TrainedRig:
        """The model out of its one network."""
        rig = networks[RIG_FOLDER]
        assert isinstance(rig, DiffusionRig)
        return TrainedRig(rig)

    def draw(self, step: int, first: int, count: int) -> list[Slot]:
        """Photos in a balanced order, a view, a timestep and a noise of each."""
        faces, train = self.source.photos.faces, self.config.train
        places = self.sampler.take(first, count)
        views = faces.variation.draw(places, faces.keys, train.seed, step)
        keys = [faces.keys[view.place] for view in views]
        return plan_update(views, keys, step, train, self.config.loss, len(self.alphas), None)

    def batches(self, wanted: Iterable[Sequence[Slot]]) -> Iterator[RigBatch]:
        """Photos, buffers and, of a frozen encoder, codes."""
        return self.source.batches([slot.view for slot in slots] for slots in wanted)

    def terms(self, update: Sequence[Slot]) -> tuple[str, ...]:
        """There is one."""
        return ("noise",)

    def loss(
        self, model: nn.Module, batch: RigBatch, draws: Sequence[Slot], update: Sequence[Slot]
    ) -> LossTerms:
        """Squared error of the noise (or of v), weighted by p2."""
        device, train = batch.pictures.device, self.config.train
        times = torch.tensor([slot.timestep for slot in draws], device=device)
        _, noise, seen_noise = (
            one.to(device, non_blocking=True)
            for one in draw_noise(
                draws, batch.pictures.shape[1:], train.noise_offset, train.input_perturbation
            )
        )
        noisy = add_noise(batch.pictures, seen_noise, self.alphas, times)
        look = {"pictures": batch.pictures} if batch.codes is None else {"code": batch.codes}
        # Dropout too follows from what was drawn, not from what this process did before.
        torch.manual_seed(derive_seed(draws[0].noise_seed, "dropout") % 2**32)
        predicted = model(noisy, times, batch.buffers, **look)
        kind = self.model.rig.config["prediction"]
        errors = noise_l2(
            predicted, training_target(kind, batch.pictures, noise, self.alphas, times)
        )
        snr = signal_to_noise(self.alphas, times)
        weights = p2_weight(snr, self.options.p2_k, self.options.p2_gamma)
        total = (errors * weights).sum() / len(update)
        raw = errors.detach().sum() / len(update)
        return LossTerms(total, {"noise": raw}, {"noise": total.detach()})

    def samples(self, model: nn.Module, stopped: Callable[[], bool]) -> Samples | None:
        """Held-out photos drawn again from their own buffers; see `reconstruct`."""
        if self.held is None:
            return None
        assert isinstance(model, TrainedRig)
        places = pick_faces(self.held.faces.emotions, self.config.train.samples_per_emotion)
        return reconstruct(model.rig, self.held, places, self.config, self.measure, stopped)

    def save_beside(self, folder: Path) -> None:
        """Nothing: the noise schedule is always the same."""


def build(
    workspace: Workspace, accelerator: Accelerator, images: int, reporter: Reporter
) -> Physical:
    """Load and connect everything, on the accelerator's device.

    Raises:
        UserError: a model is missing or does not fit.
    """
    options, config, device = _options(workspace), workspace.config, accelerator.device
    main = accelerator.is_main_process
    rig = build_rig(config, options).to(device)
    if config.train.channels_last:
        to_channels_last(rig)
    corpus, size = Corpus.open(workspace), config.model.resolution
    faces = FaceDataset(corpus, TRAIN_SPLIT, (), size, config.data, images)
    photos = RigPhotos(faces, options.mean_shape)
    encode = _encoder_of(rig) if options.freeze_encoder else None
    told = reporter if main else Reporter()
    source = RigSource(photos, config.data.cache, config.train.loader_workers, told, encode)
    rows = choose_faces(corpus.split(TRAIN_SPLIT), config.data).rows.head(images)
    sampler = DeterministicSampler(len(faces), config.train.seed, draws_per_epoch(rows, config))
    held = _held_out(corpus, config, options, reporter) if main else None
    return Physical(
        config=config,
        options=options,
        model=TrainedRig(rig),
        must_match=_fingerprints(config),
        source=source,
        sampler=sampler,
        alphas=training_schedule().alphas_cumprod.to(device, torch.float32),
        held=held,
        measure=None if held is None else _perceptual(config, device, reporter),
    )


def _encoder_of(rig: DiffusionRig) -> Callable[[Tensor], Tensor]:
    @torch.no_grad()
    def encode(pictures: Tensor) -> Tensor:
        return rig.encode(signed_image(pictures.to(rig.device))).cpu()

    return encode


def _held_out(
    corpus: Corpus, config: Config, options: Options, reporter: Reporter
) -> RigPhotos | None:
    name = config.split.validation_name
    try:
        faces = FaceDataset(corpus, name, (), config.model.resolution)
        require_buffers(corpus, corpus.split(name), options.mean_shape)
    except UserError as error:
        reporter.warn(f"no samples will be drawn: {error}")
        return None
    return RigPhotos(faces, options.mean_shape)


def _perceptual(config: Config, device: torch.device, reporter: Reporter) -> nn.Module | None:
    try:
        return load_perceptual(config.evaluate.perceptual_network).to(device)
    except UserError as error:
        reporter.warn(f"samples are measured pixel by pixel alone: {error}")
        return None


# ---- Samples -------------------------------------------------------------------------------------


def reconstruct(
    rig: DiffusionRig,
    photos: RigPhotos,
    places: Sequence[int],
    config: Config,
    measure: nn.Module | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Samples:
    """Photos drawn from their own buffers and code, and how far from the photos they are.

    Always by DPM-Solver++ in 20 steps; noise depends on the run's seed and the key only.

    Args:
        rig: draws.
        photos: the held-out ones.
        places: of those to draw.
        config: gives the seed and the batch size.
        measure: see `Physical`.
        stopped: asked before each step.

    Returns:
        Numbers "l1", "l1_face", "l1_outside" (mean absolute difference of pictures in [-1, 1], of
        all and of what the mesh covers or does not) and "perceptual" (where it is measured). The
        picture has a column a face: photo, shaded face, drawn.

    Raises:
        SamplingStopped: `stopped` said so.
    """

    def look() -> None:
        if stopped():
            raise SamplingStopped

    pipeline = RigPipeline(rig, make_scheduler("dpm-solver++"))
    pipeline.set_progress_bar_config(disable=True)
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    distances, size = [], config.sampling.batch_size
    for start in range(0, len(places), size):
        some = [int(place) for place in places[start : start + size]]
        with torch.autocast("cpu", enabled=False):  # which stacks no half floats
            batch = collate_photos([photos[View(place)] for place in some])
        batch = batch.to(rig.device)
        keys = [photos.faces.keys[place] for place in some]
        seeds = [derive_seed(config.train.seed, key, "sample") for key in keys]
        drawn = pipeline(
            batch.buffers,
            pictures=batch.pictures,
            steps=SAMPLE_STEPS,
            generators=seeds,
            before_step=look,
        )
        rows.append((batch.pictures.cpu(), batch.buffers.cpu(), drawn.cpu()))
        if measure is not None:
            distances.append(measure(drawn, batch.pictures).detach().cpu())
    pictures, buffers, drawn = (torch.cat([row[part] for row in rows]) for part in range(3))
    numbers = reconstruction_errors(pictures, drawn, buffers)
    if distances:
        numbers["perceptual"] = torch.cat(distances).mean().item()
    return Samples(numbers, _grid(pictures, buffers[:, :3] * 2 - 1, drawn))


def reconstruction_errors(pictures: Tensor, drawn: Tensor, buffers: Tensor) -> dict[str, float]:
    """Mean absolute differences, see `reconstruct`.

    Args:
        pictures, drawn: [B, 3, S, S] in [-1, 1].
        buffers: [B, 9, S, S].
    """
    difference = (pictures - drawn).abs().mean(dim=1)
    face = buffers[:, NORMALS].any(dim=1)
    numbers = {"l1": difference.mean().item()}
    for name, part in (("l1_face", face), ("l1_outside", ~face)):
        if part.any():
            numbers[name] = difference[part].mean().item()
    return numbers


def _grid(*rows: Tensor) -> np.ndarray:
    """Rows [B, 3, S, S] in [-1, 1] below one another; uint8 [H, W, 3]."""
    grid = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1).permute(1, 2, 0)
    return ((grid + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()


# ---- How it is found -----------------------------------------------------------------------------

SPEC = RecipeSpec(
    name="physical",
    check=check,
    build=build,
    options=Options,
    best={"l1": False, "l1_face": False, "l1_outside": False, "perceptual": False},
    blocks=("ModulatedBlock",),
)
