"""The personal recipe: one person's album, learnt so that every expression stays within reach.

DreamBooth (Ruiz et al. 2023, https://arxiv.org/abs/2208.12242) on StableFaceEmotion's engine: a
LoRA, or the whole UNet, learns "V woman" from 5 to 20 photos, and of every second image a picture
that the base itself drew of "a woman" in one of the eight expressions, so that what it knows of
them stays (`shared.class_pictures`). The token V is a rare word of the base's, or words of its own
whose embeddings train (pivotal tuning). Where `expressions` names text embeddings of expressions,
learnt by their own recipe, these tell what a face shows, and captions do not. With `emphasis`, the
noise counts more where the album's faces show it. With `crafted_photos`, the album also holds its
photos with other expressions (`shared.crafted_photos`). With `fusion`, features of the class prompt
with the expression are mixed into the person's, see `personal_fusion`.

In the order of a run: settings, what is checked before it, the networks, what chance decides, the
run, the data.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import torch
from accelerate import Accelerator
from pydantic import Field
from torch import Tensor, nn
from transformers import CLIPTokenizer

from sfe_core.assets import locate
from sfe_core.config.model import Config
from sfe_core.config.sections import Count, Fraction, Positive, Section, Weight
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.annotations.captioning import class_word_of
from sfe_core.corpus.annotations.captions import without_emotion
from sfe_core.corpus.dataset import FaceDataset
from sfe_core.corpus.people.albums import choose_album
from sfe_core.corpus.reader import Corpus
from sfe_core.corpus.sampler import DeterministicSampler
from sfe_core.corpus.views import View
from sfe_core.diffusion.base_expressions import find_expressions
from sfe_core.diffusion.expression_embeddings import (
    NEUTRAL,
    ExpressionEmbeddings,
    ExpressiveUNet,
    expression_weights,
    whole_expressions,
)
from sfe_core.diffusion.fused_unet import FusedUNet
from sfe_core.diffusion.guidance_files import EXPRESSIONS_FOLDER
from sfe_core.diffusion.guided_unet import GuidedUNet
from sfe_core.diffusion.loading import BaseModels, check_base, load_parts
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.faces.expression_mask import expression_mask
from sfe_core.files import derive_seed
from sfe_core.losses.composite import ALIGNMENT, CRAFTING, CRAFTING_TERMS, Fused, LossTerms
from sfe_core.losses.identity import mean_identity
from sfe_core.recipes import stableface
from sfe_core.recipes.personal_fusion import (
    FusionTraining,
    first_shown,
    fresh_fusion,
    fusion_network,
    with_fusion,
)
from sfe_core.recipes.personal_tokens import (
    check_new_embeddings,
    check_token,
    load_base_with_tokens,
    teach_tokens,
)
from sfe_core.recipes.shared.asked import Asked, asked_shares, draw_asked
from sfe_core.recipes.shared.class_pictures import ClassPictures
from sfe_core.recipes.shared.crafted_photos import CraftedPhotos
from sfe_core.recipes.shared.drawn_corpus import SPLIT, DrawnCorpus
from sfe_core.recipes.shared.draws import Slot, plan_update
from sfe_core.recipes.shared.samples import draw_samples, make_grid, pick_faces
from sfe_core.reporting import Reporter
from sfe_core.training.batches.batch import Batch
from sfe_core.training.batches.data import BatchSource
from sfe_core.training.contract import Checked, Fingerprint, RecipeSpec, Samples
from sfe_core.training.network import Network
from sfe_core.training.new_tokens import load_with_new_rows, save_with_new_rows

EXPRESSIONS = "recipe_options.expressions"

# ---- Settings ------------------------------------------------------------------------------------


class Options(Section):
    """`recipe_options` of this recipe. Token and class word stand in section `captions`."""

    new_embeddings: bool = Field(
        False, description="the words of captions.token are new, and their embeddings train"
    )
    prior_pictures: Annotated[int, Field(ge=0)] = Field(
        25, description="class pictures of each of the eight expressions, drawn once; 0 = no prior"
    )
    prior_weight: Weight = Field(1.0, description="of the noise loss on class pictures")
    prior_steps: Count = Field(25, description="denoising steps of a class picture")
    prior_faces: bool = Field(
        True, description="draw a class picture again in which no face is found"
    )
    expressions: str | None = Field(
        None,
        description="text embeddings of expressions (asset, package or folder) that tell what a "
        "face shows; null: captions do",
    )
    crafted_photos: Annotated[int, Field(ge=0)] = Field(
        0,
        description="of each expression, photos of the album that it is drawn into, once, by the "
        "base; photos.emotions_read_by says what they came to show; 0 = none",
    )
    emphasis: Weight = Field(
        0.0,
        description="how much more the squared noise error counts where a photo of the album shows "
        "its expression: brows, eyes, nose wings and mouth",
    )
    crafting_share: Fraction = Field(
        0.5,
        description="share of the album's decoded images of which an expression is asked that they "
        "do not show, where loss.crafting_expression has a weight",
    )
    fusion: bool = Field(
        False,
        description="learn to mix features of the class prompt with the expression into the "
        "person's, near the landmarks that move; at half a pass more an image, and loss.alignment "
        "may have a weight",
    )
    fusion_learning_rate: Positive | None = Field(
        None, description="peak, of fusion; null: ten times train.learning_rate, prodigy's own"
    )

    @property
    def has_prior(self) -> bool:
        """Whether class pictures are learnt from at all."""
        return self.prior_pictures > 0 and self.prior_weight > 0


def _options(workspace: Workspace) -> Options:
    return Options.model_validate(workspace.config.recipe_options)


# ---- Checked before anything is loaded -----------------------------------------------------------


def check(workspace: Workspace) -> Checked:
    """See that album, token, base and settings go together.

    Raises:
        UserError: naming the field of sfe.yaml, or the album, that does not fit.
    """
    options, config = _options(workspace), workspace.config
    corpus = Corpus.open(workspace)
    person = choose_album(corpus.rows["key"], config.data.person, "data.person")
    notes = _check_album(corpus, workspace)
    base = locate(config.model.base)
    family, _ = check_base(base)
    tokenizers = list(load_parts(base, family.tokenizers).values()) if base.is_dir() else []
    notes += check_token(workspace, corpus, tokenizers)
    if options.new_embeddings:
        check_new_embeddings(family)
    if options.has_prior and config.guidance.maps:
        raise UserError(
            "guidance.maps",
            f"{list(config.guidance.maps)} guide, and class pictures have no maps",
            "set it to [], or recipe_options.prior_pictures to 0",
        )
    served = CRAFTING_TERMS if options.fusion else (CRAFTING,)
    checked = stableface.check(_as_trained(workspace, options), served=served)
    model = checked.model
    assert isinstance(model, GuidedUNet)
    if options.fusion:
        checked = replace(checked, model=with_fusion(model))
    if options.new_embeddings:
        teach_tokens(model, workspace, begin=(0,))
    _check_expressions(options, config, base)
    counts = corpus.split(stableface.TRAIN_SPLIT)["emotion"].value_counts()
    shown = {name: int(counts.get(name, 0)) for name in EMOTIONS}
    word = class_word_of(config.captions, person)
    if options.crafted_photos and config.photos.emotions_read_by is None:
        raise UserError(
            "recipe_options.crafted_photos",
            "needs a recogniser that says what they show, and photos.emotions_read_by names none",
            "name one, or set it to 0",
        )
    prior = f"{options.prior_pictures} of each expression of a {word}"
    return replace(
        checked,
        told={
            "person": person or None,
            "token": f"{config.captions.token} {word}",
            "photos per expression": shown,
            "class pictures": prior if options.has_prior else None,
            "crafted photos": f"{options.crafted_photos} of each expression"
            if options.crafted_photos
            else None,
            "expressions": options.expressions,
            "fusion": options.fusion or None,
            **checked.told,
        },
        notes=(*notes, *checked.notes),
    )


def _check_expressions(options: Options, config: Config, base: Path) -> None:
    """Refuse to ask for expressions that nothing but captions could tell."""
    if options.expressions is not None:
        find_expressions(options.expressions, base, EXPRESSIONS)
    elif config.loss.crafting_expression > 0:
        raise UserError(
            "loss.crafting_expression",
            "asks for expressions that photos do not show, and captions tell what they show",
            f"name text embeddings in {EXPRESSIONS}, or set it to 0",
        )


def _check_album(corpus: Corpus, workspace: Workspace) -> list[str]:
    """Refuse an album too small to learn from and to hold one photo out of."""
    name = workspace.config.split.validation_name
    splits = corpus.rows["split"].value_counts()
    if not splits.get(stableface.TRAIN_SPLIT) or not splits.get(name):
        raise UserError(
            "the album",
            f"has {len(corpus.rows)} usable photos, {splits.get(name, 0)} of them held out",
            "give 5 to 20 photos that are no copies of one another, and set split.by: photos",
        )
    people = corpus.rows["identity"].dropna().nunique()
    return [f"the album shows {people} people by their labels or faces"] if people > 1 else []


def _as_trained(workspace: Workspace, options: Options) -> Workspace:
    """The workspace as StableFaceEmotion is to see it: new embeddings need the text encoder."""
    if not options.new_embeddings or workspace.config.train.text_encoder:
        return workspace
    train = workspace.config.train.model_copy(update={"text_encoder": True})
    return Workspace(workspace.root, workspace.config.model_copy(update={"train": train}))


# ---- Networks ------------------------------------------------------------------------------------


def name_networks(
    model: GuidedUNet, others: Sequence[Network], options: Options
) -> tuple[Network, ...]:
    """What trains; a text encoder with new tokens is saved with these in its table."""
    named = []
    for network in others:
        if not any(p.requires_grad for p in network.of(model).parameters()):
            continue
        if options.new_embeddings and network.attribute == "text_encoder":
            network = replace(
                network, save=save_with_new_rows, load=load_with_new_rows, empty=_same_layout
            )
        named.append(network)
    return tuple(named)


def _same_layout(module: nn.Module) -> nn.Module:
    import copy

    return copy.deepcopy(module)


# ---- What chance decides -------------------------------------------------------------------------


# The album's photos, class pictures, and photos that an expression was drawn into.
Origin = Literal["album", "class", "crafted"]
ORIGINS: tuple[Origin, ...] = get_args(Origin)


@dataclass(frozen=True)
class PersonalSlot:
    """One image of an update.

    Attributes:
        face: see `Slot`; its place is among the pictures of its origin.
        origin: whose it is.
        asked: what is asked for and it does not show; None: what it shows is.
    """

    face: Slot
    origin: Origin = "album"
    asked: Asked | None = None


@dataclass(frozen=True)
class Drawn:
    """Pictures that the base drew before the run: as a data set, encoded, in a balanced order.

    Attributes:
        weight: of their noise loss.
        strengths: [N], to which each shows its expression.
    """

    dataset: FaceDataset
    source: BatchSource
    sampler: DeterministicSampler
    weight: float
    strengths: Sequence[float]


def share_out(first: int, count: int, parts: int) -> list[range]:
    """Of images `first` … of a run, the numbers of those of each part.

    Image n of a run belongs to part n % parts, wherever updates begin.

    >>> share_out(3, 4, 2)
    [range(2, 4), range(1, 3)]
    """
    end = first + count
    return [range(-((k - first) // parts), -((k - end) // parts)) for k in range(parts)]


# ---- The run -------------------------------------------------------------------------------------


@dataclass
class Personal:
    """A run's networks, data and loss; fulfils `training.contract.Recipe`.

    Attributes:
        face: what it shares with StableFaceEmotion; its model is this one's.
        networks: what trains.
        drawn: pictures that are learnt from in turn with the album's photos, by origin.
        tokenizers: by part, those with new words; empty where there are none.
        options: of the recipe.
        expressions: that tell what a face shows, frozen; None: captions do.
        fusing: what fusion reads; None: none is learnt.
        fusing_held: the same of the held-out photos; None too where they are not drawn.
    """

    face: stableface.StableFace
    networks: tuple[Network, ...]
    drawn: Mapping[Origin, Drawn]
    tokenizers: Mapping[str, CLIPTokenizer]
    options: Options
    expressions: ExpressionEmbeddings | None = None
    fusing: FusionTraining | None = None
    fusing_held: FusionTraining | None = None

    @property
    def model(self) -> GuidedUNet:
        """The UNet, and what else a run may train."""
        return self.face.model

    @property
    def must_match(self) -> Mapping[str, Fingerprint]:
        """The base, and the networks of the loss."""
        return self.face.must_match

    def assemble(self, networks: Mapping[str, nn.Module]) -> GuidedUNet:
        """A `GuidedUNet` out of those that train, and the frozen rest."""
        live = self.model
        whole: dict[str, Any] = {
            "unet": live.unet, "bank": live.bank, "text_encoder": live.text_encoder
        }  # fmt: skip
        if self.fusing is not None:
            whole |= {"expressions": self.expressions, "fusion": self.fusing.fusion}
            return FusedUNet(**{**whole, **networks})
        if self.expressions is not None:
            return ExpressiveUNet(**{**whole, **networks}, expressions=self.expressions)
        return self.face.assemble({**whole, **networks})

    def draw(self, step: int, first: int, count: int) -> list[PersonalSlot]:
        """Photos of the album and drawn pictures in turn, each as StableFaceEmotion draws."""
        parts = ["album", *self.drawn]
        numbers = share_out(first, count, len(parts))
        own = iter(self._draw_album(step, numbers[0].start, len(numbers[0])) if numbers[0] else ())
        turns = [own, *map(iter, (
            self._draw_drawn(origin, step, some)
            for origin, some in zip(self.drawn, numbers[1:], strict=True)
        ))]  # fmt: skip
        return [next(turns[n % len(turns)]) for n in range(first, first + count)]

    def _draw_album(self, step: int, first: int, count: int) -> list[PersonalSlot]:
        slots = self.face.draw(step, first, count)
        if self.expressions is None or CRAFTING not in self.face.objective.composite.active:
            return [PersonalSlot(slot) for slot in slots]
        choice = [n for n, name in enumerate(EMOTIONS) if name in self.expressions.names]
        shown = self.face.dataset.emotions
        share = self.options.crafting_share
        return [
            PersonalSlot(slot, "album", draw_asked(slot, int(shown[slot.index]), choice, share))
            for slot in slots
        ]

    def _draw_drawn(self, origin: Origin, step: int, numbers: range) -> list[PersonalSlot]:
        drawn = self.drawn[origin]
        views = [View(place) for place in drawn.sampler.take(numbers.start, len(numbers))]
        keys = [f"{origin} picture {drawn.dataset.keys[view.place]}" for view in views]
        config, timesteps = self.face.config, self.face.objective.timesteps
        slots = plan_update(views, keys, step, config.train, config.loss, timesteps, None)
        return [PersonalSlot(slot, origin) for slot in slots]

    def batches(self, wanted: Iterable[Sequence[PersonalSlot]]) -> Iterator[Batch]:
        """Latents, texts and photos of the images drawn, those of an origin together."""
        if not self.drawn:
            yield from self.face.batches([slot.face for slot in slots] for slots in wanted)
            return
        sources = {"album": self.face.source, **{name: d.source for name, d in self.drawn.items()}}
        asked, *copies = itertools.tee(wanted, 1 + len(sources))
        parts = {
            origin: source.batches(_views(copy, origin))
            for (origin, source), copy in zip(sources.items(), copies, strict=True)
        }
        for slots in asked:
            there = {slot.origin for slot in slots}
            yield joined([next(parts[origin]) for origin in sources if origin in there])

    def terms(self, update: Sequence[PersonalSlot]) -> tuple[str, ...]:
        """Those of the composite loss; alignment only where an image's features are fused."""
        names = self.face.terms([slot.face for slot in update])
        fusing = self.fusing
        if fusing is not None and any(map(fusing.fuses, _fusible(update))):
            return names
        return tuple(name for name in names if name != ALIGNMENT)

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        draws: Sequence[PersonalSlot],
        update: Sequence[PersonalSlot],
    ) -> LossTerms:
        """The composite loss; its noise term is the album's mean plus the weighted drawn ones'.

        Where what is asked for is not what the photo shows, there is no noise to predict.
        """
        ordered, device = by_origin(draws), batch.latent_mean.device
        faces, whole = ([slot.face for slot in slots] for slots in (ordered, update))
        told = self.told(ordered)
        told = None if told is None else told.to(device, non_blocking=True)
        conditions, fused = self._fused(batch, ordered, update, told)
        emphasis = self._emphasis(ordered, *batch.latent_mean.shape[2:])
        emphasis = None if emphasis is None else emphasis.to(device, non_blocking=True)
        if not self.drawn and all(slot.asked is None for slot in update):
            return self.face.loss(
                model, batch, faces, whole, conditions, fused=fused, emphasis=emphasis
            )
        factors = image_factors(update, {name: one.weight for name, one in self.drawn.items()})
        weights = torch.tensor([factors[kind_of(slot)] for slot in ordered])
        weights = weights.to(device, non_blocking=True)
        asked = asked_shares([slot.asked for slot in ordered])
        return self.face.loss(
            model, batch, faces, whole, conditions, weights, asked, fused, emphasis
        )

    def _emphasis(self, slots: Sequence[PersonalSlot], height: int, width: int) -> Tensor | None:
        """Factors of the errors of B images, [B, 1, h, w]; None: 1 of all.

        Of class pictures they are 1: with them told as much, a person at full strength was shown
        less often (.875 of 56 pictures, .964 without) and less evenly (r .72, .81).
        """
        if not self.options.emphasis:
            return None
        factors = torch.ones(len(slots), 1, height, width)
        for row, slot in enumerate(slots):
            if slot.origin != "class":
                drawn = self.drawn.get(slot.origin)
                dataset = self.face.dataset if drawn is None else drawn.dataset
                mask = expression_mask(dataset.points(slot.face.view)[None], (height, width))[0]
                # Of the error, whose square counts.
                factors[row] = (1.0 + self.options.emphasis * mask).sqrt()
        return factors

    def _fused(
        self,
        batch: Batch,
        ordered: Sequence[PersonalSlot],
        update: Sequence[PersonalSlot],
        told: Tensor | None,
    ) -> tuple[Any, Callable[[], Fused] | None]:
        """What the model is told beside texts, and what to ask for what it fused."""
        fusing, model = self.fusing, self.model
        if fusing is None:
            return told, None
        slots, height, width = _fusible(ordered), *batch.latent_mean.shape[2:]
        conditions = fusing.conditions(slots, told, (height, width))

        def fused() -> Fused:
            assert isinstance(model, FusedUNet)
            seen, model.seen = model.seen, []
            return fusing.aligned(seen, slots, _fusible(update))

        return conditions, fused

    def told(self, draws: Sequence[PersonalSlot]) -> Tensor | None:
        """What is told of the expressions of B images: [B, E], see `whole_expressions`.

        Neutral where an image's is not known, or its caption is dropped: that is what guidance
        starts from.
        """
        if self.expressions is None:
            return None
        told: list[dict[str, float]] = []
        for slot in draws:
            index, drawn = slot.face.index, self.drawn.get(slot.origin)
            dataset = self.face.dataset if drawn is None else drawn.dataset
            place = -1 if slot.face.drop_caption else int(dataset.emotions[index])
            asked = slot.asked or Asked(place, 1.0 if drawn is None else drawn.strengths[index])
            name = EMOTIONS[asked.place] if asked.place >= 0 else NEUTRAL
            told.append({name: asked.strength})
        return expression_weights(self.expressions.names, told)

    def samples(self, model: nn.Module, stopped: Callable[[], bool]) -> Samples | None:
        """Held-out photos of the album, drawn by their captions, and told their expressions.

        Where fusion is learnt, fused with these.
        """
        faces, config, held = self.face.faces, self.face.config, self.fusing_held
        if faces is None or (self.expressions is None and held is None):
            return self.face.samples(model, stopped)
        assert isinstance(model, ExpressiveUNet)
        places = pick_faces(faces.emotions, config.train.samples_per_emotion)
        names = [EMOTIONS[place] if place >= 0 else NEUTRAL for place in faces.emotions.tolist()]
        shown = None
        if self.expressions is not None:
            weights = whole_expressions(self.expressions.names, names)
            shown = dict(zip(faces.keys, weights, strict=True))

        def fused(keys: Sequence[str]) -> AbstractContextManager[Any]:
            assert held is not None and isinstance(model, FusedUNet)
            told = None if shown is None else torch.stack([shown[key] for key in keys])
            side = config.model.resolution // self.face.base.vae_factor
            told = None if told is None else told.to(model.unet.device)
            return held.drawing(model, keys, told, (side, side))

        drawn = draw_samples(
            model,
            self.face.base,
            faces,
            places,
            config,
            stopped,
            expressions=shown,
            fused=None if held is None else fused,
        )
        assert drawn.guided is not None
        # Nobody asked for the photo's landmarks.
        measured = replace(drawn, text=drawn.guided, guided=None)
        return Samples(self.face.meter.measure(measured, self.face.corpus), make_grid(drawn))

    def save_beside(self, folder: Path) -> None:
        """The noise schedule where it may differ, tokenizers' new words, and the expressions."""
        self.face.save_beside(folder)
        if self.expressions is not None:
            self.expressions.save_pretrained(folder / EXPRESSIONS_FOLDER)
        for name, tokenizer in self.tokenizers.items():
            tokenizer.save_pretrained(folder / name)


