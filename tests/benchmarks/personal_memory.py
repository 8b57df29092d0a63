"""Bytes of a GPU that the personal presets hold, counted without a GPU and without weights.

`python -m tests.benchmarks.personal_memory` builds each preset's networks at full size on torch's
meta device, by its own settings and the project's own functions, and counts the storages of an
update, and of what else `sfe train --preflight` and the start of a run do: samples, class pictures,
encoding. It writes results/personal_memory.md and .json. See `counted_memory` for what a count
sees.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import torch
from torch import Tensor, nn

from sfe_core.config.loading import preset_config
from sfe_core.config.model import Config
from sfe_core.corpus.views import View
from sfe_core.diffusion.encoders import photos_at_once
from sfe_core.diffusion.families.contract import Texts
from sfe_core.diffusion.guided_unet import GuidedUNet
from sfe_core.diffusion.loading import BaseModels
from sfe_core.files import write_json, write_text
from sfe_core.network_layout import to_channels_last
from sfe_core.recipes import stableface
from sfe_core.recipes.personal import name_networks
from sfe_core.recipes.shared.draws import Slot
from sfe_core.runs.preflight import MARGIN
from sfe_core.training.batches.batch import Batch
from sfe_core.training.batches.data import ENCODE_BATCH
from sfe_core.training.engine import optimiser as optimisers
from sfe_core.training.engine.moving_average import MovingAverage
from sfe_core.training.engine.plan import lay_out
from tests.benchmarks.counted_memory import AsOnGPU, Count, backward, bytes_of
from tests.benchmarks.published_shapes import TOKENS, sd15_base, sdxl_base
from tests.benchmarks.results import FOLDER

NAME = "personal_memory"
META = torch.device("meta")
_ADAMW = torch.optim.AdamW
GB = 1e9
HALF = {"fp16": torch.float16, "bf16": torch.bfloat16, "no": None}
# CUDA context with cuDNN's and cuBLAS's kernels, 0.4 to 0.6 GB on cards of these kinds; and what
# cuDNN and cuBLAS take as workspace and the allocator loses between blocks. Not measured here.
ALLOWANCE = 1.0 * GB
# Preset to its base, and to the bytes of the card that its comment names.
PRESETS: dict[str, tuple[Callable[[], BaseModels], float | None]] = {
    "personal-11gb": (sd15_base, 11 * GB),
    "personal-sdxl": (sdxl_base, 24 * GB),
    "personal": (sd15_base, None),
}


@dataclass
class Training:
    """A preset's networks and optimiser, as `stableface.build` and `session` connect them."""

    config: Config
    base: BaseModels
    model: GuidedUNet
    optimiser: torch.optim.Optimizer
    ema: MovingAverage | None

    @property
    def trained(self) -> list[nn.Parameter]:
        """The parameters that train."""
        return [p for p in self.model.parameters() if p.requires_grad]

    @property
    def side(self) -> int:
        """Of a latent."""
        return self.config.model.resolution // self.base.vae_factor

    def parts(self) -> dict[str, list[Tensor]]:
        """What a run holds between updates, on its device."""
        kept: dict[str, list[Tensor]] = {
            "frozen weights": [p for p in self.model.parameters() if not p.requires_grad],
            "trained weights": [p.detach() for p in self.trained],
            "gradients": [p.grad for p in self.trained if p.grad is not None],
            "optimiser": [
                value
                for state in self.optimiser.state.values()
                for value in state.values()
                if isinstance(value, Tensor) and value.dim()
            ],
            "moving average": [],
            "VAE's decoder": list(self.base.vae.parameters()),
        }
        if self.ema is not None and self.config.train.ema_device == "model":
            frozen = {id(p) for p in self.model.parameters()}
            kept["moving average"] = [p for p in self.ema.model.parameters() if id(p) not in frozen]
        return kept


def connect(config: Config, base: BaseModels, device: torch.device = META) -> Training:
    """What `personal.build` and `session._connect` make of a base, without corpus and accelerate.

    Moments are there, as after a first update.
    """
    # Training needs no encoder once photos and captions are encoded; as `load_base` leaves it.
    base.vae.encoder = base.vae.quant_conv = None
    with device:
        model = stableface.build_model(config, base)
    if config.train.channels_last:
        to_channels_last(model, base.vae)
    named = name_networks(
        model,
        stableface.name_networks(model, config.train),
        cast(Any, SimpleNamespace(new_embeddings=False)),
    )
    ema = MovingAverage(model, config.train.ema_decay, config.train.ema_device)
    # The fused kernel knows no meta device; it keeps the same moments, and takes nothing beside.
    with mock.patch.object(optimisers.torch.optim, "AdamW", _unfused):
        optimiser = optimisers.build_optimiser(model, named, config.train)
    training = Training(config, base, model, optimiser, ema if config.train.ema_decay else None)
    for parameter in training.trained:
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return training


def _unfused(groups: Any, weight_decay: float, fused: bool) -> torch.optim.Optimizer:
    del fused
    return _ADAMW(groups, weight_decay=weight_decay, foreach=False)


