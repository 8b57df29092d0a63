"""Sections of sfe.yaml that belong to the recipe of StableFaceEmotion.

The descriptions become a fresh sfe.yaml's comments.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sfe_core.config.sections import (
    After,
    Count,
    Fraction,
    GuidanceMap,
    LearningSection,
    NamesModel,
    Operational,
    Positive,
    Structural,
    Weight,
)
from sfe_core.config.training_sections import EngineConfig


class GuidanceConfig(LearningSection):
    """The encoders that add face geometry to the UNet."""

    maps: Structural[tuple[GuidanceMap, ...]] = Field(
        ("landmarks", "depth", "mesh"), description="maps that guide, in this order"
    )
    block_channels: Structural[tuple[Count, ...]] = Field(
        (16, 32, 96, 256), description="encoder widths; each after the first halves the map"
    )


class TrainConfig(EngineConfig):
    """The fine-tuning run. A step is one optimiser update."""

    best_metric: Operational[str] = Field(
        "top1",
        description="makes a checkpoint the best: top1 or guidance_error, read off its samples, "
        "or loss",
    )
    guidance_learning_rate: Annotated[Positive | None, After("learning_rate")] = Field(
        None, description="for the guidance encoders; null = learning_rate"
    )
    text_encoder: Structural[bool] = Field(
        False, description="train the text encoder too: words the base hardly knows are learnt"
    )
    text_encoder_learning_rate: Positive | None = Field(
        None, description="for the text encoder, if it is trained; null = learning_rate"
    )
    snr_gamma: Annotated[Positive | None, After("ema_decay")] = Field(
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
    balance_units: Fraction = Field(
        0.0, description="0 = action units as frequent as they are, 1 = rare ones drawn more often"
    )
    balance_subjects: Fraction = Field(
        0.0, description="0 = people as frequent as they are, 1 = uniform"
    )
    lora_rank: Annotated[Structural[int], Field(ge=0), After("ema_device")] = Field(
        0, description="rank of LoRA on the UNet's attention; 0 = train the UNet whole"
    )
    lora_modules: Structural[tuple[str, ...]] = Field(
        ("to_q", "to_k", "to_v", "to_out.0"),
        description="how names of UNet modules end that get LoRA; also ff.net.0.proj, ff.net.2, "
        "proj_in, proj_out, conv1, conv2",
    )
    lora_dora: Structural[bool] = Field(
        False, description="LoRA with a magnitude of its own per row (DoRA)"
    )
    text_encoder_lora_rank: Annotated[Structural[int], Field(ge=0)] = Field(
        0, description="rank of LoRA on the text encoder, if it is trained; 0 = train it whole"
    )
    samples_per_emotion: Annotated[Operational[Count], After("sample_every")] = Field(
        1, description="faces of each emotion in a sample grid"
    )


class LossConfig(LearningSection):
    """Weights of the composite loss; a weight of 0 skips that term and its cost."""

    noise: Weight = Field(0.92, description="noise prediction, by noise_loss")
    perceptual: Weight = Field(0.08, description="LPIPS on the decoded estimate")
    valence: Weight = Field(0.03, description="L1 on the recogniser's valence")
    arousal: Weight = Field(0.03, description="L1 on the recogniser's arousal")
    expression: Weight = Field(0.02, description="the recogniser's emotions, by expression_loss")
    features: Weight = Field(0.0, description="L1 on the recogniser's features, as in EMOCA")
    units: Weight = Field(0.0, description="L1 on the action units that units_network reads")
    identity: Weight = Field(
        0.0, description="1 - cosine of identity_network, to the person's photos or the photo"
    )
    crafting_expression: Weight = Field(
        0.0, description="the recogniser's emotions where a prompt asks what its photo lacks"
    )
    alignment: Weight = Field(
        0.0, description="fused features to the expression's in the mask, the person's outside"
    )
    noise_loss: Literal["l1", "l2", "huber"] = Field("l1", description="distance of the noise term")
    huber_delta: Positive = Field(
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
    units_network: NamesModel[str] = Field(
        "tiny-units-loss", description="reader of action units of that term: asset name or folder"
    )
    identity_network: NamesModel[str] = Field(
        "tiny-identity", description="embedder of the identity term: asset name or folder"
    )
    pixel_fraction: Fraction = Field(1.0, description="share of a batch that is decoded for them")
    pixel_min_timestep: Annotated[int, Field(ge=0, le=999)] = Field(
        0, description="decoded only from this timestep on"
    )
    pixel_max_timestep: Annotated[int, Field(ge=1, le=1000)] = Field(
        1000, description="decoded only below this timestep; 1000 = all, as in the original"
    )
    pixel_min_snr: Positive | None = Field(
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
