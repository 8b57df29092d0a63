"""Fit the build into a time: how fast this device is, and what settings that leaves.

The rule: a tenth of the time is kept back for what is not trained. Of the rest every stage may take
its share of `SHARES` and takes no longer than its full settings need; the base takes what the
others leave, with up to `MOST_PASSES` over its faces. Counts and updates shrink in proportion.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from sfe_core.errors import UserError
from sfe_core.synthesis.tiny.autoencoder import VaeTraining
from sfe_core.synthesis.tiny.faces import Faces, render_few_faces
from sfe_core.synthesis.tiny.networks import (
    lay_out_unet,
    make_text_encoder,
    make_unet,
    train_tokenizer,
)
from sfe_core.synthesis.tiny.readers import READERS, Reader
from sfe_core.synthesis.tiny.recognition import TrainingFaces, train_reader
from sfe_core.synthesis.tiny.settings import FaceSet, Phase, Settings

SHARES = {"faces": 0.25, "vae": 0.2, "recognisers": 0.15}
KEPT_BACK = 0.1
MOST_PASSES = 200
# A set of fewer faces would teach, or tell, nothing.
LEAST_FACES = 64
# Looking at the base (pictures of 12 steps) costs as much as training on this many images.
LOOK_IMAGES = 1000
LOOK_SHARE = 0.05
READER_FIELDS = ("emotion_updates", "units_updates", "identity_updates")
MEASURED_FACES = 8
BATCHES = (64, 128, 256)  # of the base, on a GPU, beside the settings' own
WORTHWHILE = 1.25  # a batch of twice the size must be this much faster

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Speeds:
    """Per second on this device: faces rendered, and images learnt from."""

    faces: float
    vae_crops: float
    vae_whole: float
    readers: float  # mean over the readers
    base: Mapping[int, float]  # by batch


def seconds_of(text: str) -> float:
    """Seconds of a length of time such as 90s, 25m or 3h.

    Raises:
        UserError: it is none.

    >>> seconds_of("25m")
    1500.0
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if found is None or float(found[1]) == 0:
        raise UserError("--budget", f"{text!r} is no length of time", "say 90s, 25m or 3h")
    return float(found[1]) * _SECONDS[found[2]]


def fit(settings: Settings, seconds: float, speeds: Speeds) -> Settings:
    """The settings with as much rendered and learnt as fits into a time.

    A larger batch of the base is taken as long as doubling it is worth a quarter more images per
    second; the learning rate grows with the square root of the batch (Malladi et al. 2022,
    https://arxiv.org/abs/2205.10287).

    Args:
        settings: the full ones.
        seconds: for all stages together.
        speeds: of this device.
    """
    usable = seconds * (1 - KEPT_BACK)
    full = full_seconds(settings, speeds)
    taken = {name: min(full[name], share * usable) for name, share in SHARES.items()}
    scale = {name: taken[name] / full[name] for name in SHARES}
    fitted = _shrink_faces(settings, scale["faces"])
    shrink = {
        "vae_crop_steps": scale["vae"],
        "vae_whole_steps": scale["vae"],
        **dict.fromkeys(READER_FIELDS, scale["recognisers"]),
    }
    fewer: dict[str, Any] = {
        name: max(1, round(getattr(settings, name) * by)) for name, by in shrink.items()
    }
    return _fit_base(replace(fitted, **fewer), usable - sum(taken.values()), speeds.base)


def full_seconds(settings: Settings, speeds: Speeds) -> dict[str, float]:
    """What every stage but the base takes under full settings."""
    vae = settings.vae_batch * (
        settings.vae_crop_steps / speeds.vae_crops + settings.vae_whole_steps / speeds.vae_whole
    )
    updates = sum(getattr(settings, f"{reader.task.name}_updates") for reader in READERS)
    return {
        "faces": sum(chosen.count for chosen in face_sets(settings).values()) / speeds.faces,
        "vae": vae,
        "recognisers": updates * settings.reader_batch / speeds.readers,
    }


def face_sets(settings: Settings) -> dict[str, FaceSet]:
    """All sets by field."""
    return {name: value for name, value in vars(settings).items() if isinstance(value, FaceSet)}


