"""Pictures of edited faces: drawn by a rig, noisy ones again, the surround laid back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfe_core.arrays import Floats, Pixels
from sfe_core.diffusion.physical.pipeline import RigPipeline
from sfe_core.errors import RunError
from sfe_core.faces.crop import CropTransform
from sfe_core.files import derive_seed
from sfe_core.sampling.drawing import is_out_of_memory
from sfe_core.sampling.editing.noise import most_noise, noise_level
from sfe_core.sampling.editing.plan import EditShot
from sfe_core.sampling.editing.surround import keep_surround


@dataclass(frozen=True)
class EditJob:
    """A picture ready to be drawn.

    Args:
        shot: what it is.
        buffers: [9, S, S] of the edited face.
        code: [W] of the look.
        source: [S, S, 3] the photo's crop.
        kept: [S, S] share of the source that is laid back; None: none of it.
        faces: the source's and the edited head in numbers.
        square: where the crop is in its photo; None where nobody lays it back.
    """

    shot: EditShot
    buffers: Tensor
    code: Tensor
    source: Pixels
    kept: Floats | None
    faces: dict[str, Any]
    square: CropTransform | None = None


@dataclass(frozen=True)
class DrawnEdit:
    """A picture as it was drawn.

    Args:
        job: of what.
        picture: [S, S, 3].
        seed: that it was drawn with in the end.
        noise: its noise, grey levels.
        limit: from where on it counts as noisy.
        redrawn: how often it was drawn again.
    """

    job: EditJob
    picture: Pixels
    seed: int
    noise: float
    limit: float
    redrawn: int

    @property
    def noisy(self) -> bool:
        """Whether it is still noisy."""
        return self.noise > self.limit

    def remarks(self) -> dict[str, Any]:
        """What was found out about the picture, for its file."""
        return {
            "seed": self.seed,
            "noise": round(self.noise, 3),
            "most_noise": round(self.limit, 3),
            "redrawn": self.redrawn,
            "noisy": self.noisy,
            **self.job.faces,
        }


def draw_edits(
    pipeline: RigPipeline, jobs: Sequence[EditJob], steps: int, redraws: int
) -> list[DrawnEdit]:
    """Draw some pictures, noisy ones again with other seeds; the least noisy of each is kept.

    Args:
        pipeline: ready to draw.
        jobs: as many as may be drawn at once.
        steps: of denoising.
        redraws: how often a noisy one is drawn again at most.

    Raises:
        RunError: values that are not finite, or out of memory at a single picture.
    """
    best = _drawn(pipeline, jobs, [job.shot.seed for job in jobs], steps, 0)
    for attempt in range(1, redraws + 1):
        places = [place for place, one in enumerate(best) if one.noisy]
        if not places:
            break
        again = [jobs[place] for place in places]
        seeds = [derive_seed(job.shot.seed, "redraw", attempt) for job in again]
        for place, one in zip(places, _drawn(pipeline, again, seeds, steps, attempt), strict=True):
            kept = min(best[place], one, key=lambda drawn: drawn.noise)
            best[place] = DrawnEdit(
                kept.job, kept.picture, kept.seed, kept.noise, kept.limit, attempt
            )
    return best


def _drawn(
    pipeline: RigPipeline, jobs: Sequence[EditJob], seeds: Sequence[int], steps: int, attempt: int
) -> list[DrawnEdit]:
    pictures = _at_once(pipeline, jobs, seeds, steps)
    drawn = []
    for job, seed, picture in zip(jobs, seeds, pictures, strict=True):
        noise, limit = noise_level(picture), most_noise(job.source)
        if job.kept is not None:
            picture = keep_surround(picture, job.source, job.kept)
        drawn.append(DrawnEdit(job, picture, seed, noise, limit, attempt))
    return drawn


def _at_once(
    pipeline: RigPipeline, jobs: Sequence[EditJob], seeds: Sequence[int], steps: int
) -> list[Pixels]:
    """Pictures [S, S, 3]; where memory does not hold them all, in two halves."""
    try:
        drawn = pipeline(
            torch.stack([job.buffers for job in jobs]),
            torch.stack([job.code for job in jobs]),
            steps=steps,
            generators=list(seeds),
        )
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if len(jobs) == 1:
            raise RunError(
                "sfe edit", "out of memory at a single picture", "free memory"
            ) from error
    else:
        for job, one in zip(jobs, drawn, strict=True):
            if not torch.isfinite(one).all():
                raise RunError(
                    f"picture {job.shot.file}",
                    "the rig drew values that are not finite",
                    "set sampling.precision=float32, or package an earlier --step",
                )
        return [to_picture(one) for one in drawn]
    half = len(jobs) // 2
    return [
        *_at_once(pipeline, jobs[:half], seeds[:half], steps),
        *_at_once(pipeline, jobs[half:], seeds[half:], steps),
    ]


def to_picture(tensor: Tensor) -> Pixels:
    """[3, S, S] in [-1, 1] as uint8 [S, S, 3]."""
    levels = ((tensor.float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(levels.permute(1, 2, 0).cpu().numpy())
