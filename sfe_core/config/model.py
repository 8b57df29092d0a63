"""Every field of sfe.yaml: its type, its default and what it means, in one place.

The descriptions become the comments of a fresh sfe.yaml, so they are written for its reader.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

GuidanceMap = Literal["landmarks", "depth", "mesh"]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]


def _in_order(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"{ends[0]} to {ends[1]} is empty: give [least, most]")
    return ends


Range = Annotated[tuple[Fraction, Fraction], AfterValidator(_in_order)]


class Section(BaseModel):
    """A section of sfe.yaml. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PhotosConfig(Section):
    """Where the photographs and what is known of them lie."""

    folder: str = Field("photos", description="folder of photos, below the workspace")
    labels: str = Field("labels.csv", description="labels below that folder, if any")
    captions: str = Field("captions.json", description="captions below that folder, if any")


class PreprocessConfig(Section):
    """From photos to a corpus: crops, landmarks, mesh, depth."""

    detector: Literal["dlib", "face-alignment"] = Field(
        "dlib", description="finds the face and its 68 landmarks"
    )
    box_detector: Literal["sfd", "blazeface", "dlib"] = Field(
        "sfd", description="finds the boxes for detector face-alignment"
    )
    reconstruction: Literal["anny", "emoca", "deca"] = Field(
        "anny", description="the head: Anny fitted to the landmarks, or EMOCA's, DECA's networks"
    )
    reconstruction_model: str | None = Field(
        None,
        description="networks of emoca or deca: asset name or path; null = emoca-v2, or deca",
    )
    flame: str = Field(
        "flame-2020", description="FLAME below emoca and deca: asset name, its .pkl or a folder"
    )
    depth: Literal["mesh", "zoedepth"] = Field(
        "mesh", description="depth of the fitted mesh, or ZoeDepth's estimate"
    )
    depth_input: Literal["crop", "photo"] = Field(
        "crop", description="what ZoeDepth looks at: the crop, or the whole photo"
    )
    face_choice: Literal["largest", "central", "best", "all"] = Field(
        "largest", description="which face counts when a photo holds several; all = one row each"
    )
    crop_rule: Literal["landmarks", "emoca", "emoca-bbox", "face-alignment"] = Field(
        "landmarks", description="how the square round the face is found"
    )
    crop_size: Annotated[int, Field(ge=32, le=2048, multiple_of=8)] = Field(
        512, description="side of the square crop and of its maps, pixels"
    )
    crop_scale: Annotated[float, Field(ge=1.0, le=4.0)] | None = Field(
        None, description="side of the crop over the rule's box; null = the rule's own scale"
    )
    min_face_px: Count = Field(32, description="smaller faces are passed over, pixels")
    max_megapixels: Annotated[float, Field(gt=0)] = Field(
        100.0, description="larger photos are refused rather than decoded"
    )
    canvas: bool = Field(True, description="also paste the mesh render on the full photo")
    full_canvas: bool = Field(False, description="also every map in the photo's own frame")
    overlay: bool = Field(False, description="also blends of photo and maps, to look at")
    save_meshes: bool = Field(False, description="also the heads as .obj")
    save_detailed_meshes: bool = Field(
        False, description="also EMOCA's and DECA's heads with fine detail as .obj, some MB each"
    )
    save_buffers: bool = Field(False, description="also normals, albedo and Lambertian render")
    caption_template: str = Field(
        "{emotion}, close-up photo of a face",
        description="caption where captions.json has none; may hold {emotion}, {person}, {age}, "
        "{gender}, {ethnicity}, {action_units}",
    )
    workers: Annotated[int, Field(ge=0)] = Field(0, description="processes; 0 = one per CPU core")


class QualityConfig(Section):
    """What a usable face's pictures look like; others get status out_of_range. [least, most]."""

    mesh_coverage: Range = Field((0.05, 0.95), description="share of the crop that the mesh fills")
    landmarks_on_mesh: Range = Field(
        (0.6, 1.0), description="share of the 51 inner landmarks that lie on the mesh"
    )
    landmarks_drawn: Range = Field(
        (0.0005, 0.5), description="share of the crop that the drawn landmarks fill"
    )
    depth_relief: Range = Field(
        (0.0005, 1.0), description="5th to 95th percentile of depth on the face, share of its range"
    )
    depth_clipped: Range = Field(
        (0.0, 0.05), description="share of the depth map at the end of its range"
    )
    least_sharpness: Weight = Field(
        0.0, description="variance of the Laplacian of the crop, grey levels squared"
    )


class CorpusConfig(Section):
    """Where the other commands read the faces from."""

    shards: str = Field(
        "", description="folder or URL of `sfe corpus export` to read; empty = corpus/"
    )


class CaptionsConfig(Section):
    """The texts that faces are trained with."""

    sources: tuple[str, ...] = Field(
        ("file|template",),
        description="parts of a caption, a|b = the first that has a text, out of: "
        "file, template, attributes, action_units, blip",
    )
    blip_model: str = Field("blip-base", description="asset name, or folder, of BLIP captioning")


class SplitConfig(Section):
    """How the corpus is divided; identities never stand on both sides."""

    validation_name: str = Field("val300", description="name of the held-out split")
    validation_count: Count = Field(300, description="its size ...")
    validation_fraction: Fraction = Field(0.15, description="... but at most this share of all")


class ModelConfig(Section):
    """The Stable Diffusion that is fine-tuned."""

    base: str = Field("tiny-sd", description="asset name, or folder of a diffusers pipeline")
    resolution: Annotated[int, Field(ge=32, le=1024, multiple_of=8)] = Field(
        64, description="training and sampling side, pixels"
    )


