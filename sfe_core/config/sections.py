"""What the sections of sfe.yaml are made of: the kinds of values, and the section itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from sfe_core.emotions import EMOTIONS

GuidanceMap = Literal["landmarks", "depth", "mesh"]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0)]
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
        raise ValueError(f"{emotion!r} is no emotion; allowed: {', '.join(EMOTIONS)}")
    return emotion


Emotion = Annotated[str, AfterValidator(_known)]


class Section(BaseModel):
    """A section of sfe.yaml. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
