"""The StableFaceEmotion recipe: a UNet and guidance encoders over face maps, trained together.

The loss is on the predicted noise and, of some images, on what one step would draw: perceptual
distance, valence, arousal, expression.

In the order of a run: what is checked before it, the networks, the data, what chance decides, the
loss, the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from sfe_core.assets import locate
from sfe_core.assets.needs import hash_models, loss_models
from sfe_core.config.model import Config
from sfe_core.config.stableface_sections import TrainConfig
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.balance import draws_per_epoch
from sfe_core.corpus.choice import choose_faces
from sfe_core.corpus.dataset import FaceDataset, require_mirrorable
from sfe_core.corpus.inspection.gate import require_sound
from sfe_core.corpus.reader import Corpus
from sfe_core.corpus.sampler import DeterministicSampler
from sfe_core.diffusion.encoders import Encoders
from sfe_core.diffusion.families.contract import Family, Texts
from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.diffusion.guided_unet import GuidedUNet
from sfe_core.diffusion.hashing import hash_base, is_base
from sfe_core.diffusion.loading import BaseModels, load_base, load_part
from sfe_core.diffusion.noise_schedule import save_schedule, set_schedule
from sfe_core.diffusion.pixel_decoder import PixelDecoder, load_pixel_decoder
from sfe_core.diffusion.prediction import (
    add_noise,
    clean_estimate,
    signal_to_noise,
    training_target,
)
from sfe_core.errors import UserError
from sfe_core.faces.recognition.recognisers import load_recogniser
from sfe_core.faces.recognition.tiny_identity import load_identity_net
from sfe_core.faces.recognition.unit_readers import load_unit_reader
from sfe_core.files import derive_seed
from sfe_core.losses.composite import (
    IDENTITY,
    PERCEPTUAL,
    PIXEL_TERMS,
    RECOGNISER_TERMS,
    TERMS,
    CompositeLoss,
    Fused,
    LossTerms,
)
from sfe_core.losses.emotion_target import EmotionLabels
from sfe_core.losses.noise import min_snr_weight
from sfe_core.losses.perceptual import load_perceptual
from sfe_core.losses.photo_area import photo_mask
from sfe_core.losses.pixels import PixelBatch
from sfe_core.losses.timestep_window import TimestepWindow, pixel_window
from sfe_core.network_layout import plain_attention, to_channels_last
from sfe_core.recipes.shared.draws import Slot, draw_noise, plan_update
from sfe_core.recipes.shared.samples import SampleMeter, draw_samples, make_grid, pick_faces
from sfe_core.recipes.shared.unet import make_text_trainable, make_trainable
from sfe_core.recipes.stableface_checks import (
    check_fit,
    check_loss_networks,
    label_notes,
    schedule_notes,
)
from sfe_core.reporting import Reporter
from sfe_core.text_window import TextWindow
from sfe_core.training.batches.batch import Batch
from sfe_core.training.batches.data import BatchSource
from sfe_core.training.batches.sources import SourceOptions, open_source
from sfe_core.training.contract import Checked, Fingerprint, RecipeSpec, Samples
from sfe_core.training.network import Network

TRAIN_SPLIT = "train"
BASE = "model.base"
# Up to 32 x 32 latents.
FEW_TOKENS_PX = 256
Wording = Callable[[str], str] | None

# ---- Checked before anything is loaded -----------------------------------------------------------


def check(workspace: Workspace, served: Sequence[str] = ()) -> Checked:
    """See that base, loss, corpus and settings go together.

    Args:
        workspace: of the run.
        served: terms of the loss, beside those on photos, that a recipe on top of this one serves.

    Raises:
        UserError: naming the field of sfe.yaml, or the corpus, that does not fit.
    """
    config = workspace.config
    base = locate(config.model.base)
    model = check_fit(config, base)
    check_loss_networks(config, served)
    corpus = Corpus.open(workspace)
    choice = choose_faces(corpus.split(TRAIN_SPLIT), config.data)
    draws_per_epoch(choice.rows, config)
    notes = schedule_notes(config) + label_notes(config.loss, choice.rows)
    notes += [f"data.{name} leaves out {count} faces" for name, count in choice.left_out.items()]
    window = TextWindow.of_pipeline(base)
    cut = window and window.told(choice.rows["caption"].fillna("").astype(str), "caption")
    notes += [cut] if cut else []
    if config.data.flip > 0 and "landmarks" in config.guidance.maps:
        require_mirrorable(corpus, choice.rows)
    require_sound(corpus, TRAIN_SPLIT, config.guidance.maps, config.quality)
    return Checked(
        model=model,
        images=len(choice.rows),
        data_sha256=corpus.sha256,
        must_match=fingerprints(config, base),
        told={"base": base, "guidance maps": config.guidance.maps} | _terms_told(config),
        notes=tuple(notes),
    )


def fingerprints(config: Config, base: Path) -> dict[str, Fingerprint]:
    """What a run starts from, and the networks that its loss looks through."""
    started = Fingerprint(lambda: hash_base(base), lambda recorded: is_base(base, recorded))
    looked_through = {
        field: Fingerprint(partial(hash_models, models), binding=False)
        for field, models in loss_models(config.loss).items()
    }
    return {BASE: started, **looked_through}


def _terms_told(config: Config) -> dict[str, object]:
    """Weights of the terms of the loss, and the terms that were switched off."""
    weights = {name: getattr(config.loss, name) for name in TERMS}
    off = tuple(
        name
        for name, weight in weights.items()
        # A term that is off unless asked for was not switched off.
        if weight == 0 and type(config.loss).model_fields[name].default > 0
    )
    active = {name: weight for name, weight in weights.items() if weight > 0}
    return {"loss terms": active, "switched off": off or None}


# ---- Networks ------------------------------------------------------------------------------------


def build_model(config: Config, base: BaseModels) -> GuidedUNet:
    """The base's UNet and a fresh guidance bank, with what is frozen frozen.

    The base's text encoder joins them where it is trained.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.train.seed, "guidance bank") % 2**32)
        bank = GuidanceBank(
            config.guidance.maps, config.guidance.block_channels, base.unet.conv_in.out_channels
        )
        make_trainable(base.unet, config.train)
        text_encoder = None
        if config.train.text_encoder:
            text_encoder = load_part(base.folder, "text_encoder")
            make_text_trainable(text_encoder, config.train)
    base.unet.train()
    if config.train.gradient_checkpointing:
        base.unet.enable_gradient_checkpointing()
        base.vae.enable_gradient_checkpointing()
    return GuidedUNet(base.unet, bank, text_encoder)


