"""Random-weight models and pictures, small enough that a test takes seconds.

Nothing here is trained: use it to test plumbing, shapes, gradients and determinism, never quality.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.faces.recognition.tiny_recognisers import TinyEmotionNet
from sfe_core.synthesis.tiny.networks import make_scheduler
from tests.corpora import write_corpus

_START, _END = "<|startoftext|>", "<|endoftext|>"

# Random pictures are like no face: no measure of theirs is out of these limits.
ANY_QUALITY = dict.fromkeys(
    ("mesh_coverage", "landmarks_on_mesh", "landmarks_drawn", "depth_relief", "depth_clipped"),
    (0.0, 1.0),
)


def make_tiny_base(folder: Path, resolution: int = 32, seed: int = 0) -> Path:
    """Save a Stable Diffusion pipeline of some 350 k random parameters in `folder`.

    The VAE halves twice (latents are resolution / 4), the UNet has two levels, the text encoder two
    layers and a vocabulary of single letters. `StableDiffusionPipeline.from_pretrained` loads it.
    """
    folder = Path(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = StableDiffusionPipeline(
            vae=_vae(resolution),
            text_encoder=_text_encoder(),
            tokenizer=make_tiny_tokenizer(),
            unet=_unet(resolution),
            scheduler=make_scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.save_pretrained(folder)
    return folder


def make_tiny_workspace(root: Path, base: Path, images: int = 24, **sections: dict) -> Workspace:
    """A workspace of 32 px over `base`, with a corpus of random pictures and a random recogniser.

    `sections` override fields of sfe.yaml, e.g. `train={"steps": 2}`.
    """
    recogniser = root / "recogniser"
    make_tiny_recogniser(recogniser)
    settings: dict[str, dict] = {
        "model": {"base": str(base), "resolution": 32},
        "guidance": {"block_channels": (16, 32, 64)},
        "preprocess": {"crop_size": 32},
        "quality": ANY_QUALITY,
        "train": {
            "steps": 4,
            "batch_size": 4,
            "effective_batch": 8,
            "learning_rate": 1e-4,
            "frozen": (),
            "log_every": 1,
            "checkpoint_every": 2,
            "sample_every": 0,
        },
        "loss": {"emotion_network": str(recogniser), "pixel_fraction": 0.5},
    }
    for name, values in sections.items():
        settings.setdefault(name, {}).update(values)
    workspace = Workspace(root=root, config=Config.model_validate(settings))
    make_tiny_corpus(workspace, images)
    return workspace


def make_tiny_recogniser(folder: Path, seed: int = 1) -> Path:
    """Save a random TinyEmotionNet."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        TinyEmotionNet(input_size=32, channels=(8, 8, 8, 8)).save_pretrained(folder)
    return folder


def make_tiny_corpus(workspace: Workspace, images: int = 24, seed: int = 0) -> None:
    """Write a valid corpus of random pictures at the workspace's crop size.

    A quarter of them is the validation split; emotions take turns.
    """
    random = np.random.default_rng(seed)
    size = workspace.config.preprocess.crop_size
    rows = [
        {
            "key": f"faces/{number:03d}",
            "width": size,
            "height": size,
            "face_count": 1,
            "crop_x": size / 2,
            "crop_y": size / 2,
            "crop_side": float(size),
            "landmarks": (random.random(136) * size).tolist(),
            "valence": float(random.uniform(-1, 1)),
            "arousal": float(random.uniform(-1, 1)),
            "identity": str(number),
            "split": workspace.config.split.validation_name if number % 4 == 0 else "train",
        }
        for number in range(images)
    ]
    write_corpus(workspace, rows, size)


def make_tiny_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer that knows single letters, digits and punctuation, through real files."""
    letters = [chr(code) for code in range(33, 127)]
    words = letters + [letter + "</w>" for letter in letters] + [_START, _END]
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = {word: index for index, word in enumerate(words)}
        Path(folder, "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        Path(folder, "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
        return CLIPTokenizer.from_pretrained(folder, model_max_length=32)


def _vae(resolution: int) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=resolution,
    )


def _unet(resolution: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=resolution // 4,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=4,
        norm_num_groups=4,
    )


def _text_encoder() -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=190,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=32,
            bos_token_id=188,
            eos_token_id=189,
            pad_token_id=189,
        )
    )
