"""Preprocessing end to end: what it writes, what it skips, what it forgets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfe_core.config.loading import load_workspace
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.artefacts.hashes import artefact_hashes
from sfe_core.corpus.layout import MANIFEST, MAP_FOLDERS, artefact
from sfe_core.corpus.manifest import read_manifest, write_manifest
from sfe_core.corpus.preprocessing import decode_ahead, shard
from sfe_core.corpus.preprocessing import plan as plan_module
from sfe_core.corpus.preprocessing.photo_work import take_in
from sfe_core.corpus.preprocessing.preprocess import plan_preprocess, preprocess
from sfe_core.errors import RunError, UserError
from sfe_core.files import sha256_file
from tests.cases.portraits import portrait as portrait_of
from tests.cases.tight_crops import KNOWN_SETS, tight
from tests.listening import Listener
from tests.sfe_core.corpus.conftest import make_workspace


def files_of(corpus: Path) -> dict[str, bytes]:
    """Every file of a corpus but the empty lock and the report, which bears the folder's name."""
    found = {path.relative_to(corpus).as_posix(): path for path in corpus.rglob("*")}
    return {
        name: path.read_bytes()
        for name, path in found.items()
        if path.is_file() and name not in (".lock", "report.html")
    }


def rows_of(workspace: Workspace) -> dict[str, dict]:
    frame = read_manifest(workspace.corpus / MANIFEST)
    return {row["key"]: row for row in frame.to_dict("records")}


def test_rows_and_pictures(small_corpus: Workspace) -> None:
    rows = rows_of(small_corpus)
    assert {key: row["status"] for key, row in rows.items()} == {
        "a": "ok", "b/flipped": "ok", "b/grey": "ok", "c": "ok", "lawn": "no_face",
    }  # fmt: skip
    row = rows["a"]
    assert row["fit_error"] < 0.04 and len(row["landmarks"]) == 136 and len(row["actions"]) == 52
    assert row["emotion"] == "happy" and row["label_AU12"] == 4.0 and row["identity"] == "1"
    assert row["caption"] == "Happy, a woman in orange" and row["caption_source"] == "file"
    assert rows["b/grey"]["caption"] == "sad, close-up photo of a face"
    assert rows["c"]["caption"] == "close-up photo of a face" and rows["c"]["emotion"] is None
    assert np.isnan(rows["b/flipped"]["arousal"])
    for column, folder in (("inputs", "inputs"), *((m, f) for m, f in MAP_FOLDERS.items())):
        path = artefact(small_corpus.corpus, folder, "b/grey")
        assert rows["b/grey"][f"{column}_sha256"] == sha256_file(path)
        with Image.open(path) as picture:
            assert picture.size == (64, 64)
            assert picture.mode == ("I;16" if folder == "depth" else "RGB")
    with Image.open(artefact(small_corpus.corpus, "canvas", "c")) as canvas:
        assert canvas.size == (200, 200)
    assert (small_corpus.corpus / "preview.png").is_file()
    assert not list(small_corpus.corpus.rglob(".sfe-partial-*"))


def test_splits_keep_people_apart(small_corpus: Workspace) -> None:
    rows = rows_of(small_corpus)
    assert rows["a"]["split"] == rows["b/flipped"]["split"]
    assert sorted({row["split"] for row in rows.values() if row["status"] == "ok"}) == [
        "train", "val300",
    ]  # fmt: skip
    assert rows["lawn"]["split"] == ""


def test_mirrored_photo_gives_mirrored_fit(small_corpus: Workspace) -> None:
    rows = rows_of(small_corpus)
    assert rows["a"]["yaw"] == pytest.approx(-rows["b/flipped"]["yaw"], abs=4)
    assert rows["a"]["pitch"] == pytest.approx(rows["b/flipped"]["pitch"], abs=4)


