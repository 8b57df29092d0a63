"""Benchmarks run when they are asked for by name (`make bench`), never with the tests.

They print and compare; no time is asserted, so a busy machine cannot fail them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.errors import UserError

PHOTOS = 24
PHOTO_PX = 256


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Stay out of `pytest` and `pytest tests`."""
    del collection_path
    asked = any(
        "benchmarks" in Path(str(argument).split("::")[0]).parts for argument in config.args
    )
    return None if asked else True


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The shipped tiny models, or random ones of a like size where they are not there yet."""
    import torch

    from sfe_core.assets import locate
    from sfe_core.faces.recognition.tiny_recognisers import TinyEmotionJudge, TinyEmotionNet
    from tests.tiny import make_tiny_base

    folder = tmp_path_factory.mktemp("models")
    makers = {
        "tiny-sd": lambda path: make_tiny_base(path, resolution=64),
        "tiny-emotion-loss": lambda path: TinyEmotionNet().save_pretrained(path),
        "tiny-emotion-judge": lambda path: TinyEmotionJudge().save_pretrained(path),
    }
    torch.manual_seed(0)
    found = {}
    for name, make in makers.items():
        try:
            found[name] = str(locate(name))
        except UserError:
            make(folder / name)
            found[name] = str(folder / name)
            print(f"\n{name} is not shipped yet: random weights instead")
    return found


@pytest.fixture(scope="session")
def settings(models: dict[str, str]) -> Config:
    """The tiny preset, pictures decoded for every image so that both ways do the same work."""
    return Config.model_validate(
        {
            "preprocess": {"crop_size": 128, "min_face_px": 24, "workers": 1},
            "model": {"base": models["tiny-sd"], "resolution": 64},
            "guidance": {"block_channels": [16, 32, 64]},
            "train": {"steps": 4, "batch_size": 8, "effective_batch": 8, "frozen": []},
            "loss": {"emotion_network": models["tiny-emotion-loss"]},
            "sampling": {"steps": 2, "batch_size": 8},
            "evaluate": {"judge": models["tiny-emotion-judge"]},
        }
    )


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory, settings: Config) -> Workspace:
    """A workspace with synthetic photographs and nothing else."""
    from sfe_core.synthesis.photos import synthesize

    folder = tmp_path_factory.mktemp("photos")
    synthesize(folder, PHOTOS, seed=1, size_px=PHOTO_PX, workers=2)
    return Workspace(folder, settings)


@pytest.fixture(scope="session")
def corpus(photos: Workspace) -> Workspace:
    """The same workspace after preprocess."""
    from sfe_core.corpus.preprocessing.preprocess import preprocess

    preprocess(photos)
    return photos
