"""Which family a base model is of: every file of this folder with a `FAMILY` is asked."""

from __future__ import annotations

import importlib
import pkgutil
from functools import lru_cache

from diffusers import DiffusionPipeline, ModelMixin
from transformers import PreTrainedModel

from sfe_core.diffusion import families
from sfe_core.diffusion.families.contract import BaseConfigs, Family
from sfe_core.errors import UserError


@lru_cache(maxsize=1)
def known_families() -> tuple[Family, ...]:
    """All of them, by the names of their files."""
    names = sorted(module.name for module in pkgutil.iter_modules(families.__path__))
    modules = [importlib.import_module(f"{families.__name__}.{name}") for name in names]
    return tuple(module.FAMILY for module in modules if hasattr(module, "FAMILY"))


def family_drawn_by(pipeline: DiffusionPipeline) -> Family:
    """The family that a loaded pipeline draws.

    Raises:
        UserError: none does.
    """
    for family in known_families():
        if isinstance(pipeline, family.pipeline):
            return family
    kind = type(pipeline).__name__
    raise UserError(kind, "is a pipeline that no family draws with", "give one of a known family")


def networks_of(
    base: BaseConfigs, where: str = "model.base"
) -> dict[str, type[ModelMixin] | type[PreTrainedModel]]:
    """The parts of a base that have weights, with the class of each; see `family_of`."""
    kinds = family_of(base, where).parts(base)
    return {
        name: kind
        for name, kind in kinds.items()
        if issubclass(kind, (ModelMixin, PreTrainedModel))
    }


def family_of(base: BaseConfigs, where: str = "model.base") -> Family:
    """The family that recognises a base.

    Raises:
        UserError: none does; says what the base is.
    """
    for family in known_families():
        if family.recognises(base):
            return family
    names = ", ".join(family.name for family in known_families())
    kind = base.index.get("_class_name", "a pipeline")
    raise UserError(
        f"{where}: {base.place}", f"is {kind}, which no family knows", f"known: {names}"
    )