def by_origin(slots: Sequence[PersonalSlot]) -> list[PersonalSlot]:
    """In the order of a batch of `Personal.batches`."""
    return sorted(slots, key=lambda slot: ORIGINS.index(slot.origin))


def _fusible(slots: Sequence[PersonalSlot]) -> list[Slot | None]:
    """The images that fusion may act on; None for a drawn picture."""
    return [slot.face if slot.origin == "album" else None for slot in slots]


Kind = Origin | Literal["asked"]


def kind_of(slot: PersonalSlot) -> Kind:
    """What an image is learnt for."""
    return slot.origin if slot.asked is None else "asked"


def image_factors(
    update: Sequence[PersonalSlot], weights: Mapping[Origin, float]
) -> dict[Kind, float]:
    """What an image's noise loss counts in a mean over all images of an update.

    With them that mean is the album's mean plus that of each drawn origin times its weight, without
    those of which another expression is asked.
    """
    kinds = Counter(kind_of(slot) for slot in update)
    factors: dict[Kind, float] = {"asked": 0.0}
    for origin, weight in {"album": 1.0, **weights}.items():
        factors[origin] = weight * len(update) / max(1, kinds[origin])
    return factors


def _views(wanted: Iterable[Sequence[PersonalSlot]], origin: str) -> Iterator[list[View]]:
    for slots in wanted:
        views = [slot.face.view for slot in slots if slot.origin == origin]
        if views:
            yield views


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches without maps one behind the other."""
    if len(batches) == 1:
        return batches[0]

    def both(name: str) -> Any:
        parts = [getattr(batch, name) for batch in batches]
        if name == "maps":
            return {}
        return None if any(part is None for part in parts) else torch.cat(parts)

    return Batch(**{field.name: both(field.name) for field in fields(Batch)})


# ---- The data ------------------------------------------------------------------------------------


def build(
    workspace: Workspace, accelerator: Accelerator, images: int, reporter: Reporter
) -> Personal:
    """Draw class pictures if there are none yet, then load and connect everything.

    Raises:
        UserError: a model is missing or does not fit, or the base draws no faces.
    """
    options = _options(workspace)
    inner = _as_trained(workspace, options)
    folder = locate(workspace.config.model.base)
    started = stableface.fingerprints(workspace.config, folder)[stableface.BASE]
    pictures = _class_pictures(workspace, options, started)
    corpora: dict[Origin, tuple[DrawnCorpus, Corpus]] = {}
    if pictures is not None:
        corpora["class"] = pictures.corpus, pictures.draw(accelerator, reporter)
    crafted = _crafted_photos(workspace, options, started)
    if crafted is not None:
        corpora["crafted"] = crafted.corpus, crafted.draw(accelerator, reporter)
    base, begin = load_base_with_tokens(workspace, options.new_embeddings)
    wording = without_emotion if options.expressions is not None else None
    face = stableface.build(inner, accelerator, images, reporter, wording, base)
    if options.new_embeddings:
        teach_tokens(face.model, workspace, begin)
        face.model.to(accelerator.device)
    expressions = None
    if options.expressions is not None:
        expressions = find_expressions(options.expressions, base.folder, EXPRESSIONS)
        expressions.requires_grad_(False).to(accelerator.device)
        live = face.model
        face.model = ExpressiveUNet(live.unet, live.bank, live.text_encoder, expressions)
    fusing = held = None
    if options.fusion:
        fusing = _begin_fusion(face, options, expressions)
        if face.faces is not None:
            held = FusionTraining.of(fusing.fusion, face, face.faces)
    # Hashing a base takes a while: what the class pictures asked for is kept.
    face.must_match = {**face.must_match, stableface.BASE: started}
    networks = name_networks(face.model, face.networks, options)
    face.objective = replace(face.objective, person=_person(face, accelerator.device))
    drawn = {
        origin: _open_drawn(inner, origin, pair, base, accelerator, face, reporter)
        for origin, pair in corpora.items()
    }
    tokenizers = base.tokenizers if base.new_tokens else {}
    return Personal(face, networks, drawn, tokenizers, options, expressions, fusing, held)


def _begin_fusion(
    face: stableface.StableFace, options: Options, expressions: ExpressionEmbeddings | None
) -> FusionTraining:
    """Fusion as one more network of the run, its temperatures set by the base's features."""
    live, fusion = face.model, fresh_fusion(face)
    face.model = FusedUNet(live.unet, live.bank, live.text_encoder, expressions, fusion)
    rate = options.fusion_learning_rate
    face.networks = (*face.networks, fusion_network(face.config, rate))
    fusing, told = FusionTraining.of(fusion, face, face.dataset), None
    if expressions is not None:
        shown = [EMOTIONS[place] if place >= 0 else NEUTRAL for place in first_shown(face.dataset)]
        told = whole_expressions(expressions.names, shown)
    fusing.calibrate(face, told)
    return fusing


