"""Every number of the tiny weights' training, in one place; the model cards print them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FaceSet:
    """A set of synthetic faces: how many, drawn from which identities, under which seed.

    With `random_units` they show action units at random in place of emotions.
    """

    count: int
    identities: tuple[int, int]
    seed: int
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

    image_px: int = 64
    render_px: int = 128
    crop_scale: float = 1.5
    # The base sees both halves; the loss recogniser only the first, the judge only the second.
    loss_faces: FaceSet = FaceSet(6000, (0, 1500), 101)
    judge_faces: FaceSet = FaceSet(6000, (1500, 3000), 202)
    validation_faces: FaceSet = FaceSet(800, (3000, 3584), 303)
    # The readers of action units learn from these as well, on which units do not come in emotions.
    units_loss_faces: FaceSet = FaceSet(2500, (0, 1500), 404, random_units=True)
    units_judge_faces: FaceSet = FaceSet(2500, (1500, 3000), 505, random_units=True)
    units_validation_faces: FaceSet = FaceSet(600, (3000, 3584), 606, random_units=True)

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
        Phase(3500, 0.03),
        Phase(5000, 0.10),
        Phase(3500, 0.20),
    )
    base_learning_rate: float = 5e-4
    base_warmup: int = 100
    base_batch: int = 32
    base_ema: float = 0.998
    caption_dropout: float = 0.1
    seed: int = 7

    @property
    def base_steps(self) -> int:
        """Updates of the base, over all phases."""
        return sum(phase.steps for phase in self.base_phases)

    def emotion_caption_share(self, step: int) -> float:
        """Share of captions that name the emotion in an update; the last phase's beyond the end."""
        for phase in self.base_phases:
            if step < phase.steps:
                break
            step -= phase.steps
        return phase.emotion_caption_share


SETTINGS = Settings()
