"""What a package may hold besides the pipeline folder, and in which form its weights are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from sfe_core.errors import UserError
from sfe_core.packaging.weights import PRECISIONS, Precision

Extra = Literal["single-file", "lora-diffusers", "lora-kohya", "stableface"]
EXTRAS: dict[Extra, str] = {
    "single-file": "one .safetensors in the original layout, for ComfyUI, A1111, from_single_file",
    "lora-diffusers": "the UNet's change as a LoRA, for load_lora_weights",
    "lora-kohya": "the same in kohya's layout, for ComfyUI and A1111",
    "stableface": "the StableFace project's layout: UNet on top, one .bin per guidance encoder",
}


@dataclass(frozen=True)
class PackageOptions:
    """The form of a package.

    Args:
        precision: of all weights; None leaves each file as the base and the run stored it.
        shard_size: the most that one weight file holds, such as 2GB; None = one file per part.
        extras: what is written besides the pipeline folder.
        lora_rank: of the LoRA; None = the run's own rank, else 32.
        safety_checker: keep the base's, if it has one.

    Raises:
        UserError: a value that is not allowed.
    """

    precision: Precision | None = None
    shard_size: str | None = None
    extras: tuple[Extra, ...] = ()
    lora_rank: int | None = None
    safety_checker: bool = True

    def __post_init__(self) -> None:
        if self.precision is not None and self.precision not in PRECISIONS:
            allowed = ", ".join(PRECISIONS)
            raise UserError("--dtype", f"{self.precision!r} is unknown", f"use {allowed}")
        for extra in self.extras:
            if extra not in EXTRAS:
                raise UserError("--also", f"{extra!r} is unknown", f"use {', '.join(EXTRAS)}")
        if self.lora_rank is not None and self.lora_rank < 1:
            raise UserError("--lora-rank", f"{self.lora_rank}", "give at least 1")

    def to_json(self) -> dict[str, Any]:
        """As a plain dict; extras in a fixed order."""
        return asdict(self) | {"extras": sorted(self.extras)}

    @property
    def converts(self) -> bool:
        """Whether the base's weight files must be written anew."""
        return self.precision is not None or self.shard_size is not None
