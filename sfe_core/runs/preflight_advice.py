"""Which setting to change next: one that takes less memory, one that goes faster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sfe_core.config.model import Config
from sfe_core.diffusion.pixel_decoder import FULL
from sfe_core.recipes.stableface_checks import needs_pixels
from sfe_core.runs.preflight import MARGIN, UPDATE, Measured
from sfe_core.training.options import TrainPlan
from sfe_core.wording import bytes_told


@dataclass(frozen=True)
class Advice:
    """A setting of sfe.yaml and what it does."""

    setting: str
    effect: str

    def __str__(self) -> str:
        return f"{self.setting} ({self.effect})"


def cheaper(config: Config, plan: TrainPlan) -> Advice | None:
    """The next setting to take less memory: first those that cost no speed, then little, then much.

    Returns:
        None where all of them are taken.
    """
    return next(_cheaper(config, plan), None)


def _cheaper(config: Config, plan: TrainPlan) -> Iterator[Advice]:
    train, loss = config.train, config.loss
    trained = plan.trained_parameters
    on_gpu = plan.device == "cuda"
    if on_gpu and plan.precision == "no":
        yield Advice("train.mixed_precision: bf16", "half the activations, and faster")
    if config.data.cache == "none":
        yield Advice("data.cache: disk", "no encoder beside the UNet, and faster")
    if plan.batch_size > 1:
        yield Advice(
            f"train.batch_size: {plan.batch_size // 2}",
            "about half the activations; the updates stay the same",
        )
    pixels = needs_pixels(loss)
    if pixels and (loss.decode_chunk is None or loss.decode_chunk > 1) and loss.pixel_fraction > 0:
        yield Advice("loss.decode_chunk: 1", "one image at a time through the decoder")
    if on_gpu and train.ema_decay and train.ema_device == "model":
        yield Advice("train.ema_device: cpu", f"{bytes_told(4 * trained)} less")
    if on_gpu and train.optimiser == "adamw":
        yield Advice("train.optimiser: adamw-8bit", f"{bytes_told(6 * trained)} less")
    if not train.gradient_checkpointing:
        yield Advice(
            "train.gradient_checkpointing: true", "most activations, for a third more time"
        )
    if pixels and loss.pixel_decoder == FULL:
        yield Advice("loss.pixel_decoder: taesd", "a decoder of a fortieth of the size")
    if pixels and loss.pixel_fraction > 0.25:
        yield Advice("loss.pixel_fraction: 0.25", "fewer images decoded")
    if train.lora_rank == 0:
        yield Advice("train.lora_rank: 32", "no gradients, moments and average of the whole UNet")
    if config.model.resolution > 256:
        yield Advice("model.resolution: 256", "smaller pictures")


def faster(config: Config, plan: TrainPlan, measured: Measured, device_bytes: int) -> Advice | None:
    """The next setting to go faster, as far as the memory that is left allows.

    Args:
        config, plan: of the run.
        measured: its rehearsal.
        device_bytes: memory of a device.

    Returns:
        None where nothing is left to gain, or the rehearsal failed.
    """
    if measured.failed_in:
        return None
    left = MARGIN * device_bytes - max(measured.peak_bytes.values())
    return next(_faster(config, plan, measured, left), None)


def _faster(config: Config, plan: TrainPlan, measured: Measured, left: float) -> Iterator[Advice]:
    train = config.train
    on_gpu = plan.device == "cuda"
    # What grows with the batch, as an upper bound: all that is not weights and their like.
    activations = max(0, measured.peak_bytes[UPDATE] - plan.state_bytes)
    if on_gpu and plan.precision == "no":
        yield Advice("train.mixed_precision: bf16", "the device's fast matrix units")
    if config.data.cache == "none":
        yield Advice("data.cache: disk", "photos are encoded once")
    if train.gradient_checkpointing and 3 * activations < left:
        yield Advice("train.gradient_checkpointing: false", "a quarter less time")
    room = plan.accumulation > 1 and activations < left
    if room and on_gpu:
        yield Advice("--batch-size auto", "larger batches; the updates stay the same")
    if on_gpu and not train.channels_last and plan.precision != "no":
        yield Advice("train.channels_last: true", "the order that half precision prefers")
    if on_gpu and train.ema_device == "cpu" and 4 * plan.trained_parameters < left:
        yield Advice("train.ema_device: model", "no weights to move in every update")
    if on_gpu and config.train.loader_workers == 0:
        yield Advice("train.loader_workers: 4", "pictures are read ahead")
    if on_gpu and not train.compile:
        yield Advice("train.compile: true", "fewer, larger kernels, after a slow start")
    if needs_pixels(config.loss) and config.loss.pixel_fraction > 0.25:
        yield Advice("loss.pixel_fraction: 0.25", "fewer images decoded")
