"""Drawing with a rig: from buffers and a code of the look to pictures, in any number of steps.

No step adds noise, and every estimate of the picture stays in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    SchedulerMixin,
)
from torch import Tensor

from sfe_core.diffusion.handed_over import INDEX
from sfe_core.diffusion.physical.diffusion_rig import DiffusionRig, Prediction
from sfe_core.diffusion.physical.loading import load_rig
from sfe_core.diffusion.physical.rig_unet import BUFFER_CHANNELS, PICTURE_CHANNELS

Sampler = Literal["ddim", "dpm-solver++"]
STEPS = 20
# Ho et al. 2020, https://arxiv.org/abs/2006.11239, sec. 4: what rigs are trained on.
SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "prediction_type": "epsilon",
}


def training_schedule() -> DDPMScheduler:
    """The noise that rigs learn to take away."""
    return DDPMScheduler(**SCHEDULE)


def make_scheduler(sampler: Sampler = "ddim", prediction: Prediction = "epsilon") -> SchedulerMixin:
    """A scheduler that draws without noise of its own (eta 0) and keeps estimates in [-1, 1].

    Args:
        sampler: DDIM (Song et al. 2020, https://arxiv.org/abs/2010.02502) in equal strides from
            timestep 0 on, as published: of 20 steps the first is at 950. Or DPM-Solver++ of second
            order (Lu et al. 2022, https://arxiv.org/abs/2211.01095).
        prediction: what the rig says; a `RigPipeline` sets it itself.
    """
    schedule = {**SCHEDULE, "prediction_type": prediction}
    if sampler == "ddim":
        return DDIMScheduler(**schedule, clip_sample=True, timestep_spacing="leading")
    # With a largest value of 1, what diffusers calls thresholding is plain clipping to [-1, 1].
    return DPMSolverMultistepScheduler(
        **schedule, algorithm_type="dpmsolver++", thresholding=True, sample_max_value=1.0
    )


class RigPipeline(DiffusionPipeline):
    """A rig and how it draws; with this project installed its folder loads by `from_pretrained`.

    Args:
        rig: the network.
        scheduler: see `make_scheduler`; what the rig predicts is set in it.
    """

    rig: DiffusionRig
    scheduler: Any

    def __init__(self, rig: DiffusionRig, scheduler: SchedulerMixin) -> None:
        super().__init__()
        said = rig.config["prediction"]
        if scheduler.config["prediction_type"] != said:
            scheduler = type(scheduler).from_config(scheduler.config, prediction_type=said)
        self.register_modules(rig=rig, scheduler=scheduler)

    @property
    def size(self) -> int:
        """Side of its pictures, pixels."""
        return self.rig.config["image_size"]

    def use(self, sampler: Sampler) -> RigPipeline:
        """Draw by another scheduler from now on."""
        self.register_modules(scheduler=make_scheduler(sampler, self.rig.config["prediction"]))
        return self

    @torch.no_grad()
    def encode(self, pictures: Tensor, extra: Tensor | None = None) -> Tensor:
        """The code of how a person looks: [B, 3, S, S] in [-1, 1] to [B, latent_width] float32."""
        self.rig.eval()
        pictures = pictures.to(self.rig.device, self.rig.dtype)
        extra = None if extra is None else extra.to(self.rig.device)
        return self.rig.encode(pictures, extra).float()

    @torch.no_grad()
    def __call__(
        self,
        buffers: Tensor,
        codes: Tensor | None = None,
        pictures: Tensor | None = None,
        steps: int = STEPS,
        generators: Sequence[torch.Generator | int] | None = None,
        before_step: Callable[[], None] | None = None,
    ) -> Tensor:
        """Draw B pictures: [B, 3, S, S] float32 in [-1, 1], on the network's device.

        A picture depends on its own generator alone, not on its neighbours in the batch, beyond
        rounding.

        Args:
            buffers: [B, 9, S, S]: shaded face, normals, albedo; see `DiffusionRig.forward`.
            codes: [B or 1, latent_width], from `encode`; or
            pictures: [B or 1, 3, S, S] in [-1, 1], whose look is kept.
            steps: of denoising, 1 to 1000.
            generators: one per picture, on the CPU; or their seeds. None: fresh noise each time.
            before_step: called before every step; what it raises ends the drawing.

        Raises:
            ValueError: neither or both of codes and pictures are given, counts or sizes differ, or
                there are no such steps.
        """
        if (codes is None) == (pictures is None):
            raise ValueError("give either codes or the pictures to encode")
        count, drawn_by = len(buffers), _generators(generators, len(buffers))
        _check(buffers, self.size, steps)
        self.rig.eval()
        if codes is None:
            assert pictures is not None
            codes = self.encode(pictures)
        if len(codes) not in (1, count):
            raise ValueError(f"{len(codes)} codes for {count} pictures")
        device, dtype = self.rig.device, self.rig.dtype
        codes = codes.to(device, dtype).expand(count, -1)
        seen = buffers.to(device, dtype)
        shape = (PICTURE_CHANNELS, *buffers.shape[2:])
        noisy = torch.stack([torch.randn(shape, generator=one) for one in drawn_by]).to(device)
        self.scheduler.set_timesteps(steps, device=device)
        noisy = noisy * self.scheduler.init_noise_sigma
        # DDIM as in ADM: the noise is derived anew from the clipped estimate.
        clipped = isinstance(self.scheduler, DDIMScheduler)
        options = {"use_clipped_model_output": True} if clipped else {}
        for timestep in self.progress_bar(self.scheduler.timesteps):
            if before_step is not None:
                before_step()
            given = self.scheduler.scale_model_input(noisy, timestep).to(dtype)
            predicted = self.rig(given, timestep.expand(count), seen, codes).float()
            noisy = self.scheduler.step(predicted, timestep, noisy, **options).prev_sample
        return noisy.clamp(-1, 1)


def load_rig_pipeline(
    place: Path, sampler: Sampler | None = None, where: str = "model.base"
) -> RigPipeline:
    """A pipeline on the CPU, in float32, ready to draw and without a progress bar.

    Args:
        place: a package, the folder of one network, or a published .pt.
        sampler: how it draws; None: as the package says, else DDIM.
        where: the field or option it came from, for the error.

    Raises:
        UserError: see `load_rig`.
    """
    rig = load_rig(place, where)
    pipeline = RigPipeline(rig, make_scheduler(sampler or "ddim"))
    if sampler is None and (place / INDEX).is_file():
        pipeline = RigPipeline.from_pretrained(place, rig=rig, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _generators(
    given: Sequence[torch.Generator | int] | None, count: int
) -> Sequence[torch.Generator | None]:
    if given is None:
        return [None] * count
    if len(given) != count:
        raise ValueError(f"{len(given)} generators for {count} pictures")
    return [torch.Generator().manual_seed(one) if isinstance(one, int) else one for one in given]


def _check(buffers: Tensor, size: int, steps: int) -> None:
    wanted = (BUFFER_CHANNELS, size, size)
    if tuple(buffers.shape[1:]) != wanted:
        raise ValueError(f"buffers are {list(buffers.shape[1:])}, not {list(wanted)}")
    if not 1 <= steps <= SCHEDULE["num_train_timesteps"]:
        raise ValueError(f"{steps} steps, not 1 to {SCHEDULE['num_train_timesteps']}")