def name_networks(model: GuidedUNet, train: TrainConfig) -> tuple[Network, ...]:
    """What trains of a model, and the folders of a checkpoint."""
    unet = Network("unet", "unet", "unet", compile=True)
    bank = Network("guidance_encoder", "bank", "guidance", train.guidance_learning_rate)
    text = Network("text_encoder", "text_encoder", "text", train.text_encoder_learning_rate)
    return (unet, bank) if model.text_encoder is None else (unet, bank, text)


def build_composite(config: Config) -> CompositeLoss:
    """The loss, with only those networks that a term needs."""
    weights = config.loss
    perceptual = recogniser = None
    if getattr(weights, PERCEPTUAL) > 0:
        perceptual = load_perceptual(weights.perceptual_network)
    if any(getattr(weights, name) > 0 for name in RECOGNISER_TERMS):
        recogniser = load_recogniser(weights.emotion_network)
    units_reader = load_unit_reader(weights.units_network) if weights.units > 0 else None
    embedder = None
    if getattr(weights, IDENTITY) > 0:
        embedder = load_identity_net(weights.identity_network)
    return CompositeLoss(weights, recogniser, perceptual, units_reader, embedder)


# ---- Data ----------------------------------------------------------------------------------------


def open_data(
    workspace: Workspace,
    corpus: Corpus,
    base: BaseModels,
    accelerator: Accelerator,
    pixels: bool,
    faces: int,
    reporter: Reporter,
    wording: Wording = None,
) -> tuple[FaceDataset, BatchSource]:
    """The first `faces` of the training split, and where its batches come from.

    `pixels` says whether these hold the photos.
    """
    config = workspace.config
    maps, side = config.guidance.maps, config.model.resolution
    dataset = FaceDataset(corpus, TRAIN_SPLIT, maps, side, config.data, faces, wording)
    return dataset, source_of(workspace, dataset, base, accelerator, pixels, reporter)


def source_of(
    workspace: Workspace,
    dataset: FaceDataset,
    base: BaseModels,
    accelerator: Accelerator,
    pixels: bool,
    reporter: Reporter,
) -> BatchSource:
    """Where the batches of a data set come from; `pixels` says whether these hold the photos."""
    config = workspace.config
    options = SourceOptions(
        config.data.cache,
        workspace.cache,
        config.train.loader_workers,
        pixels,
        accelerator.process_index,
        accelerator.num_processes,
    )
    encoders = Encoders(base.folder, accelerator.device, config.train.text_encoder, base.new_tokens)
    teller = reporter if accelerator.is_main_process else Reporter()
    return open_source(dataset, base, encoders, options, teller)


