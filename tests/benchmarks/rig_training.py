"""Stage 2 of recipe physical beside a plain training loop on the same network and photos.

`python -m tests.benchmarks.rig_training --side 64 --updates 20` measures each way in a process of
its own, by turns, and tells images per second, peak memory and their ratios; `SFE_RECORD=1` keeps
them in results/rig_training.json; of `--network published --side 256 --batch 2` in
results/rig_training_published.json. The plain loop does what published ones of this kind do:
float32, the encoder run in training mode on every photo of every step, a DataLoader over tensors in
memory, Adam, the gradient clipped to 1.0, no average of the weights. `--precision bf16` and
`--no-ema` show what each part of the difference is due to.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from sfe_core.config.workspace import Workspace
from sfe_core.diffusion.physical.diffusion_rig import DiffusionRig
from sfe_core.diffusion.physical.pipeline import training_schedule
from sfe_core.recipes.physical import Physical, collate_photos
from sfe_core.reporting import Reporter
from sfe_core.runs.start import build, plan_training
from sfe_core.training.engine.update import update, wanted_batches
from sfe_core.training.options import TrainOptions
from tests.benchmarks.results import record
from tests.rig_workspace import rig_workspace

WARM_UP = 3
ALBUM = 18  # photos, 15 of them learnt from
# As tiny-rig, and as published.
NETWORKS: dict[str, dict[str, Any]] = {
    "tiny": {
        "base_width": 32,
        "multipliers": [1, 1, 2, 3],
        "attention_px": [8],
        "blocks_per_level": 1,
        "encoder_width": 16,
        "latent_width": 64,
        "dropout": 0.0,
    },
    "published": {
        "base_width": 128,
        "multipliers": None,
        "attention_px": [16],
        "blocks_per_level": 2,
        "encoder_width": 64,
        "latent_width": 64,
    },
}
WAYS = ("plain", "sfe")


def workspace_of(folder: Path, options: argparse.Namespace) -> Workspace:
    """An album, and the weights of a stage 1 to go on from, random."""
    network = NETWORKS[options.network]
    names = {"attention_px": "attention_sizes"}
    given = {names.get(name, name): value for name, value in network.items()}
    torch.manual_seed(0)
    DiffusionRig(image_size=options.side, **given).save_pretrained(folder / "stage1")
    return rig_workspace(
        folder,
        {**network, "freeze_encoder": True},
        photos=ALBUM,
        side=options.side,
        model={"base": str(folder / "stage1")},
        train={
            "steps": 1_000_000,
            "batch_size": options.batch,
            "effective_batch": options.batch,
            "learning_rate": 1e-5,
            "mixed_precision": options.precision,
            "ema_decay": 0.999 if options.ema else 0.0,
        },
    )


def sfe_updates(workspace: Workspace) -> Iterator[Callable[[], object]]:
    """One after the other, an update of the engine."""
    options = TrainOptions(run="benchmark", cpu_processes=1)
    session = build(workspace, plan_training(workspace, options), options, Reporter())
    try:
        batches = session.recipe.batches(wanted_batches(session))
        while True:
            yield lambda: update(session, batches)
            session.step += 1
    finally:
        session.close()


def plain_updates(workspace: Workspace) -> Iterator[Callable[[], object]]:
    """One after the other, an update of the plain loop."""
    options = TrainOptions(run="benchmark", cpu_processes=1)
    session = build(workspace, plan_training(workspace, options), options, Reporter())
    recipe = session.recipe
    assert isinstance(recipe, Physical)
    rig, photos = recipe.model.rig, recipe.source.photos
    all_of = collate_photos([photos[view] for view in photos.views]).to(torch.device("cpu"))
    session.close()
    del session, recipe
    rig.encoder.frozen = False
    rig.train()  # batch statistics of the encoder as well, as published
    learnt = [*rig.denoisingUNet.parameters()]
    adam = torch.optim.Adam(learnt, lr=1e-5)
    alphas = training_schedule().alphas_cumprod
    loader = DataLoader(
        TensorDataset(all_of.pictures, all_of.buffers),
        batch_size=workspace.config.train.batch_size,
        shuffle=True,
        drop_last=True,
    )

    def learn(pictures: torch.Tensor, buffers: torch.Tensor) -> None:
        times = torch.randint(0, len(alphas), (len(pictures),))
        noise = torch.randn_like(pictures)
        alpha = alphas[times][:, None, None, None]
        noisy = alpha.sqrt() * pictures + (1 - alpha).sqrt() * noise
        predicted = rig(noisy, times, buffers, pictures=pictures)
        errors = (predicted - noise).square().mean((1, 2, 3))
        (errors * (1 - alphas[times])).mean().backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        adam.step()
        adam.zero_grad()

    while True:
        for pictures, buffers in loader:
            yield lambda pictures=pictures, buffers=buffers: learn(pictures, buffers)


def timed(way: str, options: argparse.Namespace) -> dict[str, float]:
    """Images per second of one way, by the processor's time, and its peak memory."""
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        workspace = workspace_of(Path(folder), options)
        updates = {"plain": plain_updates, "sfe": sfe_updates}[way](workspace)
        seconds = []
        for number in range(WARM_UP + options.updates):
            learn = next(updates)
            start = time.process_time(), time.perf_counter()
            learn()
            spent = time.process_time() - start[0], time.perf_counter() - start[1]
            if number >= WARM_UP:
                seconds.append(spent)
    own, wall = (statistics.median(one[part] for one in seconds) for part in (0, 1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "images_per_cpu_s": options.batch / own,
        "images_per_s": options.batch / wall,
        "peak_bytes": float(peak),
    }


def compared(options: argparse.Namespace, arguments: list[str]) -> dict[str, Any]:
    """Every way in turn, `--rounds` times; the median of each number, and the ratios."""
    rounds: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            command = [sys.executable, "-m", "tests.benchmarks.rig_training", *arguments]
            done = subprocess.run(
                [*command, "--only", way], check=True, capture_output=True, text=True
            )
            rounds[way].append(json.loads(done.stdout.splitlines()[-1]))
    found: dict[str, Any] = {
        way: {name: statistics.median(one[name] for one in measured) for name in measured[0]}
        for way, measured in rounds.items()
    }
    found["ratio"] = {name: found["sfe"][name] / found["plain"][name] for name in found["sfe"]}
    return found


def main() -> None:
    """Measure, tell, and keep if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--network", choices=tuple(NETWORKS), default="tiny")
    parser.add_argument("--precision", choices=("no", "bf16", "auto"), default="auto")
    parser.add_argument("--no-ema", dest="ema", action="store_false")
    parser.add_argument("--only", choices=WAYS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(timed(options.only, options)))
        return
    found = compared(options, sys.argv[1:])
    told = {name: getattr(options, name) for name in ("network", "precision", "ema", "updates")}
    print(json.dumps(found, indent=2))
    name = "rig_training" if options.network == "tiny" else f"rig_training_{options.network}"
    record(name, {**told, **found}, options.side, options.batch)


if __name__ == "__main__":
    main()
