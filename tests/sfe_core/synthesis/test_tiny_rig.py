"""The build's stage of tiny-rig, from photos to the card, with a few people and updates."""

from __future__ import annotations

import json

import pytest
import torch

from sfe_core.diffusion.physical.pipeline import load_rig_pipeline
from sfe_core.reporting import Reporter
from sfe_core.synthesis.tiny import rig
from sfe_core.synthesis.tiny.rig import NETWORK, RIG, RUN, SCORES, make_rig, ship_rig

FEW = {"count": 36, "identity_range": (0, 18), "expressions_per_identity": 2}
SHORT = {"train.steps": 3, "train.batch_size": 4, "train.effective_batch": 4}
SMALL = {"multipliers": [1, 1], "attention_px": [32], "encoder_width": 8, "latent_width": 8}


@pytest.mark.slow
def test_the_stage_goes_from_photos_to_a_folder_with_a_card(tmp_path, monkeypatch):
    monkeypatch.setattr(rig, "LEGS", (2, 3))
    folder = make_rig(tmp_path, 1, Reporter(), FEW, SHORT, SMALL)
    assert folder == tmp_path / RIG
    pipeline = load_rig_pipeline(folder)
    assert pipeline.rig.config["prediction"] == "v_prediction" and pipeline.size == 64
    scores = json.loads((tmp_path / SCORES).read_text())
    assert scores["faces"] > 0 and "another's code" in scores["rows"]
    starts = (tmp_path / "rig" / "runs" / "shipped" / "starts.jsonl").read_text().splitlines()
    assert len(starts) == 2, "a leg each"
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0") and "# tiny-rig" in card
    for path in folder.rglob("*.json"):
        assert str(tmp_path) not in path.read_text()
    before = (folder / "README.md").stat().st_mtime_ns
    make_rig(tmp_path, 1, Reporter(), FEW, SHORT, SMALL)
    assert (folder / "README.md").stat().st_mtime_ns == before
    ship_rig(tmp_path, tmp_path / "embedded")
    assert (tmp_path / "embedded" / RIG / "rig" / "config.json").is_file()


def test_the_shipped_network_stays_small():
    from sfe_core.config.loading import preset_config
    from sfe_core.diffusion.physical.diffusion_rig import DiffusionRig
    from sfe_core.recipes.physical import Options, network_settings

    config = preset_config("tiny-physical", {**RUN, "recipe_options": NETWORK})
    with torch.device("meta"):
        settings = network_settings(config, Options.model_validate(config.recipe_options))
        network = DiffusionRig(**settings)
    assert 2 * sum(one.numel() for one in network.state_dict().values()) < 9_000_000