def _validation_faces(
    corpus: Corpus, config: Config, reporter: Reporter, wording: Wording
) -> FaceDataset | None:
    name, resolution = config.split.validation_name, config.model.resolution
    try:
        return FaceDataset(corpus, name, config.guidance.maps, resolution, wording=wording)
    except UserError:
        reporter.warn("no validation split in the corpus: no samples will be drawn")
        return None


# ---- The run -------------------------------------------------------------------------------------


@dataclass
class StableFace:
    """A run's networks, data and loss; fulfils `training.contract.Recipe`.

    Attributes:
        faces: to draw samples of; None without a validation split, and in all processes but one.
    """

    config: Config
    base: BaseModels
    model: GuidedUNet
    networks: tuple[Network, ...]
    must_match: Mapping[str, Fingerprint]
    corpus: Corpus
    dataset: FaceDataset
    source: BatchSource
    sampler: DeterministicSampler
    objective: Objective
    meter: SampleMeter
    faces: FaceDataset | None

    def assemble(self, networks: Mapping[str, nn.Module]) -> GuidedUNet:
        """A `GuidedUNet` out of its parts."""
        parts: dict[str, Any] = dict(networks)
        return GuidedUNet(**parts)

    def draw(self, step: int, first: int, count: int) -> list[Slot]:
        """Faces in a balanced order, a view of each, and what `plan_update` draws for it."""
        places = self.sampler.take(first, count)
        train = self.config.train
        views = self.dataset.variation.draw(places, self.dataset.keys, train.seed, step)
        keys = [self.dataset.keys[view.place] for view in views]
        objective = self.objective
        return plan_update(
            views, keys, step, train, self.config.loss, objective.timesteps, objective.window
        )

    def batches(self, wanted: Iterable[Sequence[Slot]]) -> Iterator[Batch]:
        """Latents, texts, maps and photos of the faces drawn."""
        return self.source.batches([slot.view for slot in slots] for slots in wanted)

    def terms(self, update: Sequence[Slot]) -> tuple[str, ...]:
        """The active terms; those on pixels only where an image of the update is decoded."""
        decoded = any(slot.decode for slot in update)
        active = self.objective.composite.active
        return tuple(
            name for name in TERMS if name in active and (decoded or name not in PIXEL_TERMS)
        )

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        draws: Sequence[Slot],
        update: Sequence[Slot],
        conditions: Any = None,
        image_weights: Tensor | None = None,
        asked: Tensor | None = None,
        fused: Callable[[], Fused] | None = None,
        emphasis: Tensor | None = None,
    ) -> LossTerms:
        """See `batch_loss`."""
        counts = UpdateCounts(len(update), sum(slot.decode for slot in update))
        return batch_loss(
            model,
            self.objective,
            batch,
            draws,
            counts,
            conditions,
            image_weights,
            asked,
            fused,
            emphasis,
        )

    def samples(self, model: nn.Module, stopped: Callable[[], bool]) -> Samples | None:
        """Validation faces of each emotion, drawn with and without their maps, and measured."""
        if self.faces is None:
            return None
        assert isinstance(model, GuidedUNet)
        places = pick_faces(self.faces.emotions, self.config.train.samples_per_emotion)
        drawn = draw_samples(model, self.base, self.faces, places, self.config, stopped)
        return Samples(self.meter.measure(drawn, self.corpus), make_grid(drawn))

    def save_beside(self, folder: Path) -> None:
        """The noise schedule, where it may differ from the base's."""
        save_schedule(folder / "scheduler", self.base.scheduler, self.config.model)


