"""What `search_tiny` tries: the tiny preset with one setting changed at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sfe_core.config.loading import preset_config
from sfe_core.config.model import Config

# Times the preset's own value.
FACTORS: dict[str, tuple[float, ...]] = {
    "train.learning_rate": (0.1, 0.3, 0.5, 2.0),
    "train.guidance_learning_rate": (0.3, 0.5, 2.0),
    "train.text_encoder_learning_rate": (0.1, 0.3, 2.0),
    "train.steps": (0.5, 2.0),
    "loss.noise": (3.0,),
    "loss.perceptual": (0.0, 3.0),
    "loss.valence": (0.0, 3.0),
    "loss.arousal": (0.0, 3.0),
    "loss.expression": (0.0, 3.0),
}
# Instead of the preset's own value.
VALUES: dict[str, tuple[Any, ...]] = {
    "train.ema_decay": (0.0, 0.95, 0.99, 0.995),
    "train.schedule": ("constant", "linear"),
    "train.snr_gamma": (None, 1.0),
    "train.noise_offset": (0.05,),
    "train.caption_dropout": (0.0, 0.05, 0.2),
    "train.guidance_dropout": (0.1, 0.5),
    "train.text_encoder": (False,),
    "loss.noise_loss": ("l2", "huber"),
    "loss.expression_loss": ("kl", "cross-entropy"),
    "loss.emotion_target": ("label",),
    "loss.pixel_max_timestep": (300, 800, 1000),
    "loss.pixel_fraction": (0.5, 1.0),
    "sampling.guidance_scale": (1.5, 2.0, 3.0, 6.0),
    "sampling.scheduler": ("ddim", "unipc"),
    "sampling.steps": (10, 15, 40),
}
AS_IT_IS = "preset"


def candidates(preset: Config | None = None) -> dict[str, tuple[str, ...]]:
    """Name → overrides as of `--set`, the preset itself first; none that changes nothing.

    Args:
        preset: whose values are multiplied; None = the tiny one's.
    """
    values = (preset or preset_config("tiny")).model_dump(mode="json")
    found: dict[str, tuple[str, ...]] = {AS_IT_IS: ()}
    for key, factors in FACTORS.items():
        own = _value(values, key)
        for factor in factors:
            if own:
                found |= _candidate(key, own, type(own)(own * factor))
    for key, others in VALUES.items():
        for other in others:
            found |= _candidate(key, _value(values, key), other)
    return found


def _value(values: Mapping[str, Any], key: str) -> Any:
    section, _, name = key.partition(".")
    return values[section][name]


def _candidate(key: str, own: Any, other: Any) -> dict[str, tuple[str, ...]]:
    if own == other:
        return {}
    text = "null" if other is None else f"{other:g}" if isinstance(other, float) else str(other)
    if isinstance(other, float) and "e" in text and "." not in text:
        text = text.replace("e", ".0e")  # YAML 1.1 takes 4e-05 for a text
    return {f"{key}={text}": (f"{key}={text}",)}
