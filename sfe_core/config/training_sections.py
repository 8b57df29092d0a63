"""Sections of sfe.yaml that every recipe has: the base, the engine's run, the data.

A recipe's own sections lie beside these, and its section `train` extends `EngineConfig`. The
descriptions become a fresh sfe.yaml's comments.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sfe_core.config.sections import (
    Count,
    Emotion,
    Fraction,
    LearningSection,
    NamesModel,
    Operational,
    Positive,
    Seed,
    Span,
    Structural,
    Weight,
)

NO_BASE = "none"  # model.base of a run that starts from random weights


class ModelConfig(LearningSection):
    """The Stable Diffusion that is fine-tuned."""

    base: NamesModel[str] = Field(
        "tiny-sd",
        description="asset name, or folder of a diffusers pipeline; recipe physical: also "
        "model*.pt, or none = random weights",
    )
    resolution: Annotated[int, Field(ge=32, le=1024, multiple_of=8)] = Field(
        64, description="training and sampling side, pixels"
    )
    prediction: Literal["base", "epsilon", "v_prediction"] = Field(
        "base", description="what the UNet predicts; base = as the base model does"
    )
    zero_terminal_snr: bool = Field(
        False, description="last timestep all noise; needs v_prediction, and train.snr_gamma null"
    )


class EngineConfig(LearningSection):
    """The run of any recipe. A step is one optimiser update."""

    steps: Count = Field(1000, description="optimiser updates")
    batch_size: Operational[Count] = Field(4, description="images per device and forward pass")
    effective_batch: Count = Field(64, description="images per update, over all devices")
    learning_rate: Positive = Field(5e-6, description="AdamW, peak")
    schedule: Literal["constant", "linear", "cosine", "polynomial", "wsd"] = Field(
        "polynomial",
        description="learning rate after warm-up; wsd = constant, falling over the last fifth",
    )
    warmup_steps: Annotated[int, Field(ge=0)] = Field(0, description="linear warm-up, updates")
    weight_decay: Weight = Field(0.01, description="AdamW")
    max_gradient_norm: Positive = Field(1.0, description="clipped above")
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.999, description="exponential moving average of the weights; 0 = none"
    )
    mixed_precision: Literal["auto", "no", "fp16", "bf16"] = Field(
        "no", description="forward pass in; auto = bf16 where the device computes in it, else no"
    )
    gradient_checkpointing: Operational[bool] = Field(
        False, description="less memory, a third more time"
    )
    channels_last: Operational[bool] = Field(
        False, description="memory order that GPUs' half precision prefers"
    )
    compile: Operational[bool] = Field(
        False, description="torch.compile the UNet; slow start, faster updates"
    )
    optimiser: Structural[Literal["adamw", "adamw-8bit", "prodigy"]] = Field(
        "adamw",
        description="adamw-8bit: a quarter of the moments' memory, on GPUs; prodigy finds the "
        "rate itself: learning_rate 1",
    )
    ema_device: Operational[Literal["model", "cpu"]] = Field(
        "model", description="where the average is kept: beside the model, or in the CPU's memory"
    )
    seed: Seed = Field(42, description="draws order, noise and timesteps")
    log_every: Operational[Count] = Field(10, description="updates between lines of metrics.jsonl")
    checkpoint_every: Operational[Count] = Field(100, description="updates between checkpoints")
    keep_checkpoints: Operational[Count] = Field(
        3, description="newest checkpoints kept; the best is, too"
    )
    best_metric: Operational[str] = Field("loss", description="makes a checkpoint the best")
    sample_every: Operational[Annotated[int, Field(ge=0)] | None] = Field(
        None, description="updates between sample grids; null = each checkpoint, 0 = at the end"
    )
    trackers: Operational[tuple[Literal["tensorboard", "wandb", "trackio"], ...]] = Field(
        ("tensorboard",), description="where the curves go, beside metrics.jsonl"
    )
    max_skipped_updates: Operational[Count] = Field(
        10, description="stop after so many NaN or infinite updates in a row"
    )
    loader_workers: Operational[Annotated[int, Field(ge=0)]] = Field(
        0, description="image-reading processes"
    )


class DataConfig(LearningSection):
    """Which faces are learnt from, how they are varied, and where they are kept meanwhile."""

    emotions: tuple[Emotion, ...] = Field(
        (), description="only faces with one of these labels; empty = all, labelled or not"
    )
    person: Structural[str | None] = Field(
        None, description="only photos of this person, a folder of photos/; null = everybody's"
    )
    ranges: dict[str, Span] = Field(
        {},
        description="only faces whose number of that name is in [least, most]: valence, yaw, ...",
    )
    flip: Fraction = Field(0.0, description="share of images mirrored, left and right with them")
    crop_least: Annotated[float, Field(ge=0.5, le=1.0)] = Field(
        1.0, description="side of the smallest random crop, share of the whole; 1 = no crops"
    )
    crop_count: Count = Field(4, description="random crops per face, if there are any")
    cache: Operational[Literal["auto", "memory", "disk", "none"]] = Field(
        "auto",
        description="where latents and text embeddings are kept; auto = memory if they fit, "
        "else disk",
    )