def _person(face: stableface.StableFace, device: torch.device) -> Tensor | None:
    """Who the album shows, to the loss's embedder; None where it asks none."""
    embedder, side = face.objective.composite.embedder, face.config.model.resolution
    if embedder is None:
        return None
    photos = (face.corpus.image(key, side)[None].to(device) for key in face.dataset.keys)
    return mean_identity(embedder, photos)


def _class_pictures(
    workspace: Workspace, options: Options, started: Fingerprint
) -> ClassPictures | None:
    if not options.has_prior:
        return None
    config = workspace.config
    return ClassPictures(
        workspace=workspace,
        class_word=class_word_of(config.captions, config.data.person or ""),
        per_expression=options.prior_pictures,
        steps=options.prior_steps,
        look_for_faces=options.prior_faces,
        base_sha256=started.digest,
    )


def _crafted_photos(
    workspace: Workspace, options: Options, started: Fingerprint
) -> CraftedPhotos | None:
    if not options.crafted_photos:
        return None
    config = workspace.config
    expressions = None
    if options.expressions is not None:
        expressions = find_expressions(options.expressions, locate(config.model.base), EXPRESSIONS)
    return CraftedPhotos(
        workspace=workspace,
        photos=Corpus.open(workspace),
        split=stableface.TRAIN_SPLIT,
        class_word=class_word_of(config.captions, config.data.person or ""),
        per_expression=options.crafted_photos,
        steps=options.prior_steps,
        base_sha256=started.digest,
        expressions=expressions,
    )


