"""Which devices a preprocess run gets."""

from __future__ import annotations

import pytest

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.corpus.preprocessing.placement import networks, place_preprocess
from sfe_core.errors import UserError
from sfe_core.processes.placement import Placement

OFFLINE = PreprocessConfig()
FULL = PreprocessConfig(detector="face-alignment", reconstruction="emoca", depth="zoedepth")


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four cores and two GPUs."""
    monkeypatch.setattr("sfe_core.corpus.preprocessing.placement.cpu_count", lambda: 4)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)


def test_networks_are_named() -> None:
    assert networks(OFFLINE) == []
    assert networks(FULL) == ["detector", "reconstruction", "depth"]
    assert networks(OFFLINE.model_copy(update={"reconstruction": "deca"})) == ["reconstruction"]


def test_without_a_choice_a_gpu_is_taken_if_it_is_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place_preprocess(FULL) == Placement("cuda", 1)
    assert place_preprocess(OFFLINE) == Placement("cpu", 4)
    assert place_preprocess(OFFLINE.model_copy(update={"workers": 3})) == Placement("cpu", 3)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert place_preprocess(FULL) == Placement("cpu", 4)


def test_the_choice_counts() -> None:
    assert place_preprocess(FULL, gpus=2) == Placement("cuda", 2)
    assert place_preprocess(FULL, cpu_processes=3) == Placement("cpu", 3)
    assert place_preprocess(OFFLINE, cpu_processes=0) == Placement("cpu", 4)


def test_what_cannot_be_is_an_error_not_a_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        UserError, match="--gpus 3: this machine has 2 .* use --gpus 2, or work on the CPU"
    ):
        place_preprocess(FULL, gpus=3)
    with pytest.raises(UserError, match="--gpus 1: no part .* use --cpu-processes 4"):
        place_preprocess(OFFLINE, gpus=1)
    with pytest.raises(UserError, match="both are given"):
        place_preprocess(FULL, gpus=1, cpu_processes=1)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(UserError, match="--gpus 1: this machine has 0 .* --cpu-processes 1"):
        place_preprocess(FULL, gpus=1)
