"""Expressions as text embeddings, learnt once on a corpus of expressions with the base frozen.

What is learnt is `diffusion.expression_embeddings`: k vectors an expression, reused for every
person. Data, loss and samples are the StableFaceEmotion recipe's, without maps; each face is told
by its label's vectors, its caption does not name the emotion. Of some faces nothing is told but
neutral, so that guidance on the expression alone has a prediction to start from. A photo's noisy
latents show its expression themselves, and little is left for the vectors to tell: with
`loss.crafting_expression`, others are asked of some, and the emotion network tells whether they
came.

In the order of a run: settings, what is checked before it, the networks, the expressions of the
data, what chance decides, the loss, the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from accelerate import Accelerator
from pydantic import Field
from torch import Tensor, nn

from sfe_core.assets.registry import registry
from sfe_core.config.sections import Count, Fraction, Section
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.annotations.captions import without_emotion
from sfe_core.corpus.choice import choose_faces
from sfe_core.corpus.reader import Corpus
from sfe_core.diffusion.base_expressions import begin_expressions, text_widths
from sfe_core.diffusion.encoders import Encoders
from sfe_core.diffusion.expression_embeddings import (
    NEUTRAL,
    VECTORS,
    ExpressionEmbeddings,
    ExpressiveUNet,
    expression_weights,
    whole_expressions,
)
from sfe_core.diffusion.guidance_files import EXPRESSIONS_FOLDER
from sfe_core.diffusion.guided_unet import GuidedUNet
from sfe_core.diffusion.loading import read_configs
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.files import derive_seed
from sfe_core.losses.composite import CRAFTING, LossTerms
from sfe_core.recipes import stableface
from sfe_core.recipes.shared.asked import Asked, asked_shares, draw_asked
from sfe_core.recipes.shared.draws import Slot
from sfe_core.recipes.shared.samples import draw_samples, make_grid, pick_faces
from sfe_core.reporting import Reporter
from sfe_core.training.batches.batch import Batch
from sfe_core.training.contract import Checked, Fingerprint, RecipeSpec, Samples
from sfe_core.training.network import Network

_UNIT = 2.0**-63  # derive_seed gives 63 bits

# ---- Settings ------------------------------------------------------------------------------------


class Options(Section):
    """`recipe_options` of this recipe."""

    vectors: Count = Field(VECTORS, description="learnt of each expression")
    expression_dropout: Fraction = Field(0.1, description="share of faces told as neutral")
    crafting_share: Fraction = Field(
        0.5,
        description="share of decoded images of which an expression is asked that their faces do "
        "not show, where loss.crafting_expression has a weight",
    )


def _options(workspace: Workspace) -> Options:
    return Options.model_validate(workspace.config.recipe_options)


# ---- Checked before anything is loaded -----------------------------------------------------------


def check(workspace: Workspace) -> Checked:
    """See that base, corpus and settings go together, and that labels tell of expressions.

    Raises:
        UserError: naming the field of sfe.yaml, or the corpus, that does not fit.
    """
    options, config = _options(workspace), workspace.config
    for field, value, none in (
        ("guidance.maps", config.guidance.maps, "[]"),
        ("train.text_encoder", config.train.text_encoder, "false"),
        ("train.lora_rank", config.train.lora_rank, "0"),
    ):
        if value:
            raise UserError(field, "would train too: expressions learn alone", f"set it to {none}")
    rows = choose_faces(Corpus.open(workspace).split(stableface.TRAIN_SPLIT), config.data).rows
    names = learnt_expressions(rows)
    checked = stableface.check(workspace, served=(CRAFTING,))
    assert isinstance(checked.model, GuidedUNet)
    counts = rows["emotion"].value_counts()
    without = int(rows["emotion"].isna().sum())
    notes = (f"{without} of {len(rows)} faces have no emotion: told as neutral",) if without else ()
    base = read_configs(Path(str(checked.told["base"])))
    with torch.device("meta"):
        expressions = ExpressionEmbeddings(list(names), options.vectors, *text_widths(base))
    return replace(
        checked,
        model=with_expressions(checked.model, expressions),
        told={
            **checked.told,
            "faces per expression": {name: int(counts.get(name, 0)) for name in names},
        },
        notes=(*checked.notes, *notes),
    )


def learnt_expressions(rows: pd.DataFrame) -> tuple[str, ...]:
    """Those that labels tell of, and neutral, in the order of EMOTIONS.

    Raises:
        UserError: labels tell of none.
    """
    there = set(rows["emotion"].dropna()) - {NEUTRAL}
    if not there:
        raise UserError(
            "photos.labels",
            "no label of the training split tells of an expression",
            "give a column emotion, or have it read: photos.labels_read_by",
        )
    return tuple(name for name in EMOTIONS if name == NEUTRAL or name in there)


# ---- Networks ------------------------------------------------------------------------------------


def with_expressions(model: GuidedUNet, expressions: ExpressionEmbeddings) -> ExpressiveUNet:
    """The model with expressions behind its texts; all else of it frozen."""
    for part in (model.unet, model.bank):
        part.requires_grad_(False)
    return ExpressiveUNet(model.unet, model.bank, expressions=expressions)


NETWORK = Network(EXPRESSIONS_FOLDER, "expressions", "expressions")


# ---- What chance decides -------------------------------------------------------------------------


@dataclass(frozen=True)
class ExpressionSlot:
    """One image of an update: what StableFaceEmotion draws for it, and whether it tells its label.

    Attributes:
        face: see `Slot`.
        told: False where it is told as neutral whatever it shows.
        asked: what is asked for and it does not show; None: what it shows is.
    """

    face: Slot
    told: bool
    asked: Asked | None = None


def draw_told(face: Slot, options: Options) -> ExpressionSlot:
    """Whether the expression is told: a function of the slot's own seed."""
    drawn = derive_seed(face.noise_seed, "expression") * _UNIT
    return ExpressionSlot(face, drawn >= options.expression_dropout)