def _open_drawn(
    workspace: Workspace,
    origin: Origin,
    pair: tuple[DrawnCorpus, Corpus],
    base: BaseModels,
    accelerator: Accelerator,
    face: stableface.StableFace,
    reporter: Reporter,
) -> Drawn:
    """Drawn pictures as a data set, their latents kept on disk for later runs."""
    config, (drawn, corpus) = workspace.config, pair
    wording = without_emotion if _options(workspace).expressions is not None else None
    dataset = FaceDataset(corpus, SPLIT, (), config.model.resolution, wording=wording)
    cache = "none" if config.data.cache == "none" else "disk"
    data = config.data.model_copy(update={"cache": cache})
    kept = Workspace(workspace.root, config.model_copy(update={"data": data}))
    pixels = face.objective.composite.needs_pixels
    source = stableface.source_of(kept, dataset, base, accelerator, pixels, reporter)
    seed = derive_seed(config.train.seed, f"{origin} pictures")
    return Drawn(
        dataset,
        source,
        DeterministicSampler(len(dataset), seed),
        _options(workspace).prior_weight if origin == "class" else 1.0,
        [drawn.strength(key) for key in dataset.keys],
    )


# ---- How it is found -----------------------------------------------------------------------------

SPEC = RecipeSpec(
    name="personal",
    check=check,
    build=build,
    options=Options,
    best={"top1": True},
    forms=("lora-diffusers", "lora-kohya"),
)
