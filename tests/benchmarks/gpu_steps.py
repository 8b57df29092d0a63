"""Images per second, peak memory and FLOPs of whole updates, on whatever device there is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from sfe_core.config.workspace import Workspace
from sfe_core.diffusion.prediction import add_noise, clean_estimate
from sfe_core.reporting import Reporter
from sfe_core.runs.start import build, plan_training
from sfe_core.training.engine.session import Session
from sfe_core.training.engine.update import update, wanted_batches
from sfe_core.training.options import TrainOptions

WARM_UP, UPDATES = 3, 10


@dataclass(frozen=True)
class Measured:
    """One way of training.

    Attributes:
        images_per_s: of the fastest of some updates.
        peak_bytes: device memory at its highest; 0 on the CPU.
        flops_per_image: forward and backward, convolutions and matrix products.
    """

    images_per_s: float
    peak_bytes: int
    flops_per_image: float

    def utilisation(self, flops_per_s: float) -> float:
        """Share of a device's measured rate that goes into the model, 0 to 1."""
        return self.images_per_s * self.flops_per_image / flops_per_s


def matmul_rate(device: torch.device, side: int = 8192) -> float:
    """FLOPs per second of a product of two square bfloat16 matrices."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = best_seconds(lambda: a @ b, device, repeats=10)
    return 2 * side**3 / seconds


def best_seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """The shortest of some timings, after one to warm up."""
    found = []
    for _ in range(1 + repeats):
        synchronize(device)
        started = time.perf_counter()
        work()
        synchronize(device)
        found.append(time.perf_counter() - started)
    return min(found[1:])


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(work: Callable[[], object], images: int, device: torch.device) -> Measured:
    """Time a repeatable update of `images` images; its memory and FLOPs."""
    for _ in range(WARM_UP):
        work()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = best_seconds(work, device, UPDATES)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    with FlopCounterMode(display=False) as counter:
        work()
    return Measured(images / seconds, peak, counter.get_total_flops() / images)


def measure_ours(workspace: Workspace, run: str, gpus: int | None) -> Measured:
    """Our own updates, as `sfe train` makes them, by the workspace's settings."""
    options = TrainOptions(run=run, gpus=gpus, cpu_processes=None if gpus else 1)
    session = build(workspace, plan_training(workspace, options), options, Reporter())
    batches = session.recipe.batches(wanted_batches(session))
    work = measured_update(session, batches)
    found = measure(work, session.plan.effective_batch, session.accelerator.device)
    session.accelerator.free_memory()
    return found


def measured_update(session: Session, batches) -> Callable[[], None]:
    """One update after the other; the FLOP counter sees the last."""

    def work() -> None:
        update(session, batches)
        session.step += 1

    return work


def measure_original(workspace: Workspace, batch: int, gpus: int | None) -> Measured:
    """A step of the original's design: float32, VAE and CLIP in it, every image decoded whole.

    The loss is right where the original's is not, at the same cost or more: the gradient goes
    through the recogniser.
    """
    options = TrainOptions(run=f"original-{batch}", gpus=gpus, cpu_processes=None if gpus else 1)
    session = build(workspace, plan_training(workspace, options), options, Reporter())
    device, base, model = session.accelerator.device, session.recipe.base, session.model
    networks = session.recipe.objective.composite
    raw = [session.recipe.dataset[place] for place in range(batch)]
    images = torch.stack([item["image"] for item in raw]).states.to(device)
    maps = {
        name: torch.stack([item["maps"][name] for item in raw]).states.to(device)
        for name in raw[0]["maps"]
    }
    vae = type(base.vae).from_pretrained(base.folder, subfolder="vae").to(device)
    vae.requires_grad_(False)
    with torch.no_grad():
        text = base.encode_text([item["caption"] for item in raw]).states.to(device)
    alphas, scale = session.recipe.objective.alphas, vae.config.scaling_factor
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-6)

    def work() -> None:
        with torch.no_grad():
            clean = vae.encode(images).latent_dist.sample() * scale
            real = networks.recogniser(images)
        times = torch.randint(0, len(alphas), (batch,), device=device)
        noise = torch.randn_like(clean)
        noisy = add_noise(clean, noise, alphas, times)
        prediction = model(noisy, times, text, maps=maps)
        drawn = vae.decode(clean_estimate("epsilon", noisy, prediction, alphas, times) / scale)
        read = networks.recogniser(drawn.sample)
        loss = (
            F.l1_loss(prediction, noise)
            + networks.perceptual(drawn.sample, images).mean()
            + F.l1_loss(read.valence, real.valence)
            + F.l1_loss(read.arousal, real.arousal)
            + F.l1_loss(read.logits, real.logits)
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return measure(work, batch, device)
