"""The base that shows expressions by words: captions in three forms, scores, cards."""

from __future__ import annotations

import shutil

import torch
from torch import nn

from sfe_core.diffusion.base_expressions import begin_expressions
from sfe_core.diffusion.encoders import Encoders
from sfe_core.diffusion.expression_embeddings import load_embeddings
from sfe_core.diffusion.hashing import hash_base
from sfe_core.diffusion.loading import read_configs
from sfe_core.emotions import EMOTIONS
from sfe_core.faces.recognition.reading import EmotionReading
from sfe_core.synthesis.tiny import emotions


class AlwaysSad(nn.Module):
    """A judge that sees one emotion in all pictures, and that they are in [-1, 1]."""

    def forward(self, images: torch.Tensor) -> EmotionReading:
        assert images.min() < 0 and images.abs().max() <= 1
        logits = torch.zeros(len(images), len(EMOTIONS))
        logits[:, EMOTIONS.index("sad")] = 1.0
        nothing = torch.zeros(len(images))
        return EmotionReading(logits, nothing, nothing, logits)


def test_scores_and_cards_tell_what_the_judge_saw(tmp_path, tiny_base, monkeypatch):
    monkeypatch.setattr(emotions, "_NOISES", 2)
    for name in ("tiny-sd", emotions.BASE):
        shutil.copytree(tiny_base, tmp_path / name)
    begun = begin_expressions(Encoders(tiny_base), read_configs(tiny_base))
    begun.save_pretrained(tmp_path / emotions.EMBEDDINGS)
    emotions.score_emotions(tmp_path, AlwaysSad())
    shipped = tmp_path / "embedded"
    emotions.ship_emotions(tmp_path, shipped)
    card = (shipped / emotions.EMBEDDINGS / "README.md").read_text(encoding="utf-8")
    row = next(line for line in card.splitlines() if line.startswith("| at strength 0.5"))
    assert [cell.strip() for cell in row.split("|")[2:-1]] == ["0.125"] + [
        "1.000" if name == "sad" else "0.000" for name in EMOTIONS
    ]
    told = load_embeddings(shipped / emotions.EMBEDDINGS)
    assert told.config["base"] == emotions.BASE
    assert told.config["base_sha256"] == hash_base(shipped / emotions.BASE)
    card = (shipped / emotions.BASE / "README.md").read_text(encoding="utf-8")
    assert "tiny-sd by words | 0.125" in card and "train.steps 1500" in card
    assert (shipped / emotions.BASE / "unet" / "diffusion_pytorch_model.safetensors").is_file()
