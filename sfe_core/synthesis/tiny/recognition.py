"""Training of the readers of faces, and their scores on faces of unseen identities."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from sfe_core.arrays import Doubles
from sfe_core.files import atomic_path, write_json
from sfe_core.synthesis.tiny.autoencoder import to_pixels
from sfe_core.synthesis.tiny.faces import Faces
from sfe_core.synthesis.tiny.readers import Reader, as_columns, rows_to_learn
from sfe_core.synthesis.tiny.settings import Settings
from sfe_core.synthesis.tiny.views import DEGRADATIONS, DecodedFaces, RandomViews, decode_faces

log = logging.getLogger(__name__)

DECODED_CHANCE = 0.6  # that a face which was decoded is shown so
# Names of rows of scores, and the noise on the latents.
DECODED_VIEWS = {"VAE round trip": 0.0, "VAE round trip, latents with noise 0.3": 0.3}


class TrainingFaces:
    """Photographs of several sets as one, some of them as the autoencoder gives them back.

    Args:
        sets: faces.
        decoded: of each set, or none at all.
        seed: of the order, and of which are shown decoded.
        people: see `rows_to_learn`.
    """

    def __init__(
        self,
        sets: Sequence[Faces],
        decoded: Sequence[DecodedFaces],
        seed: int,
        people: tuple[int, int] | None = None,
    ) -> None:
        self.sets = sets
        self._starts = np.cumsum([0, *(len(faces.images) for faces in sets)])
        own = [rows_to_learn(faces, people, seed) for faces in sets]
        parts = [start + rows for start, rows in zip(self._starts, own, strict=False)]
        self._rows = np.concatenate(parts)
        self._random = np.random.default_rng(seed)
        self._decoded = [
            dict(zip(some.rows.tolist(), some.images, strict=True)) for some in decoded
        ] or [{}] * len(sets)

    def __len__(self) -> int:
        return len(self._rows)

    def batches(self, size: int) -> Iterator[Tensor]:
        """Rows [size] of all sets, without end: every face once before any comes again."""
        left = np.empty(0, np.int64)
        while True:
            while len(left) < size:
                left = np.concatenate([left, self._random.permutation(self._rows)])
            yield torch.from_numpy(left[:size])
            left = left[size:]

    def images(self, rows: Tensor) -> np.ndarray:
        """[B, S, S, 3] uint8."""
        chosen: list[np.ndarray] = []
        for row in rows.tolist():
            number = int(np.searchsorted(self._starts, row, side="right")) - 1
            place = row - int(self._starts[number])
            image = self.sets[number].images[place]
            if place in self._decoded[number] and self._random.random() < DECODED_CHANCE:
                image = self._decoded[number][place]
            chosen.append(image)
        return np.stack(chosen)


def train_reader(
    reader: Reader, faces: TrainingFaces, settings: Settings, device: torch.device
) -> Any:
    """Train one reader on random views; what comes out is already rounded to half precision.

    Args:
        reader: what is made.
        faces: it learns from.
        settings: updates, batch, rate.
        device: where to train; bfloat16 in either place.
    """
    torch.manual_seed(reader.seed)
    network = reader.network(settings.image_px).to(device, memory_format=torch.channels_last)
    objective = reader.task.objective(faces.sets, settings).to(device)
    parameters = [*network.parameters(), *objective.parameters()]
    updates = getattr(settings, f"{reader.task.name}_updates")
    rate, decay = settings.reader_learning_rate, settings.reader_weight_decay
    optimizer = torch.optim.AdamW(parameters, rate, weight_decay=decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=updates, pct_start=0.1
    )
    views, rows_of = RandomViews(reader.seed), faces.batches(settings.reader_batch)
    network.train()
    for update in range(updates):
        rows = next(rows_of)
        x, mirrored = views(to_pixels(faces.images(rows)))
        x = x.to(device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            output = network(x)
        loss = objective(output, rows.to(device), mirrored.to(device), update / updates)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if update % 50 == 0:
            log.info("%s %d/%d loss %.3f", reader.name, update, updates, loss.item())
    return network.half().float().eval()


@torch.inference_mode()
def read_faces(
    network: nn.Module,
    images: np.ndarray,
    device: torch.device,
    change: Callable[[Tensor], Tensor] = lambda x: x,
) -> Doubles:
    """Readings [N, K] of uint8 images [N, S, S, 3] that are changed before."""
    parts = [
        as_columns(network(change(to_pixels(images[start : start + 64])).to(device))).cpu()
        for start in range(0, len(images), 64)
    ]
    return torch.cat(parts).double().numpy()


class ReaderBuild:
    """Makes readers in a folder, each once.

    Args:
        work: folder for the networks, their scores and what is decoded for them.
        settings: every number.
        faces: a set by its name.
        vae: for the views that it gives back; None leaves them out.
        device: where to train.
    """

    def __init__(
        self,
        work: Path,
        settings: Settings,
        faces: Callable[[str], Faces],
        vae: AutoencoderKL | None,
        device: torch.device,
    ) -> None:
        self.work, self.settings, self.faces = work, settings, faces
        self.vae = None if vae is None else vae.eval().to(device)
        self.device = device

    def make(self, reader: Reader) -> None:
        """Train and score a reader, unless it stands: `NAME/` and `scores-NAME.json`."""
        target = self.work / reader.name
        if target.exists():
            return
        decoded = [] if self.vae is None else [self._decoded(one) for one in reader.learns_from]
        sets = [self.faces(name) for name in reader.learns_from]
        learnt = TrainingFaces(sets, decoded, reader.seed, reader.people)
        network = train_reader(reader, learnt, self.settings, self.device)
        write_json(self.work / f"scores-{reader.name}.json", self.score(reader, network))
        with atomic_path(target) as partial:
            network.to(memory_format=torch.contiguous_format)
            network.save_pretrained(partial, safe_serialization=True)

    def score(self, reader: Reader, network: nn.Module) -> dict[str, Any]:
        """Scores on unseen identities: as photographed, in every way made worse, in detail."""
        sets = [self.faces(name) for name in reader.tested_on]
        images = np.concatenate([faces.images for faces in sets])
        reference = read_faces(network, images, self.device)
        people = np.concatenate([faces.identity for faces in sets])
        pictures = {}
        for name, change in DEGRADATIONS.items():
            read = read_faces(network, images, self.device, change)
            pictures[name] = reader.task.scores(read, reference, sets)
        for name, noise in DECODED_VIEWS.items() if self.vae is not None else ():
            decoded = [self._all_decoded(one, noise).images for one in reader.tested_on]
            read = read_faces(network, np.concatenate(decoded), self.device)
            pictures[name] = reader.task.scores(read, reference, sets)
        for name in reader.also_on:
            others = [self.faces(name)]
            read = read_faces(network, others[0].images, self.device)
            pictures[f"set {name}"] = reader.task.scores(read, read, others)
        return {
            "faces": len(images),
            "identities": len(np.unique(people)),
            "pictures": pictures,
            "details": reader.task.details(reference, sets),
        }

    def _decoded(self, name: str) -> DecodedFaces:
        """Some faces of a training set, with noise on their latents."""
        assert self.vae is not None
        target = self.work / f"decoded-{name}.npz"
        share, most = self.settings.reader_decoded_share, self.settings.reader_latent_noise
        return decode_faces(self.faces(name), self.vae, target, share, (0.0, most))

    def _all_decoded(self, name: str, noise: float) -> DecodedFaces:
        """All faces of a set to test on."""
        assert self.vae is not None
        target = self.work / f"decoded-{name}-{noise}.npz"
        return decode_faces(self.faces(name), self.vae, target, noise=(noise, noise))
