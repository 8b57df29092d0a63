"""One hash over everything a base model is made of, the same whatever form its files have."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import SchedulerMixin
from transformers import CLIPTokenizer, PreTrainedModel

from sfe_core.diffusion.families.contract import BaseConfigs
from sfe_core.diffusion.families.known import family_of
from sfe_core.diffusion.loading import load_part, read_configs
from sfe_core.diffusion.unpacking import base_folder
from sfe_core.diffusion.weight_files import find_weights, is_read, plain_name
from sfe_core.files import sha256_file, sha256_json

# Of a network's configuration, what says how its file was made or what size it draws by default.
_IDLE = {"architectures", "dtype", "torch_dtype", "transformers_version", "sample_size"}


def hash_base(folder: Path) -> str:
    """Hex SHA-256 over every part of a base model: UNet, VAE, text encoders, tokenizers, schedule.

    Weights count by their values, so that shards, .bin, or half-precision files of the very same
    values give the same hash; configurations without what is default anyway.

    Raises:
        SfeError: the base or a file of it cannot be read.
    """
    folder = base_folder(folder)
    configs = read_configs(folder)
    family = family_of(configs)
    parts: dict[str, Any] = {}
    for name, kind in family.parts(configs).items():
        if issubclass(kind, SchedulerMixin):
            scheduler = load_part(folder, name)
            parts[name] = {key: scheduler.config.get(key) for key in family.schedule_fields}
        elif issubclass(kind, CLIPTokenizer):
            parts[name] = _vocabulary(load_part(folder, name))
        else:
            parts[name] = [_telling(kind, configs, name), _hash_weights(folder / name)]
    return sha256_json(parts)


def is_base(folder: Path, recorded: str) -> bool:
    """Whether a base is the one whose hash a checkpoint recorded.

    Checkpoints of before families have `_hash_of_files`, which is asked where the hash differs.
    """
    folder = base_folder(folder)
    return recorded in (hash_base(folder), _hash_of_files(folder))


def _hash_of_files(folder: Path) -> str:
    """Hex SHA-256 over the weight files of UNet, VAE and (first) text encoder, as they lie."""
    files = sorted(
        path
        for part in ("unet", "vae", "text_encoder")
        for path in (folder / part).glob("*")
        if path.suffix in {".safetensors", ".bin"}
    )
    return sha256_json([[path.name, sha256_file(path)] for path in files])


def _hash_weights(folder: Path) -> dict[str, Any]:
    """Name of every tensor to its shape and the hash of its values in float32."""
    files = find_weights(folder)
    found = {}
    for name, tensor in files.tensors() if files else ():
        values = tensor.float() if tensor.is_floating_point() else tensor
        data = values.contiguous().reshape(-1).view(torch.uint8).numpy().data
        if not is_read(name):
            continue
        found[plain_name(name)] = [
            list(tensor.shape),
            hashlib.sha256(data).hexdigest(),
        ]
    return found


def _telling(kind: type, configs: BaseConfigs, name: str) -> dict[str, Any]:
    """A part's configuration without idle fields and those that hold what is default anyway."""
    default = _defaults(kind)
    plain = json.loads(json.dumps(dict(configs.of(name))))
    return {
        key: value
        for key, value in plain.items()
        if key not in _IDLE and not key.startswith("_") and default.get(key, ...) != value
    }


def _defaults(kind: type) -> Mapping[str, Any]:
    if issubclass(kind, PreTrainedModel):
        assert kind.config_class is not None
        return json.loads(kind.config_class().to_json_string(use_diff=False))
    fields = inspect.signature(kind.__init__).parameters.values()
    plain = {field.name: field.default for field in fields if field.default is not field.empty}
    return json.loads(json.dumps(plain))


def _vocabulary(tokenizer: CLIPTokenizer) -> list[Any]:
    """What decides a text's token ids."""
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    marks = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    return [tokenizer.get_vocab(), model["merges"], marks, tokenizer.model_max_length]
