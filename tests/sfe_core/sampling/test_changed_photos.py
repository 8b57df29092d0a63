"""Maps of a corpus's photo whose own expression is changed, in the frame of its crop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from sfe_core.config.loading import preset_config
from sfe_core.config.workspace import Workspace
from sfe_core.controls.expression_text import read_change
from sfe_core.corpus.reader import Corpus
from sfe_core.sampling.changed_photos import ChangedPhotos
from sfe_core.synthesis.render import render_face
from sfe_core.synthesis.spec import sample_face
from tests.corpora import write_corpus

SIDE = 96


def test_only_what_a_unit_moves_leaves_its_place_in_the_photos_crop(tmp_path: Path):
    face = render_face(sample_face(5, "sad", 77), SIDE)
    row = {
        "key": "a/her",
        "split": "val300",
        "landmarks": np.asarray(face.landmarks, float).flatten().tolist(),
        "crop_x": SIDE / 2, "crop_y": SIDE / 2, "crop_side": float(SIDE),
    }  # fmt: skip
    workspace = Workspace(tmp_path, preset_config("tiny"))
    write_corpus(workspace, [row], SIDE, {"a/her": face.image})
    corpus = Corpus.open(workspace)
    photos = ChangedPhotos(corpus, workspace.config.preprocess)
    names = ("landmarks", "mesh")
    smile = read_change(["AU12=+3"])
    still = photos.maps("a/her", smile.scaled(0.0), SIDE, names)
    changed = photos.maps("a/her", smile, SIDE, names)
    drawn = torch.from_numpy(np.array(corpus.landmarks_map("a/her", SIDE))).permute(2, 0, 1) / 255
    assert torch.equal(still["landmarks"], drawn)  # the photo's own, not a head's mean
    assert still["mesh"].shape == (3, SIDE, SIDE)
    moved = (changed["landmarks"] != still["landmarks"]).any(0)
    brows, mouth = face.landmarks[17:27, 1].max(), face.landmarks[48:68, 1]
    assert moved[int(mouth.min()) - 4 : int(mouth.max()) + 4].sum() > 20
    assert moved[: int(brows) - 1].sum() == 0
    difference = (changed["mesh"] - still["mesh"]).abs().sum(0)
    assert difference[int(mouth.min()) - 8 :].sum() > 5 * difference[: int(brows)].sum()