class GuidanceConfig(Section):
    """The encoders that add face geometry to the UNet."""

    maps: tuple[GuidanceMap, ...] = Field(
        ("landmarks", "depth", "mesh"), description="maps that guide, in this order"
    )
    block_channels: tuple[Count, ...] = Field(
        (16, 32, 96, 256), description="encoder widths; each after the first halves the map"
    )


class TrainConfig(Section):
    """The fine-tuning run. A step is one optimiser update."""

    steps: Count = Field(1000, description="optimiser updates")
    batch_size: Count = Field(4, description="images per device and forward pass")
    effective_batch: Count = Field(64, description="images per update, over all devices")
    learning_rate: Annotated[float, Field(gt=0)] = Field(5e-6, description="AdamW, peak")
    guidance_learning_rate: Annotated[float, Field(gt=0)] | None = Field(
        None, description="for the guidance encoders; null = learning_rate"
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
    caption_dropout: Fraction = Field(0.1, description="share of images trained without caption")
    guidance_dropout: Fraction = Field(0.3, description="share of images trained without maps")
    frozen: tuple[str, ...] = Field(("up_blocks.3",), description="UNet modules left as they are")
    balance: Fraction = Field(0.9, description="0 = emotions as frequent as they are, 1 = uniform")
    mixed_precision: Literal["auto", "no", "fp16", "bf16"] = Field(
        "no", description="forward pass in; auto = bf16 where the device computes in it, else no"
    )
    gradient_checkpointing: bool = Field(False, description="less memory, a third more time")
    seed: int = Field(42, description="draws order, noise and timesteps")
    log_every: Count = Field(10, description="updates between lines of metrics.jsonl")
    checkpoint_every: Count = Field(100, description="updates between checkpoints")
    keep_checkpoints: Count = Field(3, description="newest checkpoints kept")
    sample_every: Annotated[int, Field(ge=0)] = Field(0, description="sample grids; 0 = at the end")
    loader_workers: Annotated[int, Field(ge=0)] = Field(0, description="image-reading processes")


class LossConfig(Section):
    """Weights of the composite loss; a weight of 0 skips that term and its cost."""

    noise: Weight = Field(0.92, description="L1 on the noise prediction")
    perceptual: Weight = Field(0.08, description="LPIPS on the decoded estimate")
    valence: Weight = Field(0.03, description="L1 on the recogniser's valence")
    arousal: Weight = Field(0.03, description="L1 on the recogniser's arousal")
    expression: Weight = Field(0.02, description="L1 on the recogniser's logits")
    perceptual_network: Literal["st-lpips", "lpips-vgg", "lpips-alex"] = Field(
        "st-lpips", description="network of the perceptual term"
    )
    emotion_network: str = Field(
        "tiny-emotion-loss", description="recogniser of the emotion terms: asset name or folder"
    )
    pixel_fraction: Fraction = Field(1.0, description="share of a batch that is decoded for them")
    pixel_max_timestep: Annotated[int, Field(ge=1, le=1000)] = Field(
        1000, description="decoded only below this timestep"
    )


class SamplingConfig(Section):
    """How pictures are drawn."""

    scheduler: Literal["ddpm", "ddim", "dpm-solver++", "unipc"] = Field(
        "dpm-solver++", description="the sampler"
    )
    steps: Count = Field(25, description="denoising steps")
    guidance_scale: Annotated[float, Field(ge=1)] = Field(9.0, description="classifier-free")
    negative_prompt: str = Field("", description="what not to draw")
    batch_size: Count = Field(8, description="pictures drawn at once; does not change them")
    seed: int = Field(42, description="with the key, decides a picture's noise")
    strengths: dict[GuidanceMap, float] = Field(
        {"landmarks": 1.0, "depth": 1.0, "mesh": 1.0}, description="strength of each map"
    )


class TriptychConfig(Section):
    """Original, base and fine-tuned side by side."""

    tile_px: Annotated[int, Field(ge=64, le=2048)] = Field(512, description="side of a picture")
    fine_tuned: Literal["guided", "text"] = Field(
        "guided", description="third picture: with the photo's maps, or from the caption alone"
    )


class EvaluateConfig(Section):
    """The numbers."""

    judge: str = Field(
        "tiny-emotion-judge", description="emotion recogniser the loss never used: name or folder"
    )
    perceptual_network: Literal["st-lpips", "lpips-vgg", "lpips-alex"] = Field(
        "st-lpips", description="perceptual distance to the photo"
    )
    detector: Literal["dlib", "face-alignment"] = Field(
        "dlib", description="finds the landmarks on the drawn faces"
    )
    reference_count: Annotated[int, Field(ge=2)] = Field(
        10000, description="most training photos that pictures are held against"
    )
    bootstrap: Count = Field(1000, description="resamples behind each 95 % interval")
    batch_size: Count = Field(32, description="images measured at once")


class Config(Section):
    """The whole of sfe.yaml."""

    preset: str = Field("tiny", description="what fills the keys left out")
    photos: PhotosConfig = PhotosConfig()
    preprocess: PreprocessConfig = PreprocessConfig()
    quality: QualityConfig = QualityConfig()
    corpus: CorpusConfig = CorpusConfig()
    captions: CaptionsConfig = CaptionsConfig()
    split: SplitConfig = SplitConfig()
    model: ModelConfig = ModelConfig()
    guidance: GuidanceConfig = GuidanceConfig()
    train: TrainConfig = TrainConfig()
    loss: LossConfig = LossConfig()
    sampling: SamplingConfig = SamplingConfig()
    triptych: TriptychConfig = TriptychConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    @model_validator(mode="after")
    def _judge_is_independent(self) -> Config:
        if self.evaluate.judge == self.loss.emotion_network:
            raise ValueError("evaluate.judge must not be the recogniser of loss.emotion_network")
        return self
