"""How other programs are told what a model predicts, and what to set where they read no mark.

Read off their loaders. ComfyUI (`comfy/supported_models.py`): SDXL predicts v where the tensors
hold the key `v_pred`, Stable Diffusion 2 is told by its weights, Stable Diffusion 1 always counts
as noise prediction; its own writer adds `v_pred` and `ztsnr` to any. A1111
(`modules/sd_models_config.py`) builds the model that a .yaml of the file's name describes, and
newer versions read the key `ztsnr`; Forge (`backend/loader.py`) reads `parameterization` from that
.yaml. Model Metadata Standard 1.0.1: `modelspec.prediction_type`, v or epsilon. kohya's trainer:
`ss_v_parameterization`, `ss_zero_terminal_snr`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from sfe_core.files import write_text

_CONFIG = "scheduler_config.json"
_NODE = {"v_prediction": "v_prediction", "epsilon": "eps"}


@dataclass(frozen=True)
class Schedule:
    """What a model predicts, and over which noise.

    Args:
        prediction: epsilon or v_prediction.
        zero_snr: the last timestep is all noise.
        betas: the first and the last of the noise schedule, whose roots grow evenly.
        kind: the scheduler's class in diffusers.
    """

    prediction: str
    zero_snr: bool
    betas: tuple[float, float]
    kind: str

    @property
    def is_plain(self) -> bool:
        """Whether it is what every program takes Stable Diffusion 1.x for."""
        return self.prediction == "epsilon" and not self.zero_snr

    @property
    def words(self) -> str:
        """As the card says it."""
        what = "v (v_prediction)" if self.prediction == "v_prediction" else "the noise (epsilon)"
        return what + (", from a zero terminal SNR" if self.zero_snr else "")

    def asks_otherwise(self, other: Schedule) -> bool:
        """Whether a program set for `other` would draw wrongly."""
        return (self.prediction, self.zero_snr) != (other.prediction, other.zero_snr)


def read_schedule(scheduler: Path) -> Schedule:
    """The schedule in the folder of a diffusers scheduler."""
    config = json.loads((scheduler / _CONFIG).read_text(encoding="utf-8"))
    return Schedule(
        config.get("prediction_type", "epsilon"),
        bool(config.get("rescale_betas_zero_snr", False)),
        (float(config.get("beta_start", 0.00085)), float(config.get("beta_end", 0.012))),
        str(config.get("_class_name", "DDIMScheduler")),
    )


def header_marks(schedule: Schedule) -> dict[str, str]:
    """For the header of a safetensors file, by the Model Metadata Standard."""
    v = schedule.prediction == "v_prediction"
    return {"modelspec.prediction_type": "v" if v else schedule.prediction}


def kohya_marks(schedule: Schedule) -> dict[str, str]:
    """For the header of a LoRA in kohya's layout."""
    return {
        "ss_v_parameterization": str(schedule.prediction == "v_prediction"),
        "ss_zero_terminal_snr": str(schedule.zero_snr),
    }


def tensor_marks(schedule: Schedule) -> dict[str, torch.Tensor]:
    """Empty tensors whose names are the mark, for the single file."""
    marks = {
        "v_pred": schedule.prediction == "v_prediction",
        "ztsnr": schedule.zero_snr,
    }
    return {name: torch.empty(0) for name, there in marks.items() if there}


def write_config(path: Path, schedule: Schedule) -> None:
    """Write the .yaml that A1111 and Forge read beside a Stable Diffusion 1.x file of its name."""
    write_text(path, yaml.safe_dump({"model": _ldm_model(schedule)}, sort_keys=False))


def _ldm_model(schedule: Schedule) -> dict[str, Any]:
    """Stable Diffusion 1.x in the terms of `ldm` (Rombach et al. 2022), predicting as asked."""
    unet = {
        "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 320,
        "attention_resolutions": [4, 2, 1], "num_res_blocks": 2, "channel_mult": [1, 2, 4, 4],
        "num_heads": 8, "use_spatial_transformer": True, "transformer_depth": 1,
        "context_dim": 768, "use_checkpoint": False, "legacy": False,
    }  # fmt: skip
    vae = {
        "double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3,
        "ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [],
        "dropout": 0.0,
    }  # fmt: skip
    return {
        "target": "ldm.models.diffusion.ddpm.LatentDiffusion",
        "params": {
            "parameterization": "v" if schedule.prediction == "v_prediction" else "eps",
            "linear_start": schedule.betas[0],
            "linear_end": schedule.betas[1],
            "timesteps": 1000,
            "num_timesteps_cond": 1,
            "first_stage_key": "jpg",
            "cond_stage_key": "txt",
            "image_size": 64,
            "channels": 4,
            "cond_stage_trainable": False,
            "conditioning_key": "crossattn",
            "scale_factor": 0.18215,
            "use_ema": False,
            "unet_config": {
                "target": "ldm.modules.diffusionmodules.openaimodel.UNetModel",
                "params": unet,
            },
            "first_stage_config": {
                "target": "ldm.models.autoencoder.AutoencoderKL",
                "params": {
                    "embed_dim": 4,
                    "ddconfig": vae,
                    "lossconfig": {"target": "torch.nn.Identity"},
                },
            },
            "cond_stage_config": {"target": "ldm.modules.encoders.modules.FrozenCLIPEmbedder"},
        },
    }


def single_file_advice(schedule: Schedule, config: str | None, comfy_reads_marks: bool) -> str:
    """What to set to draw with the single file.

    Args:
        config: the .yaml beside it; None where A1111 and Forge have no such description.
        comfy_reads_marks: whether ComfyUI finds out by itself.
    """
    line = f"it predicts {schedule.words}. "
    if config is not None:
        line += (
            f"A1111 and Forge: keep `{config}`, which tells them, beside "
            f"it{_noise_setting(schedule)}. "
        )
    if comfy_reads_marks:
        line += "ComfyUI is told by the file itself; set it by hand in other programs. "
    else:
        line += (
            "ComfyUI reads no mark in Stable Diffusion 1 files and would draw noise: "
            f"{_node(schedule)}. "
        )
    return f"{line}diffusers: `from_single_file(…, config=<this folder>)`"


def lora_advice(schedule: Schedule, config: str | None) -> str:
    """What to set on the base before a LoRA draws; `config`: its .yaml, None where it has none."""
    diffusers = (
        f"`pipeline.scheduler = {schedule.kind}.from_pretrained(<this folder>, "
        'subfolder="scheduler")`'
    )
    line = f"the base must be set to predict {schedule.words}, or it draws noise. "
    if config is not None:
        line += (
            f"ComfyUI: {_node(schedule)}. A1111 and Forge: put `{config}` beside a copy of the "
            f"base's file, under that file's name{_noise_setting(schedule)}. "
        )
    return f"{line}diffusers: {diffusers}"


def _node(schedule: Schedule) -> str:
    sampling = _NODE.get(schedule.prediction, schedule.prediction)
    return (
        "put the node ModelSamplingDiscrete behind the loader, with sampling "
        f"{sampling} and zsnr {str(schedule.zero_snr).lower()}"
    )


def _noise_setting(schedule: Schedule) -> str:
    if not schedule.zero_snr:
        return ""
    return ', and set "Noise schedule for sampling" to Zero Terminal SNR'
