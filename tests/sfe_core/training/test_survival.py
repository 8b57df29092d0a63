"""Runs that are killed, stopped or damaged go on as if nothing had happened."""

from __future__ import annotations

import shutil

import pytest
import torch

from sfe_core.corpus.manifest import read_manifest, write_manifest
from sfe_core.errors import RunError, UserError
from sfe_core.losses import noise
from sfe_core.recipes.shared import samples
from sfe_core.training.engine import room
from sfe_core.training.engine.checkpoints import list_checkpoints, read_meta
from sfe_core.training.engine.runlog import read_metrics
from tests.listening import Listener
from tests.sfe_core.conftest import with_settings
from tests.sfe_core.training.engine.test_loop import PLAIN, run, weights_of

pytestmark = pytest.mark.slow


@pytest.fixture
def quick(workspace, monkeypatch):
    """Six updates of four images, a checkpoint after each second one, rough samples at the end."""
    monkeypatch.setattr(samples, "SAMPLE_STEPS", 1)
    train_section = {
        "steps": 6,
        "batch_size": 4,
        "effective_batch": 4,
        "log_every": 2,
        "checkpoint_every": 2,
        "keep_checkpoints": 2,
        "trackers": (),
    }
    return with_settings(workspace, loss=PLAIN, train=train_section)


def test_a_changed_corpus_stops_the_run_unless_accepted(quick):
    run(with_settings(quick, train={"steps": 2}), run="first")
    changed = with_settings(quick, train={"steps": 2, "log_every": 1, "batch_size": 2})
    listener = Listener()
    run(changed, listener, resume="auto")  # neither bears on what is learnt
    assert sum("train.log_every: 1, was 2" in line for line in listener.lines) == 1
    manifest = quick.corpus / "manifest.parquet"
    rows = read_manifest(manifest)
    rows.loc[rows["split"] == "train", "caption"] = "another caption"
    write_manifest(manifest, rows)
    with pytest.raises(UserError, match="the corpus: other images.*--accept-changes"):
        run(changed, resume="auto")
    run(changed, listener, resume="auto", accept_changes=True)
    assert any("with the corpus: other images" in line for line in listener.lines)


def broken_at(steps, monkeypatch):
    """Make the loss NaN in these updates, counted from 1."""
    honest, calls = noise.noise_l1, []

    def sometimes(*values):
        calls.append(1)
        return honest(*values) * (float("nan") if len(calls) in steps else 1.0)

    monkeypatch.setattr(noise, "noise_l1", sometimes)


def test_updates_that_are_not_finite_are_skipped_and_counted(quick, monkeypatch):
    broken_at({2, 3, 5}, monkeypatch)
    listener = Listener()
    summary = run(with_settings(quick, train={"max_skipped_updates": 3}), listener)
    assert summary.skipped == 3 and summary.step == 6
    assert len([line for line in listener.lines if "skipped" in line]) == 3
    assert read_meta(summary.checkpoint).skipped == 3
    assert [line["skipped"] for line in read_metrics(summary.run)] == [1, 2, 3]
    assert all(tensor.isfinite().all() for tensor in weights_of(summary.checkpoint).values())


def test_a_skipped_update_changes_no_weight(quick, monkeypatch):
    quick = with_settings(quick, train={"checkpoint_every": 1, "keep_checkpoints": 9, "steps": 3})
    broken_at({2}, monkeypatch)
    first, second, third = list_checkpoints(run(quick).run)
    before, skipped, after = (weights_of(folder) for folder in (first, second, third))
    assert all(torch.equal(skipped[name], tensor) for name, tensor in before.items())
    assert not all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_too_many_in_a_row_stop_the_run_and_name_the_last_good_checkpoint(quick, monkeypatch):
    broken_at(range(3, 99), monkeypatch)
    quick = with_settings(quick, train={"max_skipped_updates": 3})
    with pytest.raises(RunError, match=r"update 5: .* 3 times in a row.*checkpoint-2:") as stopped:
        run(quick, run="sick")
    good, newest = list_checkpoints(quick.runs / "sick")
    assert str(good) in str(stopped.value)
    before, after = weights_of(good), weights_of(newest)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_run_that_learnt_nothing_ends_with_an_error_and_can_be_started_again(quick, monkeypatch):
    broken_at(range(1, 99), monkeypatch)
    words = (
        r"update 6: .*every update.*nothing was learnt; no checkpoint.*lower train.learning_rate"
    )
    for _ in range(2):  # nothing is in the way of the same command
        with pytest.raises(RunError, match=words) as ended:
            run(quick, run="sick")
        assert ended.value.exit_code == 1
        assert list_checkpoints(quick.runs / "sick") == []
    assert not (quick.runs / "sick" / "samples").exists()


def test_a_run_that_learns_no_more_says_so_at_its_end(quick, monkeypatch):
    broken_at({4, 5, 6}, monkeypatch)
    listener = Listener()
    summary = run(with_settings(quick, train={"keep_checkpoints": 1}), listener)
    assert (summary.skipped, summary.skipped_last) == (3, 3)
    good = summary.run / "checkpoint-4"
    assert f"the last 3 of 6 updates were skipped; the last checkpoint that learnt is {good}" in (
        listener.lines
    )
    # Whatever the limit, it is there, beside the newest one, which is to be gone on from.
    assert list_checkpoints(summary.run) == [good, summary.run / "checkpoint-6"]


def test_weights_that_are_no_numbers_are_not_saved(quick):
    huge = with_settings(quick, train={"learning_rate": 1e38, "schedule": "constant"})
    with pytest.raises(RunError, match="weights are NaN or infinite; no checkpoint was saved yet"):
        run(with_settings(huge, train={"checkpoint_every": 1, "weight_decay": 10.0}), run="sick")


def test_a_full_disk_costs_old_checkpoints_first_and_never_the_newest(tmp_path, monkeypatch):
    for step in (1, 2, 3):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "meta.json").write_text("x" * 1000)
    free = 1500

    def usage(path):
        deleted = 3 - len(list_checkpoints(tmp_path))
        return shutil._ntuple_diskusage(10_000, 0, free + 1000 * deleted)

    monkeypatch.setattr(room.shutil, "disk_usage", usage)
    assert room.needed_bytes(tmp_path, 1, True) == 1050
    room.make_room(tmp_path, 1500, "top1")
    assert len(list_checkpoints(tmp_path)) == 3
    with pytest.raises(RunError, match="a checkpoint takes .* are free on its disk"):
        room.make_room(tmp_path, 3501, "top1")
    assert len(list_checkpoints(tmp_path)) == 3
    room.make_room(tmp_path, 2500, "top1")
    assert [folder.name for folder in list_checkpoints(tmp_path)] == [
        "checkpoint-2",
        "checkpoint-3",
    ]


def test_a_disk_too_small_ends_the_run_in_words(quick, monkeypatch):
    full = shutil._ntuple_diskusage(10, 10, 0)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda path: full)
    with pytest.raises(RunError, match="free space"):
        run(quick)
