"""Buffers as tensors: ranges, resampling, mirroring, and a corpus without them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.buffers import (
    hash_buffers,
    mirrored,
    read_buffers,
    require_buffers,
    stack_buffers,
)
from sfe_core.corpus.export import export_corpus
from sfe_core.corpus.reader import Corpus
from sfe_core.corpus.views import Frame
from sfe_core.corpus.webdataset import ShardStore
from sfe_core.errors import UserError
from sfe_core.faces.rendering import shade_normals
from tests.corpora import write_buffers, write_corpus

SIDE = 32


def scene(seed: int = 0) -> tuple[np.ndarray, ...]:
    """Floats of a half sphere that covers half of the picture, and a darker and a lighter side."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / (SIDE / 2) - (1 - 1 / SIDE)
    inside = x**2 + y**2 < 0.8
    z = np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))
    normals = np.stack([x, -y, z], axis=2) * inside[..., None]
    random = np.random.default_rng(seed)
    albedo = np.broadcast_to(random.uniform(0.3, 0.9, 3), (SIDE, SIDE, 3)) * inside[..., None]
    shaded = albedo * np.clip(normals @ [0.6, 0.0, 0.8], 0.1, None)[..., None]
    return shaded.astype("f"), normals.astype("f"), albedo.astype("f"), inside


@pytest.fixture
def corpus(tmp_path) -> Corpus:
    workspace = Workspace(tmp_path, Config())
    write_corpus(workspace, [{"key": f"p/{n}", "split": "train"} for n in range(2)], SIDE)
    write_buffers(workspace, {f"p/{n}": scene(n) for n in range(2)})
    return Corpus.open(workspace)


def test_bytes_and_floats_give_the_same_but_for_rounding():
    shaded, normals, albedo, hit = scene()
    exact = stack_buffers(shaded, normals, albedo, hit)
    assert exact.shape == (9, SIDE, SIDE) and exact.dtype == torch.float32
    torch.testing.assert_close(exact[3:6], torch.from_numpy(normals).permute(2, 0, 1))
    colours = np.where(hit[..., None], (normals + 1) * 127.5, 0).round().astype(np.uint8)
    bytes_of = [(part * 255).round().astype(np.uint8) for part in (shaded, albedo)]
    stored = stack_buffers(bytes_of[0], colours, bytes_of[1], hit)
    torch.testing.assert_close(stored, exact, atol=1 / 255, rtol=0)
    assert not stored[:, ~torch.from_numpy(hit)].any()


def test_floats_are_not_clamped():
    shaded, normals, albedo, hit = scene()
    assert stack_buffers(shaded * 4, normals, albedo, hit)[:3].max() > 1.5


def test_stored_buffers_are_read_back(corpus):
    exact = stack_buffers(*scene(1))
    read = read_buffers(corpus, "p/1", SIDE)
    torch.testing.assert_close(read, exact, atol=1 / 255 + 1e-6, rtol=0)


def test_shrunk_they_keep_their_range_and_stay_zero_off_the_mesh(corpus):
    small = read_buffers(corpus, "p/0", 8)
    assert small.shape == (9, 8, 8) and small[:, 0, 0].abs().max() == 0
    full = read_buffers(corpus, "p/0", SIDE)
    wanted = torch.nn.functional.avg_pool2d(full, 4)
    assert (small - wanted).abs().mean() < 0.02
    # A rim that mixed with the stored black would point away from the viewer.
    assert small[5].min() >= 0


def test_a_part_of_the_picture(corpus):
    frame = Frame(0.25, 0.5, 0.5)
    part = read_buffers(corpus, "p/0", SIDE // 2, frame=frame)
    whole = read_buffers(corpus, "p/0", SIDE)
    torch.testing.assert_close(part, whole[:, 16:, 8:24])


def test_a_mirrored_face_has_mirrored_normals_that_light_confirms(corpus):
    turned = read_buffers(corpus, "p/0", SIDE, frame=Frame(mirrored=True))
    whole = read_buffers(corpus, "p/0", SIDE)
    torch.testing.assert_close(turned[:3], whole[:3].flip(2))
    torch.testing.assert_close(mirrored(turned), whole)
    # The sphere is symmetrical: its own mirror image has the same normals.
    torch.testing.assert_close(turned[3:6], whole[3:6], atol=2 / 255, rtol=0)
    # And what was lit from +x is lit from -x.
    lit = turned[6:9] * (torch.einsum("chw,c->hw", turned[3:6], torch.tensor([-0.6, 0, 0.8])))
    seen = lit > 0.2
    torch.testing.assert_close(turned[:3][seen], lit[seen], atol=0.03, rtol=0)


def test_the_mean_shape_lies_beside(corpus, tmp_path):
    workspace = Workspace(tmp_path, Config())
    write_buffers(workspace, {"p/0": scene(5)}, folder="mean_shape/")
    read = read_buffers(corpus, "p/0", SIDE, mean_shape=True)
    torch.testing.assert_close(read, stack_buffers(*scene(5)), atol=1 / 255 + 1e-6, rtol=0)
    with pytest.raises(UserError, match="of 2 faces have no mean_shape/lambertian"):
        require_buffers(corpus, corpus.rows, mean_shape=True)


def test_a_corpus_without_buffers_is_refused(corpus, tmp_path):
    require_buffers(corpus, corpus.rows)
    (tmp_path / "corpus" / "albedo" / "p" / "1.png").unlink()
    with pytest.raises(UserError, match=r"1 of 2 faces have no albedo \(p/1\).*save_buffers: true"):
        require_buffers(corpus, corpus.rows)
    write_corpus(Workspace(tmp_path, Config()), [{"key": "p/0", "split": "train"}], SIDE)
    without = Corpus.open(Workspace(tmp_path, Config()))
    with pytest.raises(UserError, match="1 of 1 faces have no lambertian"):
        require_buffers(without, without.rows)


def test_shards_hold_buffers_where_they_are_asked_for(corpus, tmp_path):
    export_corpus(corpus, tmp_path / "with", maps=("lambertian", "normals", "albedo"))
    shards = Corpus(tmp_path, ShardStore(str(tmp_path / "with")))
    require_buffers(shards, shards.rows)
    assert torch.equal(read_buffers(shards, "p/1", SIDE), read_buffers(corpus, "p/1", SIDE))
    export_corpus(corpus, tmp_path / "without", maps=("depth",))
    shards = Corpus(tmp_path, ShardStore(str(tmp_path / "without")))
    with pytest.raises(UserError, match="2 of 2 faces have no lambertian"):
        require_buffers(shards, shards.rows)
    with pytest.raises(UserError, match="not every face has geometry_coarse"):
        export_corpus(corpus, tmp_path / "other", maps=("geometry_coarse",))


def test_the_hash_tells_of_other_buffers(corpus, tmp_path):
    before = hash_buffers(corpus.rows)
    workspace = Workspace(tmp_path, Config())
    write_buffers(workspace, {"p/0": scene(7), "p/1": scene(1)})
    assert hash_buffers(Corpus.open(workspace).rows) != before


def test_the_normals_that_preprocess_draws_are_told_from_black():
    _, normals, _, hit = scene()

    class Raster:
        pass

    raster = Raster()
    raster.normals, raster.hit = normals, hit
    stored = shade_normals(raster)
    assert np.array_equal(stored.any(axis=2), hit)
    assert Image.fromarray(stored).mode == "RGB"
