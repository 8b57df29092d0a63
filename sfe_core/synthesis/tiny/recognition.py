"""Training of the two recognisers, and their scores on faces of unseen identities."""

from __future__ import annotations

import logging

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms import v2

from sfe_core.synthesis.tiny.faces import Faces
from sfe_core.synthesis.tiny.settings import Settings

log = logging.getLogger(__name__)


def as_tensor(images) -> Tensor:
    """[N, S, S, 3] uint8 array to [N, 3, S, S] uint8 tensor."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def _augmentation(size: int) -> nn.Module:
    # Drawn faces are softer, noisier and shifted beside rendered ones; the reading must not care.
    return nn.Sequential(
        v2.RandomHorizontalFlip(),
        v2.RandomAffine(degrees=6, translate=(0.05, 0.05), scale=(0.9, 1.12)),
        v2.ColorJitter(brightness=0.25, contrast=0.25, saturation=0.25),
        v2.RandomApply([v2.GaussianBlur(5, (0.3, 1.4))], p=0.4),
    )


def train_recogniser(network: nn.Module, faces: Faces, settings: Settings, seed: int) -> nn.Module:
    """Cross-entropy on the emotion, squared error on valence and arousal.

    Args:
        network: returns an `EmotionReading` of [B, 3, 64, 64] in [-1, 1].
        faces: training faces.
        seed: order and augmentation.
    """
    torch.manual_seed(seed)
    images, labels = as_tensor(faces.images), torch.from_numpy(faces.emotion)
    affect = torch.from_numpy(np.stack([faces.valence, faces.arousal], 1)).float()
    augment = _augmentation(settings.image_px)
    steps = settings.recogniser_epochs * (len(images) // settings.recogniser_batch)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.recogniser_learning_rate, weight_decay=0.05, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.recogniser_learning_rate, total_steps=steps, pct_start=0.1
    )
    network.train().to(memory_format=torch.channels_last)
    for step in range(steps):
        chosen = torch.randint(len(images), (settings.recogniser_batch,))
        x = augment(images[chosen]).float().div(127.5).sub(1)
        x = x + torch.rand(len(x), 1, 1, 1) * 0.12 * torch.randn_like(x)
        reading = network(x.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(reading.logits, labels[chosen], label_smoothing=0.05)
        read = torch.stack([reading.valence, reading.arousal], 1)
        loss = loss + F.mse_loss(read, affect[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            log.info("%s %d/%d loss %.3f", type(network).__name__, step, steps, loss.item())
    return network.eval()


@torch.inference_mode()
def score_recogniser(network: nn.Module, faces: Faces) -> dict[str, float]:
    """Top-1 share, and root mean squared error of valence and arousal."""
    images = as_tensor(faces.images)
    readings = [network(chunk.float().div(127.5).sub(1)) for chunk in images.split(128)]
    predicted = torch.cat([reading.logits for reading in readings]).argmax(1)
    top1 = (predicted == torch.from_numpy(faces.emotion)).float().mean().item()
    scores = {"faces": len(images), "top1": top1}
    for name in ("valence", "arousal"):
        read = torch.cat([getattr(reading, name) for reading in readings])
        truth = torch.from_numpy(getattr(faces, name)).float()
        scores[f"{name}_rmse"] = (read - truth).square().mean().sqrt().item()
    return scores
