from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.export import export_corpus
from sfe_core.corpus.layout import INPUTS, artefact
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import UserError
from sfe_core.packaging.listing import newest_package
from sfe_core.sampling import share
from sfe_core.sampling.composition import as_tile, tile_box
from sfe_core.sampling.triptych import make_triptychs
from tests.sfe_core.sampling.conftest import draw_split, with_sampling
from tests.tiny_workspace import SPLIT, write_held_out

TILE_PX = 64


def keys(workspace: Workspace) -> list[str]:
    return list(Corpus.open(workspace).split(SPLIT)["key"])


def files(folder: Path) -> dict[str, bytes]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def tile(triptych: Path, index: int) -> np.ndarray:
    return np.asarray(Image.open(triptych).crop(tile_box(index, TILE_PX)))


@pytest.mark.parametrize("third", ["guided", "text"])
def test_a_triptych_shows_the_three_pictures(workspace: Workspace, third: str):
    settings = workspace.config.triptych.model_copy(update={"fine_tuned": third})
    config = workspace.config.model_copy(update={"triptych": settings})
    workspace = Workspace(workspace.root, config)
    summary = make_triptychs(workspace)
    assert summary.folder == workspace.root / "triptychs" / SPLIT
    assert (summary.total, summary.composed, summary.missing_originals) == (5, 5, 0)
    key = keys(workspace)[1]
    shown = [
        artefact(workspace.corpus, INPUTS, key),
        draw_split(workspace, SPLIT, "base") / f"{key}.png",
        draw_split(workspace, SPLIT, third) / f"{key}.png",
    ]
    for index, path in enumerate(shown):
        expected = np.asarray(as_tile(Image.open(path), TILE_PX))
        assert np.array_equal(tile(summary.folder / f"{key}.png", index), expected)


def test_a_package_that_reads_no_maps_is_shown_from_its_captions(workspace: Workspace):
    shutil.rmtree(newest_package(workspace) / "guidance_encoder")
    make_triptychs(workspace)
    key = keys(workspace)[0]
    assert (draw_split(workspace, SPLIT, "text") / f"{key}.png").exists()
    shutil.rmtree(workspace.generated)
    settings = workspace.config.triptych.model_copy(update={"fine_tuned": "guided"})
    config = workspace.config.model_copy(update={"triptych": settings})
    with pytest.raises(UserError, match="no guidance_encoder/ and no action_units/"):
        make_triptychs(Workspace(workspace.root, config))
    assert not workspace.generated.exists()


def test_the_same_work_is_the_same_bytes(workspace: Workspace):
    first = files(make_triptychs(workspace).folder)
    shutil.rmtree(workspace.triptychs)
    shutil.rmtree(workspace.generated)
    assert files(make_triptychs(workspace).folder) == first


@pytest.mark.slow
def test_batch_sizes_change_no_triptych_by_more_than_rounding(workspace: Workspace):
    made = []
    for batch_size in (1, 3, 8):
        shutil.rmtree(workspace.generated, ignore_errors=True)
        folder = make_triptychs(with_sampling(workspace, batch_size=batch_size)).folder
        triptychs = [Image.open(folder / f"{key}.png") for key in keys(workspace)]
        made.append([np.asarray(one, np.int16) for one in triptychs])
    for other in made[1:]:
        # One grey level in a model picture; Lanczos enlarges that to two at most.
        assert all(np.abs(a - b).max() <= 2 for a, b in zip(made[0], other, strict=True))


def test_a_rerun_writes_nothing(workspace: Workspace):
    folder = make_triptychs(workspace).folder
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    again = make_triptychs(workspace)
    assert (again.composed, again.base_drawn, again.fine_tuned_drawn) == (0, 0, 0)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_only_what_changed_is_composed_again(workspace: Workspace):
    make_triptychs(workspace)
    one, two, *_ = keys(workspace)
    (workspace.triptychs / SPLIT / f"{one}.png").unlink()
    write_held_out(workspace, keys(workspace), captions={two: "fear, new caption"})
    again = make_triptychs(workspace)
    assert (again.composed, again.base_drawn, again.fine_tuned_drawn) == (2, 1, 1)
    assert "fear, new caption" in again.gallery.read_text(encoding="utf-8")


def test_a_missing_original_is_a_labelled_tile_and_is_counted(workspace: Workspace, listener):
    one, *_ = keys(workspace)
    path = artefact(workspace.corpus, INPUTS, one)
    kept = path.read_bytes()
    path.unlink()
    summary = make_triptychs(workspace, reporter=listener)
    assert summary.missing_originals == 1
    assert "1 of 5 originals are missing" in listener.warnings[0]
    blank = tile(summary.folder / f"{one}.png", 0)
    assert (blank[0] == blank[0, 0]).all()  # plain at the rim
    assert len(np.unique(blank)) > 2  # written on
    path.write_bytes(kept)
    assert make_triptychs(workspace).composed == 1
    assert not np.array_equal(tile(summary.folder / f"{one}.png", 0), blank)


