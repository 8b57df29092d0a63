"""Layers, origins and the errors of sfe.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfe_core.config.loading import load_with_origins, load_workspace, preset_config
from sfe_core.config.presets import FOLDER, preset_layers, preset_names
from sfe_core.config.problems import check_keys, sections
from sfe_core.config.sections import Meaning, fields_that
from sfe_core.errors import UserError


def write(folder: Path, text: str) -> Path:
    (folder / "sfe.yaml").write_text(text, encoding="utf-8")
    return folder


def message(folder: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_workspace(folder, overrides)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_shipped_preset_loads():
    files = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.yaml"))
    assert set(files) == {f"{name}.yaml" for name in preset_names()}
    assert {"tiny", "stableface", "stableface-24gb"} <= set(preset_names())
    for name in preset_names():
        assert preset_config(name).preset == name
        for layer in preset_layers(name, "test"):
            check_keys(layer)


def test_a_preset_that_extends_keeps_what_it_does_not_change():
    above, below = preset_config("stableface-24gb"), preset_config("stableface")
    assert above.train.effective_batch == below.train.effective_batch == 1024
    assert above.train.batch_size != below.train.batch_size
    assert above.sampling == below.sampling


def test_layers_win_in_order_and_name_their_origin(tmp_path):
    write(tmp_path, "preset: tiny\ntrain: {batch_size: 3, seed: 7}\n")
    loaded = load_with_origins(tmp_path, ["train.seed=9", "train.seed=10"])
    train, origins = loaded.workspace.config.train, loaded.origins
    assert (train.batch_size, origins["train.batch_size"]) == (3, "sfe.yaml")
    assert (train.seed, origins["train.seed"]) == (10, "--set")
    assert (train.schedule, origins["train.schedule"]) == ("cosine", "preset tiny")
    assert (train.weight_decay, origins["train.weight_decay"]) == (0.01, "default")


def test_origins_name_the_extended_preset(tmp_path):
    origins = load_with_origins(write(tmp_path, "preset: stableface-24gb\n")).origins
    assert origins["train.batch_size"] == "preset stableface-24gb"
    assert origins["train.effective_batch"] == "preset stableface"


def test_one_strength_leaves_the_others(tmp_path):
    write(tmp_path, "sampling: {strengths: {mesh: 0.25}}\n")
    strengths = load_workspace(tmp_path).config.sampling.strengths
    assert strengths == {"landmarks": 1.0, "depth": 1.0, "mesh": 0.25}


def test_an_empty_section_and_an_empty_file_change_nothing(tmp_path):
    assert load_workspace(write(tmp_path, "train:\n")).config == preset_config("tiny")
    assert load_workspace(write(tmp_path, "")).config == preset_config("tiny")


def test_yaml_values_are_what_they_look_like(tmp_path):
    write(tmp_path, "train: {mixed_precision: no, learning_rate: 5e-6}\n")
    train = load_workspace(tmp_path).config.train
    assert train.mixed_precision == "no"
    assert train.learning_rate == 5e-6


def test_a_relative_path_is_meant_from_the_workspace(tmp_path):
    write(tmp_path, "model: {base: models/mine}\n")
    assert load_workspace(tmp_path).config.model.base == str(tmp_path / "models/mine")
    write(tmp_path, "model: {base: tiny-sd}\n")
    assert load_workspace(tmp_path).config.model.base == "tiny-sd"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("train: {stpes: 3}", "train.steps"),
        ("train: {batchsize: 3}", "train.batch_size"),
        ("trian: {steps: 3}", "train.steps"),
        ("train: {crop_size: 64}", "preprocess.crop_size"),
        ("resolution: 64", "model.resolution"),
        ("sampling: {stregths: {mesh: 1.0}}", "sampling.strengths"),
    ],
)
def test_an_unknown_key_names_the_one_meant(tmp_path, text, meant):
    said = message(write(tmp_path, text))
    assert said.startswith("sfe.yaml: ")
    assert f"did you mean {meant}?" in said


def test_an_unknown_key_without_a_likeness_lists_what_there_is(tmp_path):
    said = message(write(tmp_path, "split: {qqqq: 1}"))
    assert "validation_name, validation_count, validation_fraction" in said


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("train: {steps: abc}", ("sfe.yaml: train.steps", "'abc'", "integer")),
        ("train: {steps: 0}", ("train.steps", "found 0", "greater than or equal to 1")),
        ("sampling: {seed: -1}", ("sampling.seed", "found -1", "greater than or equal to 0")),
        ("train: {seed: 9223372036854775808}", ("train.seed", "less than")),
        ("evaluate: {bootstrap: 1}", ("evaluate.bootstrap", "found 1", "equal to 40")),
        ("train: {steps: true}", ("train.steps", "found True")),
        ("train: {mixed_precision: fp8}", ("'fp8'", "'no', 'fp16' or 'bf16'")),
        ("guidance: {maps: [landmarks, nose]}", ("guidance.maps", "'nose'", "entry 1")),
        ("train: 3", ("sfe.yaml: train", "3 where a section belongs")),
        ("evaluate: {judge: tiny-emotion-loss}", ("evaluate.judge", "loss.emotion_network")),
        ("preset: tinny", ("'tinny'", "did you mean tiny?", "stableface")),
        ("- 1", ("sfe.yaml", "[1]")),
    ],
)
def test_a_bad_value_says_where_what_and_what_is_allowed(tmp_path, text, parts):
    said = message(write(tmp_path, text))
    for part in parts:
        assert part in said


def test_bad_yaml_names_the_line(tmp_path):
    assert "sfe.yaml, line 3" in message(write(tmp_path, "train:\n  steps: 3\n bad: [\n"))
    assert "line 3" in message(write(tmp_path, "train: {seed: 1}\n\ntrain: {seed: 2}\n"))


def test_bad_overrides(tmp_path):
    write(tmp_path, "")
    assert "section.key=value" in message(tmp_path, "train.steps")
    assert "section.key=value" in message(tmp_path, "=3")
    assert message(tmp_path, "train.steps=no").startswith("--set: train.steps")
    assert "did you mean train.steps?" in message(tmp_path, "train.stepps=3")
    assert "--set train.steps" in message(tmp_path, "train.steps=[1")


def test_a_missing_workspace_says_what_to_run(tmp_path):
    assert "sfe init" in message(tmp_path)
    assert "is not a folder" in message(tmp_path / "nowhere")


def test_a_file_that_is_not_text_is_one_line(tmp_path):
    (tmp_path / "sfe.yaml").write_bytes(b"\xff\xfe\x00train")
    assert "UTF-8" in message(tmp_path)


MODEL_KEYS = [
    f"{name}.{key}" for name, kind in sections().items() for key in fields_that(kind, Meaning.MODEL)
]


@pytest.mark.parametrize("dotted", MODEL_KEYS)
def test_every_model_is_meant_from_the_workspace(tmp_path, monkeypatch, dotted):
    root, elsewhere = tmp_path / "work", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    section, key = dotted.split(".")
    several = key in ("recognisers", "witnesses", "labels_read_by")
    text = "[models/mine, loss]" if several else "models/mine"
    text = "{models/mine: 0.5}" if key == "loras" else text
    write(root, f"{section}: {{{key}: {text}}}\n")
    found = getattr(getattr(load_workspace(root).config, section), key)
    path = str(root / "models" / "mine")
    wanted = (path, "loss") if several else path
    assert found == ({path: 0.5} if key == "loras" else wanted)


def test_a_link_keeps_its_name(tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "0f3a").write_bytes(b"weights")
    (tmp_path / "judge.pt").symlink_to(tmp_path / "cache" / "0f3a")
    write(tmp_path, "evaluate: {judge: ./judge.pt}\n")
    assert load_workspace(tmp_path).config.evaluate.judge == str(tmp_path / "judge.pt")
