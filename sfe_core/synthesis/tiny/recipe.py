"""Every number of the tiny weights' training, in one place; the model cards print them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FaceSet:
    """A set of synthetic faces: how many, drawn from which identities, under which seed."""

    count: int
    identities: tuple[int, int]
    seed: int


@dataclass(frozen=True)
class Phase:
    """A stretch of the base's training: one learning-rate cycle, one share of telling captions.

    Web captions seldom say what a face feels; `emotion_caption_share` of the base's captions do.
    `cycle` is the length of the learning rate's cycle where the phase ends before it.
    """

    steps: int
    learning_rate: float
    emotion_caption_share: float
    cycle: int | None = None


@dataclass(frozen=True)
class Recipe:
    """Settings of the build. Identities of the demo (3584 to 4095) appear in no set here."""

    image_px: int = 64
    render_px: int = 128
    crop_scale: float = 1.5
    # The base sees both halves; the loss recogniser only the first, the judge only the second.
    loss_faces: FaceSet = FaceSet(6000, (0, 1500), 101)
    judge_faces: FaceSet = FaceSet(6000, (1500, 3000), 202)
    validation_faces: FaceSet = FaceSet(800, (3000, 3584), 303)

    vae_channels: tuple[int, ...] = (32, 64, 96)
    vae_steps: int = 1200
    vae_batch: int = 16
    vae_learning_rate: float = 1e-3
    vae_kl_weight: float = 1e-6

    recogniser_epochs: int = 14
    recogniser_batch: int = 64
    recogniser_learning_rate: float = 2e-3

    text_width: int = 128
    text_layers: int = 4
    text_tokens: int = 32
    vocabulary: int = 1000
    unet_channels: tuple[int, ...] = (64, 96, 128)
    base_phases: tuple[Phase, ...] = (
        Phase(3500, 5e-4, 0.03),
        Phase(900, 3e-4, 0.10),
        Phase(4100, 5e-4, 0.10, cycle=7000),
        Phase(3500, 4e-4, 0.20),
    )
    base_batch: int = 32
    base_ema: float = 0.998
    caption_dropout: float = 0.1
    seed: int = 7


RECIPE = Recipe()
