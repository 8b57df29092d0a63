"""Sample grids."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sfe_core.corpus.dataset import FaceDataset
from sfe_core.corpus.reader import Corpus
from sfe_core.diffusion.loading import load_base
from sfe_core.training.build import build_model
from sfe_core.training.samples import draw_grid


@pytest.fixture
def parts(workspace):
    base = load_base(workspace.config.model.base)
    model = build_model(workspace.config, base)
    faces = FaceDataset(Corpus.open(workspace), "val300", workspace.config.guidance.maps, 32)
    return model, base, faces, workspace.config


def test_rows_are_photo_text_and_guided(parts):
    model, base, faces, config = parts
    untrained = draw_grid(model, base, faces, [0, 2], config)
    assert untrained.shape == (96, 64, 3) and untrained.dtype == np.uint8
    photo = (faces[2]["image"] / 2 + 0.5).permute(1, 2, 0).numpy() * 255
    assert np.abs(untrained[:32, 32:] - photo).max() <= 1
    # Encoders that start at zero guide nowhere.
    assert np.array_equal(untrained[32:64], untrained[64:])
    for encoder in model.bank.encoders.values():
        torch.nn.init.normal_(encoder.conv_out.weight, std=0.5)
    guided = draw_grid(model, base, faces, [0, 2], config)
    assert np.array_equal(guided[:64], untrained[:64])
    assert not np.array_equal(guided[64:], untrained[64:])


def test_a_face_is_drawn_the_same_in_any_company(parts):
    model, base, faces, config = parts
    together = draw_grid(model, base, faces, [1, 3], config).astype(int)
    alone = draw_grid(model, base, faces, [3], config).astype(int)
    assert np.abs(together[:, 32:] - alone).max() <= 1
