"""A recogniser as from outside: it knows no contempt, reads no affect, and wants faces cut out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sfe_core.evaluation.instruments import network_probes
from sfe_core.faces.recognition.reading import EmotionReading, FaceSquare


class OutsideJudge(nn.Module):
    """Random, and steady: one linear map of the cut face; it keeps what it was shown in `shown`."""

    classes = 7
    reads_affect = False
    face_square = FaceSquare(1.0)
    input_px = 16

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(11)
            self.head = nn.Linear(3 * self.input_px**2, self.classes)
        self.shown: list[Tensor] = []

    def forward(self, images: Tensor) -> EmotionReading:
        """See `EmotionRecogniser`."""
        self.shown.append(images)
        features = images.flatten(1)
        nothing = torch.full((len(images),), torch.nan)
        return EmotionReading(self.head(features), nothing, nothing, features)


def put_outside_judge(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, OutsideJudge]:
    """Let an evaluation load it by the path of a file; returns that path and the network."""
    network = OutsideJudge().eval().requires_grad_(False)
    path = folder / "outsider.bin"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"stands for weights")
    load = network_probes.load_recogniser
    monkeypatch.setattr(
        network_probes,
        "load_recogniser",
        lambda given: network if str(given) == str(path) else load(given),
    )
    return str(path), network