def test_an_unknown_split_lists_the_known(workspace: Workspace):
    with pytest.raises(UserError, match="'test' holds no picture.*val300"):
        make_triptychs(workspace, split="test")
    assert not workspace.generated.exists()


def test_triptychs_of_exported_shards_are_the_same(workspace: Workspace):
    first = files(make_triptychs(workspace).folder)
    export_corpus(Corpus.open(workspace), workspace.exported)
    shutil.rmtree(workspace.corpus)
    shutil.rmtree(workspace.triptychs)
    shards = workspace.config.corpus.model_copy(update={"shards": "exported"})
    config = workspace.config.model_copy(update={"corpus": shards})
    assert files(make_triptychs(Workspace(workspace.root, config)).folder) == first


def test_captions_in_other_scripts_are_drawn_and_lost_characters_are_told(
    workspace: Workspace, listener
):
    one, two, *_ = keys(workspace)
    write_held_out(workspace, keys(workspace), captions={one: "幸せ、顔", two: "happy \U000f0000"})
    folder = make_triptychs(workspace, reporter=listener).folder
    caption = Image.open(folder / f"{one}.png").convert("L")
    below = np.asarray(caption)[tile_box(0, TILE_PX)[3] + 1 :]
    assert (below < 128).any()
    assert [told for told in listener.warnings if "no font" in told] == [
        "no font on this machine has 1 characters of the captions (\U000f0000): they are drawn as "
        "boxes; `pip install 'sfe[fonts]'` brings Noto Sans for most scripts"
    ]


def test_an_unreadable_original_is_a_labelled_tile_until_it_is_mended(
    workspace: Workspace, listener
):
    one = keys(workspace)[0]
    path = artefact(workspace.corpus, INPUTS, one)
    kept = path.read_bytes()
    path.write_bytes(kept[: len(kept) // 2])
    summary = make_triptychs(workspace, reporter=listener)
    assert summary.missing_originals == 1
    assert "1 of 5 originals are missing" in listener.warnings[0]
    assert "original unreadable" in summary.gallery.read_text(encoding="utf-8")
    path.write_bytes(kept)
    mended = make_triptychs(workspace)
    assert (mended.composed, mended.missing_originals) == (1, 0)
    assert "original unreadable" not in mended.gallery.read_text(encoding="utf-8")
    assert np.array_equal(
        tile(mended.folder / f"{one}.png", 0), np.asarray(as_tile(Image.open(path), TILE_PX))
    )


def test_blank_pictures_are_flagged_everywhere(
    workspace: Workspace, listener, monkeypatch: pytest.MonkeyPatch
):
    one, real = keys(workspace)[1], share.draw_all

    def black_out(*arguments):
        for order, pixels in real(*arguments):
            yield order, np.zeros_like(pixels) if order.key == one else pixels

    monkeypatch.setattr(share, "draw_all", black_out)
    draw_split(workspace, SPLIT, "guided")
    monkeypatch.setattr(share, "draw_all", real)
    summary = make_triptychs(workspace, reporter=listener)
    assert summary.blank_pictures == 1
    assert "1 of 10 drawn pictures are of one colour" in listener.warnings[0]
    shown = tile(summary.folder / f"{one}.png", 2)
    assert shown.mean() > 200 and len(np.unique(shown)) > 2  # no black square, but words on grey
    text = summary.gallery.read_text(encoding="utf-8")
    assert text.count("fine-tuned picture blank") == 1
    assert make_triptychs(workspace).composed == 0


def test_a_damaged_picture_is_drawn_again(workspace: Workspace):
    first = make_triptychs(workspace)
    before = files(first.folder)
    key = keys(workspace)[2]
    path = draw_split(workspace, SPLIT, "base") / f"{key}.png"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    triptych = first.folder / f"{key}.png"
    triptych.write_bytes(triptych.read_bytes()[:-100])
    again = make_triptychs(workspace)
    assert (again.base_drawn, again.fine_tuned_drawn, again.composed) == (1, 0, 1)
    assert files(again.folder) == before


def test_a_split_of_one_picture(workspace: Workspace):
    write_held_out(workspace, keys(workspace)[:1])
    summary = make_triptychs(workspace)
    assert (summary.total, len(summary.contact_sheets)) == (1, 1)
