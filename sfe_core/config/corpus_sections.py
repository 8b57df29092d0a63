"""Sections of sfe.yaml about the corpus. The descriptions become a fresh sfe.yaml's comments."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sfe_core.config.sections import (
    Count,
    Fraction,
    GreyRange,
    NamesModel,
    Positive,
    Range,
    Section,
    ShapesCrop,
    ShapesDepth,
    ShapesFace,
    ShapesHead,
    ShapesNormals,
    Weight,
)


class PhotosConfig(Section):
    """Where the photographs and what is known of them lie."""

    folder: str = Field("photos", description="folder of photos, below the workspace")
    labels: str = Field("labels.csv", description="labels below that folder, if any")
    labels_read_by: NamesModel[tuple[str, ...]] = Field(
        (),
        description="what read action units for these labels, if anything: networks, OpenFace, "
        "py-feat, LibreFace or their files; none may judge",
    )
    classes: str | None = Field(
        None,
        description="what numbers in labels mean: affectnet, raf-db, fer2013, …, or the emotions "
        "from number 0 on, with commas; null = told by the file",
    )
    captions: str = Field("captions.json", description="captions below that folder, if any")
    emotions_read_by: NamesModel[str | None] = Field(
        None,
        description="recogniser that reads the emotion of photos without a label; may not judge",
    )


class PreprocessConfig(Section):
    """From photos to a corpus: crops, landmarks, mesh, depth."""

    detector: ShapesFace[Literal["dlib", "face-alignment"]] = Field(
        "dlib", description="finds the face and its 68 landmarks"
    )
    box_detector: ShapesFace[Literal["sfd", "blazeface", "dlib"]] = Field(
        "sfd", description="finds the boxes for detector face-alignment"
    )
    reconstruction: ShapesHead[Literal["anny", "emoca", "deca"]] = Field(
        "anny", description="the head: Anny fitted to the landmarks, or EMOCA's, DECA's networks"
    )
    reconstruction_model: ShapesHead[NamesModel[str | None]] = Field(
        None,
        description="networks of emoca or deca: asset name or path; null = emoca-v2, or deca",
    )
    flame: ShapesHead[NamesModel[str]] = Field(
        "flame-2020", description="FLAME below emoca and deca: asset name, its .pkl or a folder"
    )
    depth: ShapesDepth[Literal["mesh", "zoedepth"]] = Field(
        "mesh", description="depth of the fitted mesh, or ZoeDepth's estimate"
    )
    depth_input: ShapesDepth[Literal["crop", "photo"]] = Field(
        "crop", description="what ZoeDepth looks at: the crop, or the whole photo"
    )
    face_choice: ShapesFace[Literal["largest", "central", "best", "all"]] = Field(
        "largest", description="which face counts when a photo holds several; all = one row each"
    )
    crop_rule: ShapesCrop[
        Literal["landmarks", "emoca", "emoca-bbox", "face-alignment", "as-is"]
    ] = Field(
        "landmarks",
        description="how the square round the face is found; as-is = photos are crops already",
    )
    tight_photos: ShapesCrop[Literal["as-is", "extend"]] = Field(
        "as-is",
        description="photos that the face fills: taken as they are, or their border repeated "
        "until they are as wide as the crop rule asks",
    )
    crop_size: ShapesCrop[Annotated[int, Field(ge=32, le=2048, multiple_of=8)]] = Field(
        512, description="side of the square crop and of its maps, pixels"
    )
    crop_scale: ShapesCrop[Annotated[float, Field(ge=1.0, le=4.0)] | None] = Field(
        None, description="side of the crop over the rule's box; null = the rule's own scale"
    )
    min_face_px: ShapesFace[Count] = Field(32, description="smaller faces are passed over, pixels")
    max_megapixels: ShapesFace[Positive] = Field(
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
    buffer_normals: ShapesNormals[Literal["fine", "coarse"]] = Field(
        "fine",
        description="their normals and shading with EMOCA's and DECA's fine detail, or of the bare "
        "mesh, as DiffusionRig draws them",
    )
    mean_shape: bool = Field(
        False, description="these also with the mean head shape of each person's album"
    )
    caption_template: str = Field(
        "{emotion}, close-up photo of a face",
        description="caption where captions.json has none; may hold {emotion}, {person}, {age}, "
        "{gender}, {sex}, {ethnicity}, {action_units}, {unit_names}, {unit_codes}, {subject}",
    )
    workers: Annotated[int, Field(ge=0)] = Field(0, description="processes; 0 = one per CPU core")


class QualityConfig(Section):
    """What a usable face's pictures look like; others get status out_of_range. [least, most]."""

    confidence: Range = Field(
        (0.5, 1.0), description="that the landmarks are right, 0 to 1; others get status doubtful"
    )
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
    brightness: GreyRange = Field(
        (10.0, 245.0), description="mean luma on the landmarks' box, grey levels from 0 to 255"
    )
    least_contrast: Weight = Field(
        4.0, description="standard deviation of the luma there, grey levels"
    )
    most_fit_error: Weight = Field(
        0.2, description="mean landmark distance of the fitted head, over the eyes' from the front"
    )
    most_invented_border: Fraction = Field(
        0.7, description="share of the crop that lies beyond the photo, its border repeated there"
    )
    sound_buffers: bool = Field(
        True,
        description="faces with bad buffers (no head, beside the face, impossible colours) get "
        "out_of_range too; false = kept, and refused only where buffers are learnt from",
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
        "file, template, tags, attributes, action_units, unit_names, unit_codes, blip",
    )
    units_from: Annotated[float, Field(ge=0.5, le=5)] = Field(
        1.0, description="intensity from which an action unit is there; DISFA is often cut at 2"
    )
    absent_units: Annotated[int, Field(ge=0)] = Field(
        0, description="units that are not there named as such (no brow lowerer); at most so many"
    )
    blip_model: NamesModel[str] = Field(
        "blip-base", description="asset name, or folder, of BLIP captioning"
    )
    token: str = Field(
        "", description="rare word that stands for an album's person, first in {subject}"
    )
    class_word: str = Field("person", description="what the person is, second in {subject}")
    class_words: dict[str, str] = Field(
        {}, description="class_word of single people, by their folder of photos/"
    )


class SplitConfig(Section):
    """How the corpus is divided; people and copies never stand on both sides."""

    validation_name: str = Field("val300", description="name of the held-out split")
    validation_count: Count = Field(300, description="its size ...")
    validation_fraction: Fraction = Field(0.15, description="... but at most this share of all")
    identity: Literal["auto", "labels", "folders", "clusters", "none"] = Field(
        "auto",
        description="whose a photo is: auto = labels.csv, file names of known sets, folders that "
        "are people's by their faces; folders = every folder is a person's; clusters = also by "
        "who looks alike, 60 ms a face",
    )
    by: Literal["people", "photos"] = Field(
        "people",
        description="what stays whole: people; photos = of each person's album some photos are "
        "held out",
    )
    copies: Literal["near", "exact", "none"] = Field(
        "near",
        description="photos kept on one side: near = resaved, resized, cut or mirrored ones too",
    )
