"""What a recipe gives the engine, and nothing else: the engine owns time, the recipe owns meaning.

The engine counts updates and passes, and owns devices, precision, saving, resuming, averages,
signals and the log. A recipe says which networks train, what an image of an update is, what chance
decides for it, what the loss is, and what samples show. Nothing here derives from anything: a
recipe is any object with these attributes, a `RecipeSpec` is how one is found and checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from accelerate import Accelerator
from torch import Tensor, nn

from sfe_core.config.sections import Section
from sfe_core.config.workspace import Workspace
from sfe_core.reporting import Reporter
from sfe_core.training.network import Network

# The recipe's own types, which the engine hands on and does not look into.
Draw = Any  # one image of an update and what chance decided for it
Batch = Any  # what a forward pass sees of some images; has `to(device)`


class SamplingStopped(Exception):
    """A signal came while samples were drawn; they are not worth the time they take."""


class Terms(Protocol):
    """A batch's share of the loss of an update; over all batches the shares add up to it."""

    @property
    def total(self) -> Tensor:
        """Scalar with gradient."""

    @property
    def raw(self) -> Mapping[str, Tensor]:
        """Term to the share of its unweighted mean (scalar without gradient)."""

    @property
    def weighted(self) -> Mapping[str, Tensor]:
        """Term to its share of the total (scalar without gradient)."""


@dataclass(frozen=True)
class Samples:
    """What a look at the model gave.

    Attributes:
        numbers: name to what was measured; those in `RecipeSpec.best` can decide on a checkpoint.
        picture: uint8 [H, W, 3], or None.
    """

    numbers: dict[str, float]
    picture: np.ndarray | None = None


class Fingerprint:
    """The hash of a model's weights, worked out when it is first asked for, and kept.

    Args:
        digest: works it out.
        binding: a run never goes on with another model; else it does where the change is accepted.
        same: whether a recorded hash is of this model too, as one of an older kind may be.
    """

    def __init__(
        self,
        digest: Callable[[], str],
        same: Callable[[str], bool] | None = None,
        binding: bool = True,
    ) -> None:
        self._digest, self._same, self.binding = digest, same, binding

    @cached_property
    def digest(self) -> str:
        """The hash, hex."""
        return self._digest()

    def matches(self, recorded: str) -> bool:
        """Whether a recorded hash is of this model."""
        return recorded == self.digest or (self._same is not None and self._same(recorded))


class Recipe(Protocol):
    """A run's meaning, built and on the device."""

    @property
    def networks(self) -> Sequence[Network]:
        """What trains."""

    @property
    def model(self) -> nn.Module:
        """One module with all of them, each at its `Network.attribute`; what DDP or FSDP wrap."""

    @property
    def must_match(self) -> Mapping[str, Fingerprint]:
        """Field of sfe.yaml to the model it names; a checkpoint of another one is not resumed."""

    def assemble(self, networks: Mapping[str, nn.Module]) -> nn.Module:
        """A model such as `model` out of networks by their attribute."""
        ...

    def draw(self, step: int, first: int, count: int) -> Sequence[Draw]:
        """The images of an update and all that chance decides for each.

        A function of the run's seed, the step, the place in the update and the image's key, and of
        nothing else: so neither layout nor interruption changes what is learnt.

        Args:
            step: the update, from 0.
            first: images that the run drew before it.
            count: images of the update.
        """
        ...

    def batches(self, wanted: Iterable[Sequence[Draw]]) -> Iterator[Batch]:
        """One batch per list of draws, in order; may read ahead."""
        ...

    def terms(self, update: Sequence[Draw]) -> tuple[str, ...]:
        """Names of the terms that an update with these draws has, the same in every process."""
        ...

    def loss(
        self, model: nn.Module, batch: Batch, draws: Sequence[Draw], update: Sequence[Draw]
    ) -> Terms:
        """A batch's share of the loss: every term is a mean over the images of the `update`.

        Args:
            model: `model`, or a wrapper of it: what is to be called for a gradient.
            batch: B images on the device.
            draws: of these B.
            update: of the whole update, over all batches and processes.
        """
        ...

    def samples(self, model: nn.Module, stopped: Callable[[], bool]) -> Samples | None:
        """Look at what the model has learnt; the first process alone asks. None: nothing to show.

        Raises:
            SamplingStopped: `stopped` said so.
        """
        ...

    def save_beside(self, folder: Path) -> None:
        """Write into a checkpoint what belongs there besides networks and configuration."""
        ...


@dataclass(frozen=True)
class Checked:
    """What a recipe found before anything was loaded.

    Attributes:
        model: the networks without weights (on the meta device), frozen as they will be.
        images: images that training draws from.
        data_sha256: hash of the data.
        must_match: as the recipe's; what is binding is asked before the run only where a name has
            changed, as hashing a base takes a while.
        told: label to value, lines of the plan that a person sees.
        notes: lines worth telling.
    """

    model: nn.Module
    images: int
    data_sha256: str
    must_match: Mapping[str, Fingerprint] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class NoOptions(Section):
    """The options of a recipe that has none of its own."""


@dataclass(frozen=True)
class RecipeSpec:
    """How a recipe is chosen, checked and built.

    Attributes:
        name: as in `recipe: NAME`.
        check: before any work, raises a UserError for whatever does not fit.
        build: networks, data and loss on the accelerator's device; the third argument is how many
            of the images that `check` counted are used (a rehearsal takes few).
        options: type of the section `recipe_options`, where a recipe of your own keeps settings
            that sfe.yaml does not know.
        best: numbers by which a checkpoint can be the best, and whether more is better; "loss" is
            one of every recipe.
        blocks: class names of the blocks that FSDP shards one by one.
        forms: other forms that its LoRA runs are packaged in unless asked for otherwise.
    """

    name: str
    check: Callable[[Workspace], Checked]
    build: Callable[[Workspace, Accelerator, int, Reporter], Recipe]
    options: type[Section] = NoOptions
    best: Mapping[str, bool] = field(default_factory=dict)
    blocks: tuple[str, ...] = ("BasicTransformerBlock", "ResnetBlock2D")
    forms: tuple[str, ...] = ()

    @property
    def higher_is_better(self) -> dict[str, bool]:
        """`best`, and the loss."""
        return {**self.best, "loss": False}