def test_rerun_does_nothing_and_changes_nothing(copied: Workspace) -> None:
    before = read_manifest(copied.corpus / MANIFEST)
    assert plan_preprocess(copied).jobs == []
    summary = preprocess(copied)
    assert (summary.done, summary.kept) == (0, 5)
    after = read_manifest(copied.corpus / MANIFEST)
    assert before.astype(str).equals(after.astype(str))


def test_only_what_changed_is_done_again(copied: Workspace, portrait: Image.Image) -> None:
    artefact(copied.corpus, "depth", "c").unlink()
    portrait.resize((180, 180)).save(copied.photos / "a.png")
    (copied.photos / "b" / "grey.png").unlink()
    plan = plan_preprocess(copied)
    assert [job.key for job in plan.jobs] == ["a", "c"]
    assert plan.absent == ["b/grey.png"] and plan.stale == []
    assert plan_preprocess(copied, prune=True).stale == ["b/grey"]
    summary = preprocess(copied, prune=True)
    assert summary.done == 2 and summary.labels_unmatched == 1 and summary.pruned == ["b/grey"]
    assert artefact(copied.corpus, "depth", "c").is_file()
    assert not artefact(copied.corpus, "inputs", "b/grey").exists()
    assert "b/grey" not in rows_of(copied) and rows_of(copied)["a"]["width"] == 180


def test_other_settings_make_everything_new(copied: Workspace) -> None:
    larger = load_workspace(copied.root, ["preprocess.workers=1", "preprocess.crop_size=72"])
    # The landscape has no face at any size of crop.
    every = frozenset(("inputs", "landmarks", "depth", "mesh", "canvas"))
    assert {job.key: job.wanted for job in plan_preprocess(larger).jobs} == dict.fromkeys(
        ("a", "b/flipped", "b/grey", "c"), every
    )
    closer = load_workspace(copied.root, ["preprocess.min_face_px=40", "preprocess.crop_size=64"])
    assert [job.wanted for job in plan_preprocess(closer).jobs] == [None] * 5
    reworded = make_workspace(copied.root, "preprocess.caption_template=a {emotion} face")
    assert plan_preprocess(reworded).jobs == []
    preprocess(reworded)
    assert rows_of(copied)["b/grey"]["caption"] == "a sad face"


def test_captions_the_base_cannot_read_whole_are_counted(
    copied: Workspace, tiny_base: Path
) -> None:
    long = {"a": "happy, a woman in an orange suit, smiling", "lawn": "green " * 90}
    (copied.photos / "captions.json").write_text(json.dumps(long), encoding="utf-8")
    told = preprocess(make_workspace(copied.root, f"model.base={tiny_base}")).captions_cut
    assert told.startswith("1 of 4 captions are longer than the text encoder's 32 tokens")
    assert told.endswith("words lost, e.g. smiling")
    absent = make_workspace(copied.root, "model.base=/nowhere/at/all")
    assert preprocess(absent).captions_cut is None


def test_photo_that_lost_its_face_loses_its_pictures(copied: Workspace) -> None:
    Image.new("RGB", (90, 90)).save(copied.photos / "c.png")
    preprocess(copied)
    assert rows_of(copied)["c"]["status"] == "no_face"
    assert not artefact(copied.corpus, "inputs", "c").exists()


def test_torn_manifest_is_made_again(copied: Workspace) -> None:
    (copied.corpus / MANIFEST).write_bytes(b"PAR1 torn")
    assert preprocess(copied).done == 5


@pytest.mark.slow
def test_two_processes_write_the_same_bytes_as_one(
    copied: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_module, "BATCH_SIZE", 2)  # several orders, so that both are needed
    shutil.copytree(copied.photos, tmp_path / "v" / "photos")
    parallel = make_workspace(tmp_path / "v", "preprocess.workers=2")
    assert plan_preprocess(parallel).workers == 2
    assert preprocess(parallel).done == 5
    assert files_of(parallel.corpus) == files_of(copied.corpus)


