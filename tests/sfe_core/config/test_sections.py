"""Every field of sfe.yaml says what it means; none is forgotten."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from sfe_core.config.problems import sections
from sfe_core.config.sections import After, LearningSection, Meaning, fields_that
from sfe_core.config.training_sections import EngineConfig

MEANT = {
    Meaning.MODEL: """
        preprocess.reconstruction_model preprocess.flame captions.blip_model model.base
        loss.emotion_network loss.pixel_decoder loss.units_network evaluate.judge evaluate.witnesses
        evaluate.recognisers evaluate.clip evaluate.units_judge
        photos.emotions_read_by photos.labels_read_by sampling.units_reader sampling.loras
        loss.identity_network
    """,
    Meaning.OPERATIONAL: """
        train.batch_size train.gradient_checkpointing train.channels_last train.compile
        train.ema_device train.log_every train.checkpoint_every train.keep_checkpoints
        train.best_metric train.sample_every train.samples_per_emotion train.trackers
        train.max_skipped_updates train.loader_workers data.cache loss.decode_chunk
    """,
    Meaning.STRUCTURAL: """
        guidance.maps guidance.block_channels train.text_encoder train.frozen train.optimiser
        train.lora_dora train.lora_modules train.lora_rank train.text_encoder_lora_rank data.person
    """,
    Meaning.FACE: """
        preprocess.detector preprocess.box_detector preprocess.face_choice preprocess.min_face_px
        preprocess.max_megapixels
    """,
    Meaning.CROP: """
        preprocess.crop_rule preprocess.tight_photos preprocess.crop_size preprocess.crop_scale
    """,
    Meaning.HEAD: "preprocess.reconstruction preprocess.reconstruction_model preprocess.flame",
    Meaning.DEPTH: "preprocess.depth preprocess.depth_input",
    Meaning.NORMALS: "preprocess.buffer_normals",
}
# Fields of preprocess that say which files are written, and by how many processes, not what is in
# them; the caption template has a hash of its own.
UNMARKED = """
    canvas full_canvas overlay save_meshes save_detailed_meshes save_buffers mean_shape
    caption_template workers
"""


@pytest.mark.parametrize("meaning", Meaning)
def test_the_fields_of_a_meaning_are_these(meaning):
    found = [
        f"{name}.{key}" for name, kind in sections().items() for key in fields_that(kind, meaning)
    ]
    assert sorted(found) == sorted(MEANT[meaning].split())


def test_every_field_of_preprocess_shapes_something_or_is_known_to_shape_nothing():
    kind = sections()["preprocess"]
    marked = {key for meaning in Meaning for key in fields_that(kind, meaning)}
    assert set(kind.model_fields) - marked == set(UNMARKED.split())


def test_what_bears_on_learning_stands_in_sections_of_that_kind():
    learning = {name for name, kind in sections().items() if issubclass(kind, LearningSection)}
    assert learning == {"model", "guidance", "train", "data", "loss"}


def test_whose_description_speaks_of_an_asset_names_a_model():
    speaking = {
        f"{name}.{key}"
        for name, kind in sections().items()
        for key, field in kind.model_fields.items()
        if any(word in str(field.description) for word in ("asset name", "name or folder", "CLIP"))
    }
    assert speaking and speaking <= set(MEANT[Meaning.MODEL].split())


class GlossTrain(EngineConfig):
    """The run."""

    dryness: Annotated[float, After("batch_size")] = Field(0.1, description="of the paint")
    coats: int = Field(2, description="of the paint")


def test_keys_of_a_section_that_extends_another_stand_where_they_say():
    keys = list(GlossTrain.model_fields)
    assert keys[:5] == ["steps", "batch_size", "dryness", "coats", "effective_batch"]
    assert list(GlossTrain().model_dump()) == keys
    assert GlossTrain(coats=4).coats == 4
    with pytest.raises(ValidationError):
        GlossTrain(coats="many")