def _shrink_faces(settings: Settings, scale: float) -> Settings:
    def fewer(count: int) -> int:
        return min(count, max(LEAST_FACES, round(count * scale)))

    changed: dict[str, Any] = {
        name: replace(chosen, count=fewer(chosen.count))
        for name, chosen in face_sets(settings).items()
    }
    return replace(settings, **changed)


def _fit_base(settings: Settings, seconds: float, speeds: Mapping[int, float]) -> Settings:
    batch = settings.base_batch
    while speeds.get(2 * batch, 0) > WORTHWHILE * speeds[batch]:
        batch *= 2
    images = min(speeds[batch] * seconds, MOST_PASSES * settings.base_faces.count)
    steps = max(1, int(images * (1 - LOOK_SHARE) / batch))
    longer = steps / settings.base_steps
    look_every = max(steps // 24, math.ceil(LOOK_IMAGES / LOOK_SHARE / batch))
    return replace(
        settings,
        base_steps=steps,
        base_phases=tuple(
            Phase(round(phase.steps * longer), phase.emotion_caption_share)
            for phase in settings.base_phases
        ),
        base_batch=batch,
        base_learning_rate=settings.base_learning_rate * math.sqrt(batch / settings.base_batch),
        base_warmup=min(settings.base_warmup, max(1, steps // 20)),
        base_checkpoint_every=max(1, look_every // 2),
        base_score_every=max(1, look_every // 2) * 2,
    )


def measure(
    settings: Settings, workers: int, device: torch.device, perceptual: nn.Module
) -> Speeds:
    """Render a few faces, and learn from them what every stage learns, a few updates each.

    Args:
        settings: the full ones.
        workers: rendering processes.
        device: where networks train.
        perceptual: as `VaeTraining` takes it.
    """
    render_few_faces(1, settings)  # the first one loads the head
    rendering = -time.perf_counter()
    faces = render_few_faces(MEASURED_FACES, settings)
    rendering += time.perf_counter()
    vae = VaeTraining([faces.images], settings, perceptual, device, None)
    crops = _per_second(vae.update, settings.vae_batch, device)
    vae.step = settings.vae_crop_steps
    whole = _per_second(vae.update, settings.vae_batch, device)
    seconds = [_reader_seconds(reader, faces, settings, device) for reader in READERS]
    batches = BATCHES if device.type == "cuda" else ()
    return Speeds(
        faces=MEASURED_FACES * workers / rendering,
        vae_crops=crops,
        vae_whole=whole,
        readers=settings.reader_batch * len(READERS) / sum(seconds),
        base={
            batch: _per_second(_base_update(faces, settings, batch, device), batch, device)
            for batch in (settings.base_batch, *batches)
        },
    )


def _per_second(update: Callable[[], object], images: int, device: torch.device) -> float:
    """Images per second of an update, the fastest of three after one to warm up."""
    fastest = math.inf
    for _ in range(4):
        start = time.perf_counter()
        update()
        if device.type == "cuda":
            torch.cuda.synchronize()
        fastest = min(fastest, time.perf_counter() - start)
    return images / fastest


def _reader_seconds(
    reader: Reader, faces: Faces, settings: Settings, device: torch.device
) -> float:
    """Seconds of an update: what three more take."""

    def seconds(updates: int) -> float:
        fewer: dict[str, Any] = dict.fromkeys(READER_FIELDS, updates)
        short = replace(settings, **fewer)
        start = time.perf_counter()
        train_reader(reader, TrainingFaces([faces], [], reader.seed), short, device)
        return time.perf_counter() - start

    return max((seconds(5) - seconds(2)) / 3, 1e-6)


def _base_update(
    faces: Faces, settings: Settings, batch: int, device: torch.device
) -> Callable[[], object]:
    tokenizer = train_tokenizer(faces.named, settings)
    text = make_text_encoder(tokenizer, settings).train()
    nn.Module.to(text, device)  # transformers' own hint takes no device
    unet = lay_out_unet(make_unet(settings).to(device), device).train()
    optimizer = torch.optim.AdamW([*text.parameters(), *unet.parameters()], fused=True)
    side = unet.config.sample_size
    latents = torch.randn(batch, unet.config.in_channels, side, side, device=device)
    times = torch.randint(1000, (batch,), device=device)
    ids = torch.randint(len(tokenizer), (batch, settings.text_tokens), device=device)

    def update() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss = unet(latents, times, text(ids)[0]).sample.float().square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return update
