"""The worker's side of the protocol: a request comes in, a result or an error goes out."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.errors import RunError, UserError
from sfe_core.processes.launching import follow, launcher_env
from sfe_core.processes.worker import EVENT_MARK, Rank, answer, as_json
from sfe_core.reporting import Reporter


@dataclass(frozen=True)
class Wish:
    folder: Path
    config: PreprocessConfig
    names: tuple[str, ...] = ()


def echo(wish: Wish, rank: Rank) -> Wish:
    if wish.names == ("bad",):
        raise UserError("names", "bad", "give others")
    return wish


@pytest.mark.parametrize("in_file", [True, False])
def test_a_request_comes_back_whole_from_a_file_or_as_typed(tmp_path, capsys, in_file):
    wish = Wish(tmp_path, PreprocessConfig(crop_size=64, depth="zoedepth"), ("a", "b"))
    text, file = json.dumps(as_json(wish)), tmp_path / "request.json"
    file.write_text(text)
    assert answer(echo, Wish, [str(file) if in_file else text]) == 0
    event, told = json.loads(capsys.readouterr().out.removeprefix(EVENT_MARK))
    assert event == "done" and told == as_json(wish)
    assert answer(lambda asked, rank: wish if asked == wish else None, Wish, [text]) == 0
    assert json.loads(capsys.readouterr().out.removeprefix(EVENT_MARK)) == ["done", told]


def test_every_process_tells_its_error_and_the_first_of_a_machine_its_result(monkeypatch, capsys):
    good, bad = (
        json.dumps({"folder": "x", "config": {}, "names": names}) for names in ([], ["bad"])
    )
    for rank, local_rank, told in ((0, 0, 1), (1, 1, 0), (2, 0, 1)):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("LOCAL_RANK", str(local_rank))
        assert answer(echo, Wish, [good]) == 0
        assert capsys.readouterr().out.count('"done"') == told
        assert answer(echo, Wish, [bad]) == UserError.exit_code
        assert (
            capsys.readouterr().out == f'{EVENT_MARK}["error", 2, "names", "bad", "give others"]\n'
        )


def test_a_rank_is_as_launchers_tell_it(monkeypatch):
    assert Rank.of({}) == Rank(0, 1, 0)
    assert Rank.of({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}) == Rank(3, 4, 1)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert Rank(3, 4, 1).take_device().type == "cpu"
    monkeypatch.delenv("ACCELERATE_USE_CPU")
    chosen = []
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    assert str(Rank(3, 4, 1).take_device()) == "cuda:1" and chosen[0].index == 1


def test_a_worker_that_ends_well_without_its_result_is_an_error():
    with pytest.raises(RunError, match="worker: ended without a result; report this"):
        follow([sys.executable, "-c", "pass"], launcher_env("cpu", 1, {}), Reporter(), "worker")