@contextmanager
def counting(half: torch.dtype | None, *held: Iterable[Tensor]) -> Iterator[Count]:
    """A count in which these tensors are held already."""
    with Count() as count, AsOnGPU(half):
        for tensors in held:
            count.hold(tensors)
        count.restart()
        yield count


def count_update(training: Training) -> dict[str, int]:
    """Bytes at the highest point of an update, by what they are for.

    As `engine.update` goes through it: accumulated gradients of the passes before are there in
    the last pass, which is the one counted; then the step and the average, in which no activation
    is left. Clipping takes a number for each tensor.
    """
    config = training.config
    batch, passes = lay_out(config.train.batch_size, config.train.effective_batch, 1)
    if passes > 1:
        for parameter in training.trained:
            parameter.grad = torch.zeros_like(parameter)
    parts = training.parts()
    model, objective = training.model.train(), _objective(training)
    with counting(HALF[config.train.mixed_precision], *parts.values()) as count:
        terms = _loss(training, model, objective, batch, batch * passes)
        forward = count.live
        backward(terms.total)
        peak = count.peak
        del terms
        torch.nn.utils.clip_grad_norm_(training.trained, config.train.max_gradient_norm)
        after = count.peak
    found = {name: bytes_of(tensors) for name, tensors in parts.items()}
    # Without passes before, gradients come to be while activations go.
    rest = sum(found.values())
    return {
        **found,
        "activations and the like": peak - rest,
        "total": max(peak, after),
        "kept for the backward pass": forward - rest,
    }


def _objective(training: Training) -> stableface.Objective:
    config, base = training.config, training.base
    composite = stableface.build_composite(config)
    assert not composite.needs_pixels and not config.train.text_encoder
    numbers = torch.zeros(2)
    texts = _texts(training, 1)
    return stableface.build_objective(
        config,
        base,
        composite,
        cast(Any, SimpleNamespace(emotions=numbers.long(), valence=numbers, arousal=numbers)),
        cast(Any, SimpleNamespace(empty_text=texts.states, empty_pooled=texts.pooled)),
        next(training.model.parameters()).device,
    )


def _texts(training: Training, count: int) -> Texts:
    unet, device = training.base.unet, next(training.model.parameters()).device
    states = torch.empty(count, TOKENS, unet.config.cross_attention_dim, device=device)
    if not training.base.family.has_time_ids:
        return Texts(states)
    encoder: Any = training.base.text_encoders["text_encoder_2"]
    return Texts(states, torch.empty(count, encoder.config.projection_dim, device=device))


def _loss(
    training: Training,
    model: nn.Module,
    objective: stableface.Objective,
    images: int,
    update: int,
) -> Any:
    """`batch_loss` of random latents, with a weight an image as `Personal.loss` gives."""
    device, side, texts = objective.alphas.device, training.side, _texts(training, images)
    latent = torch.empty(images, 4, side, side, device=device)
    time_ids = torch.zeros(images, 6, device=device)
    slots = [Slot(View(0), 500, False, False, False, place) for place in range(images)]
    batch = Batch(
        latent,
        torch.empty_like(latent),
        texts.states,
        {},
        None,
        torch.zeros(images, 2, 3, device=device),
        texts.pooled,
        time_ids if training.base.family.has_time_ids else None,
    )
    return stableface.batch_loss(
        model,
        objective,
        batch,
        slots,
        stableface.UpdateCounts(update, 0),
        image_weights=torch.ones(images, device=device),
    )


@torch.no_grad()
def count_sample(training: Training) -> int:
    """The most while `draw_samples` draws a batch: a guided step of the UNet, then the VAE."""
    config = training.config
    size, side = config.sampling.batch_size, training.side
    model = training.model.eval()
    held = training.parts().values()
    with counting(HALF[config.train.mixed_precision], *held) as count:
        _guided_step(training, model, size)
        training.base.vae.decode(torch.empty(size, 4, side, side, device=META))
    return count.peak


def _guided_step(training: Training, model: GuidedUNet, size: int) -> None:
    side, texts = training.side, _texts(training, 2 * size)
    time_ids = torch.zeros(2 * size, 6, device=META)
    model(
        torch.empty(2 * size, 4, side, side, device=META),
        torch.zeros(2 * size, dtype=torch.long, device=META),
        texts.states,
        added=training.base.family.added_conditions(texts, time_ids),
    )


@torch.no_grad()
def count_class_pictures(config: Config, base: BaseModels) -> int:
    """The most while `ClassPictures` draws a batch: the whole base is there, nothing trains."""
    whole = Training(
        config, base, GuidedUNet(base.unet, cast(Any, nn.Module())), cast(Any, None), None
    )
    networks = (base.unet, base.vae, *base.text_encoders.values())
    held = [p for network in networks for p in network.parameters()]
    size, side = config.sampling.batch_size, whole.side
    with counting(HALF[config.train.mixed_precision], held) as count:
        _guided_step(whole, whole.model.eval(), size)
        base.vae.decode(torch.empty(size, 4, side, side, device=META))
    return count.peak


