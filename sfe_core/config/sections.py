"""What the sections of sfe.yaml are made of: kinds of values, what a field means, the section.

A field says what it means by its annotation (`Operational[Count]`), and nowhere else: whoever needs
all fields of one meaning asks `fields_that`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from sfe_core.emotions import EMOTIONS

GuidanceMap = Literal["landmarks", "depth", "mesh"]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
# What every generator of random numbers takes, on every machine.
Seed = Annotated[int, Field(ge=0, lt=2**63)]


def _in_order(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"{ends[0]} to {ends[1]} is empty: give [least, most]")
    return ends


Range = Annotated[tuple[Fraction, Fraction], AfterValidator(_in_order)]
Grey = Annotated[float, Field(ge=0.0, le=255.0)]
GreyRange = Annotated[tuple[Grey, Grey], AfterValidator(_in_order)]
Span = Annotated[tuple[float, float], AfterValidator(_in_order)]


def _known(emotion: str) -> str:
    if emotion not in EMOTIONS:
        raise ValueError(f"{emotion!r} is not an emotion; allowed: {', '.join(EMOTIONS)}")
    return emotion


Emotion = Annotated[str, AfterValidator(_known)]


class Meaning(Enum):
    """What a field is, beside its value; one may mean several things."""

    MODEL = "names a model: an asset, or a path that is meant from the workspace"
    OPERATIONAL = "bears on speed, memory and what is written down, not on what is learnt"
    STRUCTURAL = "decides which weights and moments a checkpoint holds"
    FACE = "decides which faces a photo has and where their landmarks are"
    CROP = "shapes the square crop round a face"
    HEAD = "shapes the reconstructed head"
    DEPTH = "shapes the depth map, beside the head"
    NORMALS = "shapes the normals and the shading of the buffers, beside the head"


T = TypeVar("T")
NamesModel = Annotated[T, Meaning.MODEL]
Operational = Annotated[T, Meaning.OPERATIONAL]
Structural = Annotated[T, Meaning.STRUCTURAL]
ShapesFace = Annotated[T, Meaning.FACE]
ShapesCrop = Annotated[T, Meaning.CROP]
ShapesHead = Annotated[T, Meaning.HEAD]
ShapesDepth = Annotated[T, Meaning.DEPTH]
ShapesNormals = Annotated[T, Meaning.NORMALS]


@dataclass(frozen=True)
class After:
    """On a field that a section adds to the one it extends: the key that it follows in sfe.yaml.

    The fields below it come after it; without one they stand at the section's end.
    """

    key: str


class Section(BaseModel):
    """A section of sfe.yaml. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Put the fields that a section adds where `After` says."""
        super().__pydantic_init_subclass__(**kwargs)
        fields, place = cls.model_fields, ""
        order = list(fields)
        for name in cls.__annotations__:
            place = next((m.key for m in fields[name].metadata if isinstance(m, After)), place)
            if place:
                order.remove(name)
                order.insert(order.index(place) + 1, name)
                place = name
        if order != list(fields):
            cls.__pydantic_fields__ = {name: fields[name] for name in order}
            cls.model_rebuild(force=True)


class LearningSection(Section):
    """A section that decides what a run learns.

    A field of it that changed since a checkpoint is refused on resuming: always where it is
    `Structural`, never where it is `Operational`, else unless the change is accepted.
    """


def fields_that(section: type[BaseModel], meaning: Meaning) -> tuple[str, ...]:
    """The names of a section's fields that have a meaning, in their order.

    >>> class Mine(Section):
    ...     workers: Operational[int] = 0
    ...     steps: int = 1
    >>> fields_that(Mine, Meaning.OPERATIONAL)
    ('workers',)
    """
    return tuple(name for name, f in section.model_fields.items() if meaning in f.metadata)
