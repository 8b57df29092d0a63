"""Every number of the tiny weights' training, in one place; the model cards print them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

# Shares of AffectNet's eight emotions among photos as the web has them: people mostly look
# neutral or smile for the camera.
WEB_SHARES = (0.45, 0.35) + (0.2 / 6,) * 6


@dataclass(frozen=True)
class FaceSet:
    """A set of synthetic faces.

    Attributes:
        count: how many.
        identities: first, and one beyond the last, of the people in it.
        seed: draws everything else.
        shares: of the emotions, in the order of `EMOTIONS`; empty: each as often as the others.
        wide: framed, posed and lit as variously as photos from the web are, not as a corpus.
        random_units: they show action units at random in place of emotions.
    """

    count: int
    identities: tuple[int, int]
    seed: int
    shares: tuple[float, ...] = ()
    wide: bool = False
    random_units: bool = False


@dataclass(frozen=True)
class Phase:
    """A stretch of the base's training with one share of telling captions.

    Web captions seldom say what a face feels; `emotion_caption_share` of the base's captions do.
    """

    steps: int
    emotion_caption_share: float


@dataclass(frozen=True)
class Settings:
    """Settings of the build. Identities of the demo (3584 to 4095) appear in no set here."""

    image_px: int = 128
    # A crop is about three quarters of a render: it keeps the size of its pixels.
    render_px: int = 168
    crop_scale: float = 1.5
    wide_crop_scale: tuple[float, float] = (1.35, 2.1)
    # The loss recogniser learns from the first set, the judge from the second, the base from the
    # third; `unseen` is drawn as the base's are, `validation` as the recognisers'.
    loss_faces: FaceSet = FaceSet(3000, (0, 1500), 101)
    judge_faces: FaceSet = FaceSet(3000, (1500, 3000), 202)
    base_faces: FaceSet = FaceSet(11000, (0, 3000), 707, WEB_SHARES, wide=True)
    validation_faces: FaceSet = FaceSet(600, (3000, 3584), 303)
    # The readers of action units learn from these as well, on which units do not come in emotions.
    units_loss_faces: FaceSet = FaceSet(8000, (0, 1500), 404, random_units=True)
    units_judge_faces: FaceSet = FaceSet(8000, (1500, 3000), 505, random_units=True)
    units_validation_faces: FaceSet = FaceSet(400, (3000, 3584), 606, random_units=True)
    unseen_faces: FaceSet = FaceSet(512, (3000, 3584), 808, WEB_SHARES, wide=True)

    vae_channels: tuple[int, ...] = (16, 32, 96, 128)
    latent_channels: int = 8
    vae_crop_steps: int = 9000
    vae_crop_px: int = 64
    vae_whole_steps: int = 900
    vae_batch: int = 8
    vae_learning_rate: float = 1e-3
    vae_kl_weight: float = 1e-6
    vae_perceptual_weight: float = 0.1
    # Images of a batch that the perceptual distance compares, in the steps on whole images.
    vae_perceptual_images: int = 2

    reader_batch: int = 64
    reader_learning_rate: float = 2e-3
    reader_weight_decay: float = 0.05
    emotion_updates: int = 1800
    units_updates: int = 8000
    identity_updates: int = 2200
    # CosFace's scale of the cosines, and the margin a face must be nearer to its own person by.
    identity_scale: float = 20.0
    identity_margin: float = 0.25
    # Share of the training faces that readers also see as the autoencoder gives them back, with
    # noise of up to this standard deviation on latents whose own is 1.
    reader_decoded_share: float = 0.25
    reader_latent_noise: float = 0.4

    text_width: int = 128
    text_layers: int = 4
    text_tokens: int = 48
    vocabulary: int = 1000
    unet_channels: tuple[int, ...] = (96, 128, 192)
    base_steps: int = 16000
    # The last phase lasts to the end.
    base_phases: tuple[Phase, ...] = (Phase(4000, 0.04), Phase(12000, 0.08))
    base_learning_rate: float = 7e-4
    base_warmup: int = 500
    base_batch: int = 32
    base_ema: float = 0.9995
    base_checkpoint_every: int = 500
    base_score_every: int = 1000
    caption_dropout: float = 0.1
    seed: int = 7

    def emotion_caption_share(self, step: int) -> float:
        """Share of captions that name the emotion in an update; the last phase's beyond the end."""
        for phase in self.base_phases:
            if step < phase.steps:
                break
            step -= phase.steps
        return phase.emotion_caption_share


SETTINGS = Settings()


def settings_of(values: Mapping[str, Any]) -> Settings:
    """`SETTINGS` with other values, as `dataclasses.asdict` and a way through JSON leave them."""
    read: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(getattr(SETTINGS, name), FaceSet):
            read[name] = FaceSet(**{key: _tuples(inner) for key, inner in value.items()})
        elif name == "base_phases":
            read[name] = tuple(Phase(**phase) for phase in value)
        else:
            read[name] = _tuples(value)
    return replace(SETTINGS, **read)


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