@torch.no_grad()
def count_encoding(config: Config, base: BaseModels, at_once: int) -> int:
    """The most while `LatentCache` fills, in float32; the UNet is not on the device yet.

    There are the base's decoder, the text encoders, which encoded the captions just before, and a
    VAE of the encoders' own. `at_once` photos are in a pass.
    """
    side = config.model.resolution
    held = [p for network in base.text_encoders.values() for p in network.parameters()]
    held += [*base.vae.parameters()]
    with counting(None, held) as count:
        for start in range(0, ENCODE_BATCH, at_once):
            size = min(at_once, ENCODE_BATCH - start)
            base.vae.encode(torch.empty(size, 3, side, side, device=META))
    return count.peak


def count_preset(name: str) -> dict[str, Any]:
    """All numbers of a preset."""
    make, card = PRESETS[name]
    config, base = preset_config(name), make()
    moments = {
        "encoding photos": count_encoding(config, base, photos_at_once(config.model.resolution)),
        "class pictures": count_class_pictures(config, base),
    }
    whole_batch = count_encoding(config, base, ENCODE_BATCH)
    training = connect(config, base)
    update = count_update(training)
    moments |= {"update": update["total"], "samples": count_sample(training)}
    most = max(moments.values())
    found: dict[str, Any] = {
        "resolution": config.model.resolution,
        "precision": config.train.mixed_precision,
        "images_per_pass": lay_out(config.train.batch_size, config.train.effective_batch, 1)[0],
        "trained_parameters": sum(p.numel() for p in training.trained),
        "update_bytes": update,
        "moments_bytes": moments,
        "encoding_whole_batch_bytes": whole_batch,
        "most_bytes": most,
    }
    if card is not None:
        found |= {
            "card_bytes": card,
            "fits_at_margin": most <= MARGIN * card,
            "fits_allowed": most + ALLOWANCE <= card,
        }
    return found


# ---- The report ----------------------------------------------------------------------------------


def sections(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The parts of results/personal_memory.md."""
    yield "# Memory of the personal presets on a GPU: counted, not measured"
    yield (
        f"`python -m tests.benchmarks.{NAME}`, torch {torch.__version__}. No GPU was at hand: "
        "networks of the published sizes lie on torch's meta device, by the preset's settings, and "
        "the bytes of all tensors that live at once are counted. A run's last pass of an update is "
        "counted, with the gradients, moments and averages of those before. A count does not see "
        "what kernels take for themselves, what is lost between blocks, and the CUDA context: "
        f"{ALLOWANCE / GB:.1f} GB are allowed for them (a context of 0.4 to 0.6 GB, the rest for "
        f"workspaces and fragments), a guess from experience. `--preflight` itself holds its peak "
        f"against {MARGIN} of the card. Gigabytes of 10^9 bytes."
    )
    yield "## An update"
    yield table(
        ["held at its highest point, GB", *found],
        [
            [part, *(_told(one["update_bytes"][part]) for one in found.values())]
            for part in next(iter(found.values()))["update_bytes"]
        ],
    )
    yield (
        "The last line is a part of the one with activations: what the forward pass left behind. "
        "Where an update is one pass, its gradients come to be while activations go, and are "
        "counted among these."
    )
    yield "## Each moment of a run"
    yield table(
        ["highest, GB", *found],
        [
            [part, *(_told(one["moments_bytes"][part]) for one in found.values())]
            for part in next(iter(found.values()))["moments_bytes"]
        ],
    )
    whole = ", ".join(f"{k} {_told(v['encoding_whole_batch_bytes'])}" for k, v in found.items())
    yield (
        f"Encoding and class pictures come before the first update. {ENCODE_BATCH} photos encoded "
        f"in one pass, as before `Encoders.photos` split them, take {whole} GB."
    )
    yield "## Does it fit"
    rows = []
    for name, one in found.items():
        if "card_bytes" in one:
            most, card = one["most_bytes"], one["card_bytes"]
            limit, padded = MARGIN * card, most + ALLOWANCE
            verdicts = ("yes" if one[key] else "no" for key in ("fits_at_margin", "fits_allowed"))
            rows.append([name, *map(_told, (card, limit, most, padded)), *verdicts])
    yield table(
        ["preset", "card", f"{MARGIN} of it", "most", "with allowance", "fits", "with allowance"],
        rows,
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _told(count: float) -> str:
    return f"{count / GB:.2f}"


def main() -> None:
    """Count, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("presets", nargs="*", help="only these, printed and not written")
    chosen = parser.parse_args().presets
    found = {name: count_preset(name) for name in chosen or PRESETS}
    told = "\n\n".join(sections(found)) + "\n"
    if chosen:
        print(told)
        return
    setting = {"torch": torch.__version__, "counted": True, "margin": MARGIN}
    setting |= {"allowance_bytes": ALLOWANCE}
    write_json(FOLDER / f"{NAME}.json", {"setting": setting, "presets": found})
    write_text(FOLDER / f"{NAME}.md", told)


if __name__ == "__main__":
    main()