# ---- The run -------------------------------------------------------------------------------------


@dataclass
class Expressions:
    """A run's network, data and loss; fulfils `training.contract.Recipe`.

    Attributes:
        face: what it shares with StableFaceEmotion; its model is this one's, expressions and all.
        weights: [N, E], what the labels of the training split tell, in the data set's order.
        shown: key of a validation face to what its label tells, [E].
        options: of the recipe.
    """

    face: stableface.StableFace
    weights: Tensor
    shown: Mapping[str, Tensor]
    options: Options

    @property
    def networks(self) -> tuple[Network, ...]:
        """The embeddings alone."""
        return (NETWORK,)

    @property
    def model(self) -> ExpressiveUNet:
        """Frozen UNet, and expressions."""
        assert isinstance(self.face.model, ExpressiveUNet)
        return self.face.model

    @property
    def names(self) -> tuple[str, ...]:
        """Of the expressions, in order."""
        assert self.model.expressions is not None
        return self.model.expressions.names

    @property
    def must_match(self) -> Mapping[str, Fingerprint]:
        """The base, and the networks of the loss."""
        return self.face.must_match

    def assemble(self, networks: Mapping[str, nn.Module]) -> ExpressiveUNet:
        """The frozen rest with these embeddings."""
        expressions = networks["expressions"]
        assert isinstance(expressions, ExpressionEmbeddings)
        return ExpressiveUNet(self.model.unet, self.model.bank, expressions=expressions)

    def draw(self, step: int, first: int, count: int) -> list[ExpressionSlot]:
        """As StableFaceEmotion draws, and what is told of the expression."""
        slots = [draw_told(slot, self.options) for slot in self.face.draw(step, first, count)]
        if CRAFTING not in self.face.objective.composite.active:
            return slots
        names, shown = self.names, self.face.dataset.emotions
        choice = [place for place, name in enumerate(EMOTIONS) if name in names]
        share = self.options.crafting_share
        return [
            replace(one, asked=draw_asked(one.face, int(shown[one.face.index]), choice, share))
            for one in slots
        ]

    def batches(self, wanted: Iterable[Sequence[ExpressionSlot]]) -> Iterator[Batch]:
        """Latents, texts and photos of the faces drawn."""
        return self.face.batches(_faces(slots) for slots in wanted)

    def terms(self, update: Sequence[ExpressionSlot]) -> tuple[str, ...]:
        """Those of the composite loss."""
        return self.face.terms(_faces(update))

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        draws: Sequence[ExpressionSlot],
        update: Sequence[ExpressionSlot],
    ) -> LossTerms:
        """The composite loss of predictions that were told of the expressions.

        Where what is asked for is not what the photo shows, there is no noise to predict.
        """
        told = self.told(draws).to(batch.latent_mean.device, non_blocking=True)
        faces, whole = _faces(draws), _faces(update)
        if all(slot.asked is None for slot in update):
            return self.face.loss(model, batch, faces, whole, told)
        asked = asked_shares([slot.asked for slot in draws])
        weights = torch.tensor([float(slot.asked is None) for slot in draws])
        weights = weights.to(told.device, non_blocking=True)
        return self.face.loss(model, batch, faces, whole, told, weights, asked)

    def told(self, draws: Sequence[ExpressionSlot]) -> Tensor:
        """What is told of B images: [B, E], see `expression_weights`."""
        weights = self.weights[[slot.face.index for slot in draws]]
        weights = weights * torch.tensor([slot.told for slot in draws])[:, None]
        for row, slot in enumerate(draws):
            if slot.asked is not None:
                asked = {EMOTIONS[slot.asked.place]: slot.asked.strength}
                weights[row] = expression_weights(self.names, [asked])[0]
        return weights

    def samples(self, model: nn.Module, stopped: Callable[[], bool]) -> Samples | None:
        """Validation faces from their captions alone, and told the expressions of their labels."""
        faces, config = self.face.faces, self.face.config
        if faces is None:
            return None
        assert isinstance(model, ExpressiveUNet)
        places = pick_faces(faces.emotions, config.train.samples_per_emotion)
        drawn = draw_samples(
            model, self.face.base, faces, places, config, stopped, expressions=self.shown
        )
        assert drawn.guided is not None
        # Each by itself: nobody asked for the photo's landmarks.
        told, text = (
            self.face.meter.measure(replace(drawn, text=one, guided=None), self.face.corpus)
            for one in (drawn.guided, drawn.text)
        )
        numbers = {"top1": told.get("top1"), "top1_text": text.get("top1")}
        known = {name: value for name, value in numbers.items() if value is not None}
        return Samples(known, make_grid(drawn))

    def save_beside(self, folder: Path) -> None:
        """The noise schedule, where it may differ from the base's."""
        self.face.save_beside(folder)


