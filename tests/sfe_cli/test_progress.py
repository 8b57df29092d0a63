"""What long work shows, with and without a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sfe_cli import progress
from sfe_cli.progress import RichReporter, duration, quantity, rate


def reporter(terminal: bool) -> tuple[RichReporter, io.StringIO]:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=120)
    return RichReporter(console), stream


def test_plain_lines_without_a_terminal(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    told, stream = reporter(terminal=False)
    with told.task("faces", 4) as task:
        task.advance(1, "loss 0.5")
        task.advance(3)
    told.warn("odd")
    told.say("[not markup]")
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("faces: 1/4, ") and "left, loss 0.5" in lines[0]
    assert lines[2].startswith("faces: 4/4, ") and "in 0:00" in lines[2]
    assert lines[3:] == ["warning: odd", "[not markup]"]
    assert "\x1b" not in stream.getvalue()


def test_what_was_done_before_says_nothing_of_rate_and_time_left(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    told, stream = reporter(terminal=False)
    with told.task("Training", 120, done=100) as task:
        clock[0] += 10.0
        task.advance(5)
        clock[0] += 30.0
        task.advance(15)
    first, *_, last = stream.getvalue().splitlines()
    assert first == "Training: 105/120, 2.0 s each, 0:30 left"
    assert last == "Training: 120/120, 2.0 s each, in 0:40"
    with told.task("Training", 120, done=120):
        pass
    assert stream.getvalue().splitlines()[-1] == "Training: 120/120, in 0:00"


FIGURES = {"loss": "0.5012", "noise": "0.4000", "images/s": "12.3", "memory": "1.20 GB"}


def test_figures_stand_below_the_bar_and_go_with_it():
    told, stream = reporter(terminal=True)
    with told.task("Training", 2) as task:
        told.show({"loss": "9.9"})
        told.show(FIGURES)
        task.advance(2)
    lines = stream.getvalue().splitlines()
    names = next(line for line in reversed(lines) if "images/s" in line)
    values = lines[len(lines) - 1 - lines[::-1].index(names) + 1]
    assert all(name in names for name in FIGURES)
    assert all(value in values for value in FIGURES.values()) and "9.9" not in values
    with told.task("Encoding", 1) as task:
        task.advance()
    assert "12.3" not in stream.getvalue().splitlines()[-1]


def test_figures_are_in_the_lines_without_a_terminal():
    told, stream = reporter(terminal=False)
    with told.task("Training", 2) as task:
        told.show(FIGURES)
        task.advance(2, "loss 0.5")
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("loss 0.5012, noise 0.4000, images/s 12.3, memory 1.20 GB")
    with told.task("Encoding", 1) as task:
        task.advance()
    assert "12.3" not in stream.getvalue().splitlines()[-1]


def test_few_lines_for_much_work():
    told, stream = reporter(terminal=False)
    assert list(told.track(range(1000), "items")) == list(range(1000))
    assert stream.getvalue().count("\n") == 1


def test_bars_on_a_terminal_nest_and_close():
    told, stream = reporter(terminal=True)
    with told.task("outer", 2) as outer:
        with told.task("inner") as inner:
            inner.advance(5, "5 of some")
        outer.advance(2)
    told.say("done")
    with told.task("again", 1) as again:
        again.advance()
    text = stream.getvalue()
    assert "outer" in text and "inner" in text and "5 of some" in text and "2/2" in text
    assert told._progress is None


def test_a_failing_task_closes_its_bar():
    told, _ = reporter(terminal=True)
    with pytest.raises(RuntimeError), told.task("work", 3):
        raise RuntimeError
    assert told._progress is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (9999, "9999"), (48_120, "48.1k"), (553_433_881, "553M"), (4.3e9, "4.30G")],
)
def test_quantities_are_short(value, text):
    assert quantity(value) == text


def test_rates_and_durations():
    assert rate(12.34) == "12.3/s"
    assert rate(0.25) == "4.0 s each"
    assert rate(23456) == "23.5k/s"
    assert duration(7) == "0:07"
    assert duration(3 * 3600 + 130) == "3:02:10"
