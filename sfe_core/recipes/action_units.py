"""Action units as intensities: a token per unit beside the text, learnt on a base as it stands.

What is learnt is `diffusion.unit_attention`; the base's UNet stays frozen unless a LoRA
(`train.lora_rank`) or `train_unet` is asked for. Data, loss, guidance maps and samples are the
StableFaceEmotion recipe's; to each image, the units of its labels are told. What its labels do not
tell stays free, and so does, of some images, each unit or all of them by chance: so that a person
may later ask for one unit alone, and guidance has a prediction without units to start from.

In the order of a run: settings, what is checked before it, the networks, the units of the data,
what chance decides, the loss, the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from pydantic import Field
from torch import Tensor, nn

from sfe_core.config.sections import Count, Fraction, Positive, Section
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.annotations.unit_labels import labelled_units, told_units
from sfe_core.corpus.choice import choose_faces
from sfe_core.corpus.reader import Corpus
from sfe_core.diffusion.guidance_files import UNITS_FOLDER
from sfe_core.diffusion.guided_unet import GuidedUNet
from sfe_core.diffusion.unit_attention import (
    UnitAttention,
    mirrored,
    unit_conditions,
    unit_places,
)
from sfe_core.errors import UserError
from sfe_core.files import derive_seed
from sfe_core.losses.composite import LossTerms
from sfe_core.recipes import stableface
from sfe_core.recipes.shared.draws import Slot
from sfe_core.recipes.shared.samples import draw_samples, make_grid, pick_faces
from sfe_core.reporting import Reporter
from sfe_core.training.batches.batch import Batch
from sfe_core.training.contract import Checked, Fingerprint, RecipeSpec, Samples
from sfe_core.training.engine.lora import has_lora
from sfe_core.training.network import Network

# ---- Settings ------------------------------------------------------------------------------------


class Options(Section):
    """`recipe_options` of this recipe."""

    units: tuple[str, ...] = Field((), description="FACS names; empty: all that the labels tell of")
    unit_dropout: Fraction = Field(0.2, description="share of known units left untold, one by one")
    all_units_dropout: Fraction = Field(0.1, description="share of images trained without any unit")
    hidden: Count = Field(256, description="width inside the units' encoder")
    train_unet: bool = Field(False, description="train the base's UNet too, as train.frozen has it")
    units_learning_rate: Positive | None = Field(
        None, description="of the units; null = train.learning_rate"
    )


def _options(workspace: Workspace) -> Options:
    return Options.model_validate(workspace.config.recipe_options)


# ---- Checked before anything is loaded -----------------------------------------------------------


def check(workspace: Workspace) -> Checked:
    """See that base, corpus and settings go together, and that the labels tell of units.

    Raises:
        UserError: naming the field of sfe.yaml, or the corpus, that does not fit.
    """
    options, config = _options(workspace), workspace.config
    rows = choose_faces(Corpus.open(workspace).split(stableface.TRAIN_SPLIT), config.data).rows
    units = chosen_units(options, rows)
    checked = stableface.check(workspace)
    assert isinstance(checked.model, GuidedUNet)
    told = conditions_of_rows(units, rows)
    counts = {unit: int((~told[:, n].isnan()).any(1).sum()) for n, unit in enumerate(units)}
    without = len(rows) - int((~told.isnan()).flatten(1).any(1).sum())
    notes = (f"{without} of {len(rows)} faces have no action unit told",) if without else ()
    with torch.device("meta"):
        attention = UnitAttention.beside(checked.model.unet, units, options.hidden)
    return replace(
        checked,
        model=with_units(checked.model, attention, options),
        told={**checked.told, "faces per unit": counts},
        notes=(*checked.notes, *notes),
    )


def chosen_units(options: Options, rows: pd.DataFrame) -> tuple[str, ...]:
    """The units that are learnt: those asked for, or all that a label tells of.

    Raises:
        UserError: there are none, or no label tells of one that was asked for.
    """
    there = labelled_units(rows)
    for name in options.units:
        code, _ = unit_places(name)
        if name != code or code not in there:
            raise UserError(
                "recipe_options.units",
                f"no label of the training split tells of {name!r}",
                f"labels tell of: {', '.join(there) or 'no unit'}",
            )
    if not there:
        raise UserError(
            "photos.labels",
            "no label of the training split tells of an action unit",
            "give columns AU1 … AU46 (0 to 5), or AU1_present (0 or 1)",
        )
    return options.units or there


# ---- Networks ------------------------------------------------------------------------------------


def with_units(model: GuidedUNet, attention: UnitAttention, options: Options) -> GuidedUNet:
    """The model with the units' attention beside; its UNet frozen unless it is to train."""
    if not (options.train_unet or has_lora(model.unet)):
        model.unet.requires_grad_(False)
    return GuidedUNet(model.unet, model.bank, model.text_encoder, attention)


def build_units(model: GuidedUNet, units: Sequence[str], hidden: int, seed: int) -> UnitAttention:
    """The attention of a run, the same of the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "action units") % 2**32)
        return UnitAttention.beside(model.unet, units, hidden)


def name_networks(
    model: GuidedUNet, others: Sequence[Network], options: Options
) -> tuple[Network, ...]:
    """What trains: the units, and of the other networks those that are not frozen whole."""
    trained = [
        network
        for network in others
        if any(parameter.requires_grad for parameter in network.of(model).parameters())
    ]
    units = Network(UNITS_FOLDER, "units", "units", options.units_learning_rate)
    return (units, *trained)


# ---- Data ----------------------------------------------------------------------------------------


def conditions_of_rows(units: Sequence[str], rows: pd.DataFrame) -> Tensor:
    """What the labels tell: [N, U, 3] of N rows of the manifest, see `unit_conditions`.

    Raises:
        UserError: a column holds text, or a number that is no intensity.
    """
    return unit_conditions(units, told_units(units, rows))


# ---- What chance decides -------------------------------------------------------------------------


@dataclass(frozen=True)
class UnitSlot:
    """One image of an update: what StableFaceEmotion draws for it, and the units told of it.

    Attributes:
        face: see `Slot`.
        told: [U] flags, False where a unit is left out though it may be known.
    """

    face: Slot
    told: tuple[bool, ...]


def draw_told(face: Slot, units: int, options: Options) -> UnitSlot:
    """Leave out single units, and of some images all: a function of the slot's own seed."""
    seed = derive_seed(face.noise_seed, "units")
    every, *single = np.random.default_rng(seed).random(1 + units)
    if every < options.all_units_dropout:
        return UnitSlot(face, (False,) * units)
    return UnitSlot(face, tuple(bool(drawn >= options.unit_dropout) for drawn in single))