def _faces(slots: Sequence[ExpressionSlot]) -> list[Slot]:
    return [slot.face for slot in slots]


def weights_of_rows(names: Sequence[str], rows: pd.DataFrame) -> Tensor:
    """What labels tell: [N, E] of N rows of the manifest; one that names none of these: neutral."""
    return whole_expressions(names, rows["emotion"])


def build(
    workspace: Workspace, accelerator: Accelerator, images: int, reporter: Reporter
) -> Expressions:
    """Load and connect everything, on the accelerator's device; see `stableface.build`.

    Raises:
        UserError: a model is missing or does not fit.
    """
    options, config = _options(workspace), workspace.config
    face = stableface.build(workspace, accelerator, images, reporter, without_emotion)
    rows = choose_faces(face.corpus.split(stableface.TRAIN_SPLIT), config.data).rows
    names = learnt_expressions(rows)
    told = config.model.base
    told = told if told in registry() else Path(told).name
    expressions = begin_expressions(
        Encoders(face.base.folder),
        read_configs(face.base.folder),
        names,
        options.vectors,
        (told, face.must_match[stableface.BASE].digest),
    )
    face.model = with_expressions(face.model, expressions.to(accelerator.device))
    face.networks = (NETWORK,)
    shown: dict[str, Tensor] = {}
    if face.faces is not None:
        seen = face.corpus.split(config.split.validation_name)
        shown = dict(zip(seen["key"], weights_of_rows(names, seen), strict=True))
    ordered = rows.set_index("key").loc[face.dataset.keys]
    return Expressions(face, weights_of_rows(names, ordered), shown, options)


# ---- How it is found -----------------------------------------------------------------------------

SPEC = RecipeSpec(
    name="expressions",
    check=check,
    build=build,
    options=Options,
    best={"top1": True},
)
