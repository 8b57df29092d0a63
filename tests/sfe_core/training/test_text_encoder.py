"""A text encoder that is trained too: learns, is kept, goes on bit for bit, and is packaged."""

from __future__ import annotations

import pytest
import torch
from transformers import CLIPTextModel

from sfe_core.errors import UserError
from sfe_core.packaging.package import package_checkpoint
from tests.sfe_core.conftest import with_settings
from tests.tiny_runs import run

pytestmark = pytest.mark.slow

TEXT = {"text_encoder": True, "text_encoder_learning_rate": 1e-3}


def weights(folder, name: str = "text_encoder") -> dict[str, torch.Tensor]:
    return CLIPTextModel.from_pretrained(folder / name).state_dict()


def same(left: dict, right: dict) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def test_it_learns_and_is_packaged(workspace, tiny_base):
    workspace = with_settings(workspace, train=TEXT)
    checkpoint = run(workspace).checkpoint
    live, average = weights(checkpoint), weights(checkpoint, "text_encoder_ema")
    base = weights(tiny_base)
    changed = [name for name in base if not torch.equal(live[name], base[name])]
    assert "embeddings.token_embedding.weight" in "".join(changed)
    assert any(".layers.0." in name for name in changed)
    assert not same(live, average)
    package = package_checkpoint(workspace, weights="ema").folder
    assert same(weights(package), average)


def test_without_it_the_base_keeps_its_own(workspace, tiny_base):
    checkpoint = run(workspace, steps=1).checkpoint
    assert not (checkpoint / "text_encoder").exists()
    assert same(weights(package_checkpoint(workspace).folder), weights(tiny_base))


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_every_source_hands_over_the_same_token_ids(workspace, cache):
    workspace = with_settings(workspace, train=TEXT | {"steps": 2})
    expected = weights(run(workspace, run="expected").checkpoint)
    workspace = with_settings(workspace, data={"cache": cache})
    found = weights(run(workspace, run="found").checkpoint)
    for name, tensor in expected.items():
        torch.testing.assert_close(
            found[name], tensor, atol=1e-4, rtol=0
        )  # pictures are kept in bytes


def test_a_resumed_run_is_the_uninterrupted_one(workspace):
    workspace = with_settings(workspace, train=TEXT | {"checkpoint_every": 2})
    whole = run(workspace, run="whole").checkpoint
    first = whole.parent / "checkpoint-2"
    again = workspace.runs / "again"
    again.mkdir()
    first.rename(again / first.name)
    (again / "config.yaml").write_bytes((whole.parent / "config.yaml").read_bytes())
    resumed = run(workspace, resume=str(again / first.name)).checkpoint
    assert resumed.parent == again
    for name in ("text_encoder", "text_encoder_ema"):
        assert same(weights(resumed, name), weights(whole, name))


def test_it_cannot_be_switched_on_half_way(workspace):
    checkpoint = run(workspace, steps=1).checkpoint
    changed = with_settings(workspace, train=TEXT)
    with pytest.raises(UserError, match=r"train\.text_encoder"):
        run(changed, resume=str(checkpoint), accept_changes=True)