# ---- The run -------------------------------------------------------------------------------------


@dataclass
class ActionUnits:
    """A run's networks, data and loss; fulfils `training.contract.Recipe`.

    Attributes:
        face: what it shares with StableFaceEmotion; its model is this one's, units and all.
        networks: what trains.
        conditions: [N, U, 3], what the labels of the training split tell, in the data set's order.
        shown: key of a validation face to what its labels tell, [U, 3].
        options: of the recipe.
    """

    face: stableface.StableFace
    networks: tuple[Network, ...]
    conditions: Tensor
    shown: Mapping[str, Tensor]
    options: Options

    @property
    def model(self) -> GuidedUNet:
        """UNet, guidance encoders and units."""
        return self.face.model

    @property
    def must_match(self) -> Mapping[str, Fingerprint]:
        """The base, and the networks of the loss."""
        return self.face.must_match

    def assemble(self, networks: Mapping[str, nn.Module]) -> GuidedUNet:
        """A `GuidedUNet` out of those that train, and the frozen rest."""
        live = self.model
        whole = {"unet": live.unet, "bank": live.bank, "text_encoder": live.text_encoder}
        return self.face.assemble({**whole, **networks})

    def draw(self, step: int, first: int, count: int) -> list[UnitSlot]:
        """As StableFaceEmotion draws, and which units are told."""
        units = self.conditions.shape[1]
        return [draw_told(s, units, self.options) for s in self.face.draw(step, first, count)]

    def batches(self, wanted: Iterable[Sequence[UnitSlot]]) -> Iterator[Batch]:
        """Latents, texts, maps and photos of the faces drawn."""
        return self.face.batches(_faces(slots) for slots in wanted)

    def terms(self, update: Sequence[UnitSlot]) -> tuple[str, ...]:
        """Those of the composite loss."""
        return self.face.terms(_faces(update))

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        draws: Sequence[UnitSlot],
        update: Sequence[UnitSlot],
    ) -> LossTerms:
        """The composite loss of predictions that were told of the units."""
        told = self.told(draws).to(batch.latent_mean.device, non_blocking=True)
        return self.face.loss(model, batch, _faces(draws), _faces(update), told)

    def told(self, draws: Sequence[UnitSlot]) -> Tensor:
        """What is told of B images: [B, U, 3], see `unit_conditions`."""
        conditions = torch.stack(
            [
                mirrored(known) if slot.face.view.mirrored else known
                for slot in draws
                for known in [self.conditions[slot.face.index]]
            ]
        )
        kept = torch.tensor([slot.told for slot in draws])
        return conditions.masked_fill(~kept[..., None], torch.nan)

    def samples(self, model: nn.Module, stopped: Callable[[], bool]) -> Samples | None:
        """Validation faces from text alone, and with the units of their labels (and maps)."""
        faces, config = self.face.faces, self.face.config
        if faces is None:
            return None
        assert isinstance(model, GuidedUNet)
        places = pick_faces(faces.emotions, config.train.samples_per_emotion)
        drawn = draw_samples(model, self.face.base, faces, places, config, stopped, self.shown)
        # Without maps nobody asked for the photo's landmarks.
        measured = drawn if faces.maps else replace(drawn, guided=None)
        return Samples(self.face.meter.measure(measured, self.face.corpus), make_grid(drawn))

    def save_beside(self, folder: Path) -> None:
        """The noise schedule, where it may differ from the base's."""
        self.face.save_beside(folder)


def _faces(slots: Sequence[UnitSlot]) -> list[Slot]:
    return [slot.face for slot in slots]


def build(
    workspace: Workspace, accelerator: Accelerator, images: int, reporter: Reporter
) -> ActionUnits:
    """Load and connect everything, on the accelerator's device; see `stableface.build`.

    Raises:
        UserError: a model is missing or does not fit.
    """
    options, config = _options(workspace), workspace.config
    face = stableface.build(workspace, accelerator, images, reporter)
    rows = choose_faces(face.corpus.split(stableface.TRAIN_SPLIT), config.data).rows
    units = chosen_units(options, rows)
    attention = build_units(face.model, units, options.hidden, config.train.seed)
    face.model = with_units(face.model, attention.to(accelerator.device), options)
    face.networks = name_networks(face.model, face.networks, options)
    shown: dict[str, Tensor] = {}
    if face.faces is not None:
        seen = face.corpus.split(config.split.validation_name)
        shown = dict(zip(seen["key"], conditions_of_rows(units, seen), strict=True))
    ordered = rows.set_index("key").loc[face.dataset.keys]
    return ActionUnits(face, face.networks, conditions_of_rows(units, ordered), shown, options)


# ---- How it is found -----------------------------------------------------------------------------

SPEC = RecipeSpec(
    name="action-units",
    check=check,
    build=build,
    options=Options,
    best={"top1": True, "guidance_error": False},
)
