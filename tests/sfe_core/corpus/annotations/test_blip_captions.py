"""BLIP captions: what is captioned, what is kept, and that nothing is described twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import BlipForConditionalGeneration, BlipProcessor

from sfe_core.assets.needs import needed_assets
from sfe_core.config.loading import load_workspace, preset_config
from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.annotations import blip_captions
from sfe_core.corpus.annotations.blip_captions import FILE, BlipCaptions
from sfe_core.corpus.layout import INPUTS, artefact
from sfe_core.corpus.preprocessing.index import Annotations, open_index
from sfe_core.errors import RunError, UserError
from sfe_core.files import sha256_file
from tests.blip_model import write_blip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blip(tmp_path_factory.mktemp("blip") / "model")


@pytest.fixture
def workspace(workspace_folder: Path, model: Path) -> Workspace:
    settings = ['captions.sources=["blip"]', f"captions.blip_model={model}"]
    return load_workspace(workspace_folder, settings)


def rows_for(workspace: Workspace, **colours: str) -> list[dict]:
    rows = []
    for key, colour in colours.items():
        path = artefact(workspace.corpus, INPUTS, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (48, 48), colour).save(path)
        rows.append({"key": key, "status": "ok", "inputs_sha256": sha256_file(path)})
    return rows


def test_texts_are_those_of_transformers_for_each_picture_alone(
    workspace: Workspace, model: Path
) -> None:
    rows = rows_for(workspace, a="red", b="white", c="navy")
    assert BlipCaptions.open(workspace).caption_new(rows) == 3
    processor = BlipProcessor.from_pretrained(model)
    blip = BlipForConditionalGeneration.from_pretrained(model).eval()
    told = BlipCaptions.open(workspace)
    texts = []
    for row in rows:
        picture = Image.open(artefact(workspace.corpus, INPUTS, row["key"])).convert("RGB")
        with torch.no_grad():
            tokens = blip.generate(
                **processor(images=picture, return_tensors="pt"), num_beams=3, max_new_tokens=40
            )
        texts.append(processor.decode(tokens[0], skip_special_tokens=True))
        assert told.text(row) == " ".join(texts[-1].split())
    assert any(texts)


def test_pictures_in_one_batch_get_the_texts_they_get_alone(
    workspace: Workspace, model: Path
) -> None:
    rows = rows_for(workspace, a="red", b="white", c="navy", d="lime")
    paths = [artefact(workspace.corpus, INPUTS, row["key"]) for row in rows]
    describer = blip_captions._Describer(model)
    alone = [describer.describe([path])[0] for path in paths]
    assert describer.describe(paths) == alone
    assert len(set(alone)) > 1


def test_only_new_crops_are_described(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_for(workspace, a="red", same="red")
    rows += [{"key": "lawn", "status": "no_face", "inputs_sha256": None}]
    assert BlipCaptions.open(workspace).caption_new(rows) == 1
    before = (workspace.corpus / FILE).read_bytes()

    def never(*_: object) -> None:
        raise AssertionError("the model was loaded for nothing")

    monkeypatch.setattr(blip_captions, "_Describer", never)
    assert BlipCaptions.open(workspace).caption_new(rows) == 0
    assert (workspace.corpus / FILE).read_bytes() == before


def test_a_line_cut_short_by_a_kill_is_written_again(workspace: Workspace) -> None:
    rows = rows_for(workspace, a="red", b="white")
    BlipCaptions.open(workspace).caption_new(rows)
    path = workspace.corpus / FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    assert BlipCaptions.open(workspace).caption_new(rows) == 1
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    assert [json.loads(line) for line in lines] == [json.loads(x) for x in whole.splitlines()]


def test_another_model_describes_anew(workspace: Workspace, tmp_path: Path) -> None:
    rows = rows_for(workspace, a="red")
    BlipCaptions.open(workspace).caption_new(rows)
    other = write_blip(tmp_path / "other", seed=1)
    moved = load_workspace(
        workspace.root, ['captions.sources=["blip"]', f"captions.blip_model={other}"]
    )
    assert BlipCaptions.open(moved).caption_new(rows) == 1


def test_the_index_puts_the_emotion_first_and_names_blip(workspace: Workspace) -> None:
    rows = rows_for(workspace, a="red")
    BlipCaptions.open(workspace).caption_new(rows)
    (workspace.photos / "labels.csv").write_text("key,emotion\na,fear\n", encoding="utf-8")
    completed = open_index(Annotations.read(workspace, []), rows).complete(rows[0])
    text = BlipCaptions.open(workspace).text(rows[0])
    assert completed["caption"] == f"fear, {text}"
    assert completed["caption_source"] == "blip"


def test_without_blip_nothing_is_opened(workspace_folder: Path) -> None:
    plain = load_workspace(workspace_folder)
    assert Annotations.read(plain, []).blip is None


def test_the_doctor_asks_for_the_model_only_where_captions_do() -> None:
    asked = preset_config("tiny", {"captions.sources": ["file | blip"]})
    named = [[a.name for a in needed_assets(c)["preprocess"]] for c in (asked, Config())]
    assert "blip-base" in named[0] and "blip-base" not in named[1]


def test_a_missing_model_and_a_missing_crop_are_named(
    workspace: Workspace, workspace_folder: Path, tmp_path: Path
) -> None:
    absent = load_workspace(workspace_folder, ['captions.sources=["blip"]'])
    with pytest.raises(UserError, match="blip-base.*BSD-3-Clause.*assets fetch blip-base"):
        BlipCaptions.open(absent).caption_new([])
    (tmp_path / "empty").mkdir()
    empty = load_workspace(
        workspace_folder, ['captions.sources=["blip"]', f"captions.blip_model={tmp_path}/empty"]
    )
    with pytest.raises(UserError, match="config.json"):
        BlipCaptions.open(empty).caption_new([])
    rows = rows_for(workspace, a="red")
    artefact(workspace.corpus, INPUTS, "a").unlink()
    with pytest.raises(RunError, match="a.png.*sfe preprocess"):
        BlipCaptions.open(workspace).caption_new(rows)
