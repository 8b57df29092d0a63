"""Images per second beside diffusers' train_text_to_image.py: same model, photos, batch, precision.

Aim: the noise loss alone at 1.3 times its images/s, the full composite loss at 0.7 times. The
script has no guidance encoders: the ways without them train the same model, the rest a larger one.
"""

from __future__ import annotations

import json
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import pytest

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.reader import Corpus
from sfe_core.training.engine.update import update, wanted_batches
from tests.benchmarks.diffusers_script import require_script, update_seconds
from tests.benchmarks.results import record
from tests.benchmarks.test_train import open_session

pytestmark = pytest.mark.benchmark
UPDATES = 12
ROUNDS = 4
NOISE_ONLY = {"perceptual": 0, "valence": 0, "arousal": 0, "expression": 0, "features": 0}
# As in the tiny preset: a quarter of an update is decoded.
PIXELS = {"pixel_fraction": 0.25, "pixel_max_timestep": 600}
UNGUIDED: dict[str, Any] = {"maps": ()}
WAYS: dict[str, dict[str, dict[str, Any]]] = {
    "noise only": {"loss": NOISE_ONLY, "guidance": UNGUIDED},
    "composite": {"loss": PIXELS, "guidance": UNGUIDED},
    "noise only, guided": {"loss": NOISE_ONLY},
    "composite, guided": {"loss": PIXELS},
}


def with_captions(corpus: Workspace, folder: Path) -> Path:
    """The training split's crops as the script reads them: pictures and metadata.jsonl."""
    rows = Corpus.open(corpus).split("train")
    folder.mkdir()
    lines = []
    for number, row in enumerate(rows.to_dict("records")):
        name = f"{number:04d}.png"
        shutil.copy(corpus.corpus / "inputs" / f"{row['key']}.png", folder / name)
        lines.append(json.dumps({"file_name": name, "text": row["caption"]}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def our_seconds(corpus: Workspace, folder: Path, changes: dict[str, dict[str, Any]]) -> list[float]:
    """Seconds of each update of our own, after the first."""
    values = corpus.config.model_dump()
    # The script keeps no average; both then do without.
    values["train"] |= {"ema_decay": 0.0, "steps": UPDATES + 1}
    for section, fields in changes.items():
        values[section] |= fields
    config = type(corpus.config).model_validate(values)
    session = open_session(Workspace(corpus.root, config), folder)
    batches = session.recipe.batches(wanted_batches(session))
    seconds = []
    for _ in range(UPDATES + 1):
        started = time.perf_counter()
        update(session, batches)
        session.step += 1
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def test_beside_diffusers(corpus: Workspace, tmp_path: Path):
    script = require_script()
    config = corpus.config
    size, side = config.train.effective_batch, config.model.resolution
    photos = with_captions(corpus, tmp_path / "photos")
    taken: dict[str, list[float]] = {"diffusers": [], **{name: [] for name in WAYS}}
    for number in range(ROUNDS):
        folder = tmp_path / f"diffusers-{number}"
        folder.mkdir()
        base = Path(config.model.base)
        taken["diffusers"] += update_seconds(script, base, photos, folder, UPDATES, size, side)
        for name, changes in WAYS.items():
            ours = tmp_path / f"{name.replace(', ', '-').replace(' ', '-')}-{number}"
            taken[name] += our_seconds(corpus, ours, changes)
    # The median: an update now and then is disturbed by others on the machine.
    rates = {name: size / statistics.median(seconds) for name, seconds in taken.items()}
    ratios = {name: rates[name] / rates["diffusers"] for name in WAYS}
    for name, rate in rates.items():
        told = f"  x {ratios[name]:.2f} of diffusers'" if name in ratios else ""
        print(f"\n{name:<20} {rate:8.2f} images/s{told}", flush=True)
    record("train_beside_diffusers", {"images_per_s": rates, "ratios": ratios}, side, size)
    assert all(len(seconds) == ROUNDS * UPDATES for seconds in taken.values())
