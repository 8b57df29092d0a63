"""Images per second through an update, beside the shortest loop with the same networks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from sfe_core.config.workspace import Workspace
from sfe_core.diffusion.prediction import add_noise, clean_estimate, training_target
from sfe_core.reporting import Reporter
from sfe_core.runs.start import build, plan_training
from sfe_core.training.engine.session import Session
from sfe_core.training.engine.update import update, wanted_batches
from sfe_core.training.options import TrainOptions
from tests.benchmarks.measure import compare

pytestmark = pytest.mark.benchmark
UPDATES = 4


def open_session(corpus: Workspace, folder: Path) -> Session:
    """What `sfe train` builds before its first update."""
    shutil.copytree(corpus.corpus, folder / "corpus")
    workspace, options = Workspace(folder, corpus.config), TrainOptions(run="benchmark")
    return build(workspace, plan_training(workspace, options), options, Reporter())


def bare_update(session: Session, batch, optimiser) -> None:
    """Noise, predict, decode, compare, step: no accumulation, EMA, accelerate, logs or draws."""
    base, model, networks = session.recipe.base, session.model, session.recipe.objective.composite
    weights = session.config.loss
    alphas = base.scheduler.alphas_cumprod
    kind, scale = base.scheduler.config.prediction_type, base.vae.config.scaling_factor
    clean = batch.latent_mean * scale
    times = torch.randint(0, len(alphas), (len(clean),))
    noise = torch.randn_like(clean)
    noisy = add_noise(clean, noise, alphas, times)
    prediction = model(noisy, times, batch.text, maps=batch.maps)
    drawn = base.vae.decode(clean_estimate(kind, noisy, prediction, alphas, times) / scale).sample
    with torch.no_grad():
        real = networks.recogniser(batch.images)
    read = networks.recogniser(drawn)
    loss = (
        weights.noise * F.l1_loss(prediction, training_target(kind, clean, noise, alphas, times))
        + weights.perceptual * networks.perceptual(drawn, batch.images).mean()
        + weights.valence * F.l1_loss(read.valence, real.valence)
        + weights.arousal * F.l1_loss(read.arousal, real.arousal)
        + weights.expression * F.l1_loss(read.logits, real.logits)
    )
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), session.config.train.max_gradient_norm)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def test_images(corpus: Workspace, tmp_path: Path):
    session = open_session(corpus, tmp_path)
    size = session.plan.effective_batch
    device = session.accelerator.device
    batch = next(session.recipe.batches(wanted_batches(session))).to(device)
    optimiser = torch.optim.AdamW(session.model.parameters(), lr=1e-6)

    def ours() -> int:
        batches = session.recipe.batches(wanted_batches(session))
        for _ in range(UPDATES):
            update(session, batches)
        return UPDATES * size

    def bare() -> int:
        for _ in range(UPDATES):
            bare_update(session, batch, optimiser)
        return UPDATES * size

    compare(f"train, 64 px, batch {size}, all losses", "images", ours, bare)
