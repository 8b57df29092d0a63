"""Sections of sfe.yaml about training. The descriptions become a fresh sfe.yaml's comments."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sfe_core.config.sections import (
    Count,
    Emotion,
    Fraction,
    GuidanceMap,
    LearningSection,
    NamesModel,
    Operational,
    Seed,
    Span,
    Structural,
    Weight,
)


class ModelConfig(LearningSection):
    """The Stable Diffusion that is fine-tuned."""

    base: NamesModel[str] = Field(
        "tiny-sd", description="asset name, or folder of a diffusers pipeline"
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


class GuidanceConfig(LearningSection):
    """The encoders that add face geometry to the UNet."""

    maps: Structural[tuple[GuidanceMap, ...]] = Field(
        ("landmarks", "depth", "mesh"), description="maps that guide, in this order"
    )
    block_channels: Structural[tuple[Count, ...]] = Field(
        (16, 32, 96, 256), description="encoder widths; each after the first halves the map"
    )


class TrainConfig(LearningSection):
    """The fine-tuning run. A step is one optimiser update."""

    steps: Count = Field(1000, description="optimiser updates")
    batch_size: Operational[Count] = Field(4, description="images per device and forward pass")
    effective_batch: Count = Field(64, description="images per update, over all devices")
    learning_rate: Annotated[float, Field(gt=0)] = Field(5e-6, description="AdamW, peak")
    guidance_learning_rate: Annotated[float, Field(gt=0)] | None = Field(
        None, description="for the guidance encoders; null = learning_rate"
    )
    text_encoder: Structural[bool] = Field(
        False, description="train the text encoder too: words the base hardly knows are learnt"
    )
    text_encoder_learning_rate: Annotated[float, Field(gt=0)] | None = Field(
        None, description="for the text encoder, if it is trained; null = learning_rate"
    )
    schedule: Literal["constant", "linear", "cosine", "polynomial"] = Field(
        "polynomial", description="learning rate after warm-up"
    )
    warmup_steps: Annotated[int, Field(ge=0)] = Field(0, description="linear warm-up, updates")
    weight_decay: Weight = Field(0.01, description="AdamW")
    max_gradient_norm: Annotated[float, Field(gt=0)] = Field(1.0, description="clipped above")
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.999, description="exponential moving average of the weights; 0 = none"
    )
    snr_gamma: Annotated[float, Field(gt=0)] | None = Field(
        0.8, description="min-SNR weighting; null = none"
    )
    noise_offset: Weight = Field(
        0.0, description="strength of one more noise per channel; 0.05 frees brightness"
    )
    input_perturbation: Weight = Field(
        0.0, description="extra noise that the UNet sees and need not predict; 0.1 in the original"
    )
    caption_dropout: Fraction = Field(0.1, description="share of images trained without caption")
    guidance_dropout: Fraction = Field(0.3, description="share of images trained without maps")
    frozen: Structural[tuple[str, ...]] = Field(
        ("up_blocks.3",), description="UNet modules left as they are"
    )
    balance: Fraction = Field(0.9, description="0 = emotions as frequent as they are, 1 = uniform")
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
    optimiser: Structural[Literal["adamw", "adamw-8bit"]] = Field(
        "adamw", description="adamw-8bit: a quarter of the moments' memory, on GPUs"
    )
    ema_device: Operational[Literal["model", "cpu"]] = Field(
        "model", description="where the average is kept: beside the model, or in the CPU's memory"
    )
    lora_rank: Structural[Annotated[int, Field(ge=0)]] = Field(
        0, description="rank of LoRA on the UNet's attention; 0 = train the UNet whole"
    )
    seed: Seed = Field(42, description="draws order, noise and timesteps")
    log_every: Operational[Count] = Field(10, description="updates between lines of metrics.jsonl")
    checkpoint_every: Operational[Count] = Field(100, description="updates between checkpoints")
    keep_checkpoints: Operational[Count] = Field(
        3, description="newest checkpoints kept; the best is, too"
    )
    best_metric: Operational[Literal["top1", "guidance_error", "loss"]] = Field(
        "top1", description="makes a checkpoint the best; the first two are read off its samples"
    )
    sample_every: Operational[Annotated[int, Field(ge=0)] | None] = Field(
        None, description="updates between sample grids; null = each checkpoint, 0 = at the end"
    )
    samples_per_emotion: Operational[Count] = Field(
        1, description="faces of each emotion in a sample grid"
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


class LossConfig(LearningSection):
    """Weights of the composite loss; a weight of 0 skips that term and its cost."""

    noise: Weight = Field(0.92, description="noise prediction, by noise_loss")
    perceptual: Weight = Field(0.08, description="LPIPS on the decoded estimate")
    valence: Weight = Field(0.03, description="L1 on the recogniser's valence")
    arousal: Weight = Field(0.03, description="L1 on the recogniser's arousal")
    expression: Weight = Field(0.02, description="the recogniser's emotions, by expression_loss")
    features: Weight = Field(0.0, description="L1 on the recogniser's features, as in EMOCA")
    noise_loss: Literal["l1", "l2", "huber"] = Field("l1", description="distance of the noise term")
    huber_delta: Annotated[float, Field(gt=0)] = Field(
        0.1, description="noise_loss huber: errors above it count linearly"
    )
    expression_loss: Literal["l1", "kl", "cross-entropy"] = Field(
        "l1", description="l1 (logits) or kl to the photo's reading, cross-entropy to its label"
    )
    emotion_target: Literal["photo", "label"] = Field(
        "photo", description="valence and arousal aim at the photo's reading, or at its label"
    )
    perceptual_network: Literal["st-lpips", "lpips-vgg", "lpips-alex"] = Field(
        "st-lpips", description="network of the perceptual term"
    )
    emotion_network: NamesModel[str] = Field(
        "tiny-emotion-loss", description="recogniser of the emotion terms: asset name or folder"
    )
    pixel_fraction: Fraction = Field(1.0, description="share of a batch that is decoded for them")
    pixel_min_timestep: Annotated[int, Field(ge=0, le=999)] = Field(
        0, description="decoded only from this timestep on"
    )
    pixel_max_timestep: Annotated[int, Field(ge=1, le=1000)] = Field(
        1000, description="decoded only below this timestep; 1000 = all, as in the original"
    )
    pixel_min_snr: Annotated[float, Field(gt=0)] | None = Field(
        None, description="decoded only where the signal-to-noise ratio is above; null = anywhere"
    )
    pixel_ramp: Annotated[int, Field(ge=0, le=1000)] = Field(
        100, description="timesteps over which those limits fade in and out; 0 = sharp"
    )
    pixel_decoder: NamesModel[str] = Field(
        "vae", description="vae, or a small AutoencoderTiny: taesd, or a folder"
    )
    decode_chunk: Operational[Count | None] = Field(
        None, description="images decoded at once, for less memory; null = all of a batch"
    )