def test_interrupted_work_is_kept(copied: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = files_of(copied.corpus)
    shutil.rmtree(copied.corpus)

    def stop_at_c(photos: list, order: object) -> list[dict]:
        if any(photo.job.key == "c" for photo in photos):
            raise KeyboardInterrupt
        return take_in(photos, order)

    monkeypatch.setattr(decode_ahead, "_BATCH_PHOTOS", 2)
    monkeypatch.setattr(shard, "take_in", stop_at_c)
    with pytest.raises(KeyboardInterrupt):
        preprocess(copied)
    monkeypatch.undo()
    rest = [job.key for job in plan_preprocess(copied).jobs]
    assert "c" in rest and len(rest) < 5
    assert preprocess(copied).kept == 5 - len(rest)
    assert files_of(copied.corpus) == whole


def test_full_disk_ends_the_run(copied: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(copied.corpus / "inputs")
    (copied.corpus / "inputs").write_text("a file where a folder must be")
    with pytest.raises(RunError, match="inputs"):
        preprocess(copied)


def test_bad_labels_are_told_before_the_work(copied: Workspace) -> None:
    shutil.rmtree(copied.corpus)
    (copied.photos / "labels.csv").write_text("key,emotion\na,joyish\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"labels.csv:2.*'joyish'"):
        preprocess(copied)
    assert not copied.corpus.exists()


@pytest.mark.parametrize("remove", [True, False])
def test_no_photos_is_an_error_that_says_what_to_do(tmp_path: Path, remove: bool) -> None:
    workspace = make_workspace(tmp_path)
    if remove:
        workspace.photos.rmdir()
    with pytest.raises(UserError, match="photos.*sfe synthesize"):
        preprocess(workspace)


@pytest.mark.slow
def test_extras_asked_for_once_are_kept_while_they_fit(copied: Workspace) -> None:
    whole = files_of(copied.corpus)
    once = make_workspace(copied.root, "preprocess.save_meshes=true")
    plan = plan_preprocess(once)
    assert {job.wanted for job in plan.jobs} == {frozenset({"meshes"})} and len(plan.jobs) == 4
    preprocess(once)
    mesh = copied.corpus / "meshes" / "b" / "grey.obj"
    content = mesh.read_bytes()
    assert rows_of(copied)["b/grey"]["meshes_sha256"] == sha256_file(mesh)
    # A plain run after it leaves them; the other pictures have not been touched.
    assert preprocess(copied).done == 0
    made = files_of(copied.corpus)
    assert made["meshes/b/grey.obj"] == content and len(made) == len(whole) + 4
    assert {name: made[name] for name in whole if name != MANIFEST} == {
        name: content for name, content in whole.items() if name != MANIFEST
    }
    # Other heads: the meshes that nobody asks for any more would be of the old ones.
    other = make_workspace(copied.root, "preprocess.min_face_px=31")
    preprocess(other)
    assert not mesh.exists() and rows_of(copied)["b/grey"]["meshes_sha256"] is None


def test_canvas_is_cleared_away_once_it_no_longer_fits(copied: Workspace) -> None:
    closer = make_workspace(
        copied.root, "preprocess.canvas=false", "preprocess.crop_rule=face-alignment"
    )
    preprocess(closer)
    assert not list((copied.corpus / "canvas").rglob("*.png"))
    row = rows_of(copied)["a"]
    assert row["canvas_sha256"] is None and "canvas" not in row["made_with"]
    assert row["landmarks"] is not None and row["yaw"] is not None


def test_changed_photo_with_one_picture_wanted_is_taken_anew(
    copied: Workspace, portrait: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    artefact(copied.corpus, "depth", "c").unlink()
    real = plan_preprocess

    def plan_then_change(*arguments):
        plan = real(*arguments)
        portrait.resize((150, 150)).save(copied.photos / "c.png")
        return plan

    target = "sfe_core.corpus.preprocessing.preprocess.plan_preprocess"
    monkeypatch.setattr(target, plan_then_change)
    assert "photo changed" in preprocess(copied).problems[0]
    assert not artefact(copied.corpus, "inputs", "c").exists()
    monkeypatch.undo()
    assert preprocess(copied).done == 1
    assert rows_of(copied)["c"]["width"] == 150 and rows_of(copied)["c"]["status"] == "ok"


@pytest.fixture
def tight_photos(tmp_path: Path) -> Workspace:
    """A face as each of three known sets hands it out, beside an ordinary portrait."""
    (tmp_path / "photos").mkdir()
    for kind in KNOWN_SETS:
        tight(1, kind).save(tmp_path / "photos" / f"{kind}.png")
    portrait_of(1, "happy").save(tmp_path / "photos" / "portrait.png")
    return make_workspace(tmp_path)


def test_crops_of_known_sets_are_taken_as_they_are(tight_photos: Workspace) -> None:
    heard = Listener()
    summary = preprocess(tight_photos, heard)
    assert summary.status_counts == {"ok": 4}
    rows = rows_of(tight_photos)
    assert {key: row["crop_rule"] for key, row in rows.items()} == {
        "fer": "as-is", "raf-db": "as-is", "affectnet": "as-is", "portrait": "landmarks",
    }  # fmt: skip
    for kind, (side, _) in KNOWN_SETS.items():
        row = rows[kind]
        assert (row["crop_x"], row["crop_y"], row["crop_side"]) == (side / 2, side / 2, side)
        assert row["invented_border"] == 0.0
        with Image.open(artefact(tight_photos.corpus, "inputs", kind)) as picture:
            shown = tight(1, kind).convert("RGB").resize(picture.size, Image.Resampling.LANCZOS)
            # But for the kernel at the very edge, where one repeats the border and one does not.
            off = np.abs(np.asarray(picture, int) - np.asarray(shown, int))
            assert off.max() <= 8 and off[3:-3, 3:-3].max() <= 1
        with Image.open(artefact(tight_photos.corpus, "canvas", kind)) as canvas:
            assert canvas.size == (side, side)
    assert heard.warnings[0].startswith("3 of 4 faces fill their photo")
    assert plan_preprocess(tight_photos).jobs == []


def test_tight_photos_can_be_extended_and_tell_how_far(tight_photos: Workspace) -> None:
    extended = make_workspace(tight_photos.root, "preprocess.tight_photos=extend")
    heard = Listener()
    assert preprocess(extended, heard).status_counts == {"ok": 4}
    rows = rows_of(extended)
    assert all(0.2 < rows[kind]["invented_border"] < 0.6 for kind in KNOWN_SETS)
    assert heard.warnings[0].startswith("3 of 4 faces have over 10% of their crop beyond")
    strict = make_workspace(
        tight_photos.root,
        "preprocess.tight_photos=extend",
        "quality.most_invented_border=0.1",
    )
    assert plan_preprocess(strict).jobs == []
    assert preprocess(strict).status_counts == {"out_of_range": 3, "ok": 1}
    assert "invented_border 0." in rows_of(strict)["fer"]["reason"]


def test_corpora_from_before_redo_only_the_photos_that_faces_fill(tight_photos: Workspace) -> None:
    preprocess(make_workspace(tight_photos.root, "preprocess.tight_photos=extend"))
    manifest = tight_photos.corpus / MANIFEST
    frame = read_manifest(manifest)
    made = artefact_hashes(tight_photos.config.preprocess, tight_photos.root).text
    frame["made_with"] = [made] * len(frame)  # as a version without the setting says it
    write_manifest(manifest, frame.drop(columns=["crop_rule", "invented_border", "brightness"]))
    plan = plan_preprocess(tight_photos)
    assert [job.key for job in plan.jobs] == ["affectnet", "fer", "raf-db"]
    preprocess(tight_photos)
    rows = rows_of(tight_photos)
    assert [rows[kind]["crop_rule"] for kind in KNOWN_SETS] == ["as-is"] * 3
    assert rows["portrait"]["crop_rule"] is None and rows["portrait"]["invented_border"] == 0.0
    assert rows["portrait"]["status"] == "ok" and np.isnan(rows["portrait"]["brightness"])
    assert plan_preprocess(tight_photos).jobs == []
