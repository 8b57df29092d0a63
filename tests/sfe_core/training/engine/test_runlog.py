"""metrics.jsonl: appended, cut back on resuming, means that skip what was not there."""

from __future__ import annotations

import numpy as np

from sfe_core.training.engine.runlog import METRICS, RunLog, Window, read_metrics


def test_lines_after_the_checkpoint_are_taken_out(tmp_path):
    log = RunLog(tmp_path)
    for step in (1, 2, 3):
        log.write({"step": step, "total": step / 2, "raw": {"noise": 0.1}})
    log.close()
    again = RunLog(tmp_path, resumed_at=2)
    again.write({"step": 3, "total": 9.0})
    again.close()
    assert [(line["step"], line["total"]) for line in read_metrics(tmp_path)] == [
        (1, 0.5),
        (2, 1.0),
        (3, 9.0),
    ]


def test_a_line_cut_short_is_left_out(tmp_path):
    (tmp_path / METRICS).write_text('{"step": 1, "total": 1.0}\n{"step": 2, "to')
    assert [line["step"] for line in read_metrics(tmp_path)] == [1]
    assert read_metrics(tmp_path / "nothing") == []


def test_tensorboard_reads_what_was_written(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = RunLog(tmp_path, trackers=["tensorboard"], config={"train": {"steps": 5}})
    log.write({"step": 5, "total": 0.25, "raw": {"noise": 0.5}})
    log.picture("samples", np.full((4, 8, 3), 200, np.uint8), 5)
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("raw/noise")] == [(5, 0.5)]
    assert [(e.step, e.value) for e in events.Scalars("total")] == [(5, 0.25)]
    (picture,) = events.Images("samples")
    assert (picture.step, picture.height, picture.width) == (5, 4, 8)
    assert "steps: 5" in str(events.Tensors("config/text_summary")[0])


def test_means_over_the_updates_that_had_a_term():
    window = Window()
    window.add({"total": 1.0, "raw/valence": 0.4})
    again = Window(window.state())
    again.add({"total": 2.0})
    assert again.means() == {"total": 1.5, "raw/valence": 0.4}