def build(
    workspace: Workspace,
    accelerator: Accelerator,
    images: int,
    reporter: Reporter,
    wording: Wording = None,
    base: BaseModels | None = None,
) -> StableFace:
    """Load and connect everything, on the accelerator's device.

    Args:
        workspace: of the run.
        accelerator: of the run.
        images: how many faces of the training split are used.
        reporter: is told of progress.
        wording: makes of a caption in the corpus what is learnt of it; None: stays.
        base: loaded already, without encoders; None: the one of `model.base`.

    Raises:
        UserError: a model is missing or does not fit.
    """
    config, device = workspace.config, accelerator.device
    main = accelerator.is_main_process
    base = base or load_base(locate(config.model.base), encoders=False)
    base.scheduler = set_schedule(base.scheduler, config.model)
    base.vae.requires_grad_(False).to(device)
    corpus = Corpus.open(workspace)
    composite = build_composite(config).to(device)
    dataset, source = open_data(
        workspace, corpus, base, accelerator, composite.needs_pixels, images, reporter, wording
    )
    model = build_model(config, base).to(device)
    if config.train.channels_last:
        to_channels_last(model, base.vae)
    if device.type == "cpu" and config.model.resolution <= FEW_TOKENS_PX:
        plain_attention(model)
    rows = choose_faces(corpus.split(TRAIN_SPLIT), config.data).rows.head(len(dataset))
    return StableFace(
        config=config,
        base=base,
        model=model,
        networks=name_networks(model, config.train),
        must_match=fingerprints(config, base.folder),
        corpus=corpus,
        dataset=dataset,
        source=source,
        sampler=DeterministicSampler(
            len(dataset), config.train.seed, draws_per_epoch(rows, config)
        ),
        objective=build_objective(config, base, composite, dataset, source, device),
        meter=SampleMeter(config.evaluate, config.model.resolution, reporter),
        faces=_validation_faces(corpus, config, reporter, wording) if main else None,
    )


# ---- The loss ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Objective:
    """The frozen side of a step.

    Attributes:
        composite: the loss.
        decoder: latents to images, or None where no term looks at any.
        labels: of the whole training split, in the order of its places, on the CPU.
        family: of the base model.
        empty_text: [1, L, D] (or ids [1, L]), takes a caption's place where it is dropped.
        empty_pooled: [1, P], the same as one vector; None in a family without.
        alphas: [T] float32 on the device, the schedule's alphas_cumprod.
        prediction: "epsilon" or "v_prediction".
        latent_scale: the VAE's scaling factor.
        window: timesteps in which images are decoded, or None where no term looks at any.
        snr_gamma: see `min_snr_weight`.
        noise_offset, input_perturbation: see `draw_noise`.
        person: [W] on the device, who should be on all images, see `identity.mean_identity`; None:
            who is on each photo.
    """

    composite: CompositeLoss
    decoder: PixelDecoder | None
    labels: EmotionLabels
    family: Family
    empty_text: Tensor
    empty_pooled: Tensor | None
    alphas: Tensor
    prediction: str
    latent_scale: float
    window: TimestepWindow | None
    snr_gamma: float | None
    noise_offset: float = 0.0
    input_perturbation: float = 0.0
    person: Tensor | None = None

    @property
    def timesteps(self) -> int:
        """Timesteps of the noise schedule."""
        return len(self.alphas)


def build_objective(
    config: Config,
    base: BaseModels,
    composite: CompositeLoss,
    dataset: FaceDataset,
    source: BatchSource,
    device: torch.device,
) -> Objective:
    """Put together what the steps of a run share; networks on `device`.

    Raises:
        UserError: the decoder is missing or of another latent space, or no timestep is left.
    """
    alphas = base.scheduler.alphas_cumprod
    decoder = window = None
    if composite.needs_pixels:
        decoder = load_pixel_decoder(config.loss.pixel_decoder, base.vae).to(device)
        window = pixel_window(config.loss, alphas)
    return Objective(
        composite=composite,
        decoder=decoder,
        labels=EmotionLabels(dataset.emotions, dataset.valence, dataset.arousal),
        family=base.family,
        empty_text=source.empty_text.to(device),
        empty_pooled=None if source.empty_pooled is None else source.empty_pooled.to(device),
        alphas=alphas.to(device, torch.float32),
        prediction=base.scheduler.config.prediction_type,
        latent_scale=base.vae.config.scaling_factor,
        window=window,
        snr_gamma=config.train.snr_gamma,
        noise_offset=config.train.noise_offset,
        input_perturbation=config.train.input_perturbation,
    )


@dataclass(frozen=True)
class UpdateCounts:
    """Images of the whole update, over all batches and processes; decoded ones among them."""

    images: int
    decoded: int


