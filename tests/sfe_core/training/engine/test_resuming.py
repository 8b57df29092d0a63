"""What counts as changed since a checkpoint."""

from __future__ import annotations

from pathlib import Path

import yaml

from sfe_core.config.model import Config
from sfe_core.files import write_json
from sfe_core.training.contract import Fingerprint
from sfe_core.training.engine.checkpoints import META, CheckpointMeta
from sfe_core.training.engine.resuming import Changes, changes_since

NETWORK = "loss.emotion_network"


def saved(workspace: Path, hashes: dict[str, str] | None = None, **loss: str) -> Path:
    """A checkpoint of a run with these settings of section loss, and hashes of its models."""
    checkpoint = workspace / "runs" / "first" / "checkpoint-1"
    checkpoint.mkdir(parents=True)
    meta = CheckpointMeta(1, 4, "", "tiny-sd", "", "", False, must_match=hashes or {})
    write_json(checkpoint / META, meta.to_json())
    text = yaml.safe_dump(Config.model_validate({"loss": loss}).model_dump(mode="json"))
    (checkpoint.parent / "config.yaml").write_text(text, encoding="utf-8")
    return checkpoint


def since(checkpoint: Path, digest: str = "", **loss: str) -> Changes:
    """What has changed, where the loss's network has this hash now."""
    models = {NETWORK: Fingerprint(lambda: digest, binding=False)}
    return changes_since(checkpoint, Config.model_validate({"loss": loss}), "", models)


def test_a_path_that_an_older_run_kept_as_written_is_the_same_place(tmp_path):
    checkpoint = saved(tmp_path, pixel_decoder="models/tiny")
    assert since(checkpoint, pixel_decoder=str(tmp_path / "models" / "tiny")) == Changes()
    (changed,) = since(checkpoint, pixel_decoder=str(tmp_path / "models" / "other")).learning
    assert changed.startswith("loss.pixel_decoder: ")


def test_a_link_and_what_it_leads_to_are_the_same_place(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "net")
    checkpoint = saved(tmp_path, emotion_network=str(tmp_path / "net"))
    assert since(checkpoint, emotion_network=str(tmp_path / "link")) == Changes()


def test_an_asset_and_a_folder_of_its_name_are_two_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taesd").mkdir()
    checkpoint = saved(tmp_path, pixel_decoder="taesd")
    assert since(checkpoint, pixel_decoder=str(tmp_path / "taesd")).learning


def test_a_network_is_told_by_its_hash_whatever_its_path(tmp_path):
    checkpoint = saved(tmp_path, {NETWORK: "abc"}, emotion_network="/a/net")
    assert since(checkpoint, "abc", emotion_network="/a/net") == Changes()
    moved = since(checkpoint, "abc", emotion_network="/b/net")
    assert moved == Changes(harmless=(f"{NETWORK}: /b/net, was /a/net",))
    swapped = since(checkpoint, "other", emotion_network="/a/net")
    assert swapped == Changes((f"{NETWORK}: /a/net, other weights than before",))
    assert since(checkpoint, "other", emotion_network="/b/net").learning


def test_a_checkpoint_without_hashes_is_taken_at_its_word(tmp_path):
    checkpoint = saved(tmp_path, emotion_network="/a/net")
    assert since(checkpoint, "abc", emotion_network="/a/net") == Changes()
    assert since(checkpoint, "abc", emotion_network="/b/net").learning