def batch_loss(
    model: nn.Module,
    objective: Objective,
    batch: Batch,
    slots: Sequence[Slot],
    counts: UpdateCounts,
    conditions: Any = None,
    image_weights: Tensor | None = None,
    asked: Tensor | None = None,
    fused: Callable[[], Fused] | None = None,
    emphasis: Tensor | None = None,
) -> LossTerms:
    """The loss of one batch, ready for `backward`.

    Args:
        model: a `GuidedUNet`, or a wrapper of one.
        objective: the loss and what it needs.
        batch: B images, on the model's device.
        slots: what was drawn for each of them.
        counts: of the whole update.
        conditions: what else the model is told of the images, see `GuidedUNet`.
        image_weights: [B], times each image's own in the noise term; None: 1.
        asked: [B, 8] on the CPU, what is asked for and no photo shows, see `PixelBatch`.
        fused: called once the model has predicted: what it fused; None: nothing.
        emphasis: [B, 1, h, w], times the error of each latent in the noise term; None: 1.
    """
    device, kind = batch.latent_mean.device, objective.prediction
    timesteps = torch.tensor([slot.timestep for slot in slots], device=device)
    posterior_noise, noise, seen_noise = (
        drawn.to(device, non_blocking=True)
        for drawn in draw_noise(
            slots,
            batch.latent_mean.shape[1:],
            objective.noise_offset,
            objective.input_perturbation,
        )
    )
    clean = batch.latent_mean + batch.latent_std * posterior_noise
    clean = clean * objective.latent_scale
    noisy = add_noise(clean, seen_noise, objective.alphas, timesteps)

    texts = _texts(objective, batch, slots)
    added = objective.family.added_conditions(texts, batch.time_ids)
    # A list stays on the CPU under any wrapper: choosing by it waits for no GPU.
    keep = [not slot.drop_guidance for slot in slots]
    prediction = model(
        noisy,
        timesteps,
        texts.states,
        maps=batch.maps,
        keep=keep,
        added=added,
        conditions=conditions,
    ).float()

    target = training_target(kind, clean, noise, objective.alphas, timesteps)
    seen = _of_photo(prediction, target, batch.areas)
    if emphasis is not None:
        seen = target + emphasis * (seen - target)
    snr = signal_to_noise(objective.alphas, timesteps)
    weights = min_snr_weight(snr, objective.snr_gamma, kind)
    return objective.composite(
        objective.composite.noise_loss(seen, target),
        weights if image_weights is None else weights * image_weights,
        counts.images,
        _pixels(objective, batch, slots, timesteps, noisy, prediction, asked),
        counts.decoded,
        None if fused is None else fused(),
    )


def _texts(objective: Objective, batch: Batch, slots: Sequence[Slot]) -> Texts:
    """The captions, and no text where they are dropped."""
    dropped = torch.tensor([slot.drop_caption for slot in slots], device=batch.text.device)
    along = (-1, *[1] * (batch.text.dim() - 1))
    states = torch.where(dropped.view(along), objective.empty_text, batch.text)
    if batch.pooled is None or objective.empty_pooled is None:
        return Texts(states)
    return Texts(states, torch.where(dropped[:, None], objective.empty_pooled, batch.pooled))


def _of_photo(prediction: Tensor, target: Tensor, areas: Tensor | None) -> Tensor:
    """The prediction [B, C, h, w], put right where a latent shows no photo: no error there."""
    if areas is None:
        return prediction
    return torch.where(photo_mask(areas, *prediction.shape[2:]), prediction, target)


def _pixels(
    objective: Objective,
    batch: Batch,
    slots: Sequence[Slot],
    timesteps: Tensor,
    noisy: Tensor,
    prediction: Tensor,
    asked: Tensor | None,
) -> PixelBatch | None:
    """The images of a batch that are decoded, or None."""
    chosen = [place for place, slot in enumerate(slots) if slot.decode]
    if not chosen or objective.decoder is None:
        return None
    assert batch.images is not None  # asked for wherever there is a decoder
    rows = torch.tensor(chosen, device=noisy.device)
    estimates = clean_estimate(
        objective.prediction, noisy[rows], prediction[rows], objective.alphas, timesteps[rows]
    )
    weights = [slots[place].pixel_weight for place in chosen]
    person = objective.person
    return PixelBatch(
        estimates=estimates,
        decode=objective.decoder,
        photos=batch.images[rows],
        weights=torch.tensor(weights, device=noisy.device),
        labels=objective.labels.of([slots[place].index for place in chosen]),
        areas=None if batch.areas is None else batch.areas[rows],
        people=None if person is None else person.expand(len(chosen), -1),
        asked=None if asked is None else asked[chosen],
    )


# ---- How it is found -----------------------------------------------------------------------------

SPEC = RecipeSpec(
    name="stableface",
    check=check,
    build=build,
    best={"top1": True, "guidance_error": False},
)
