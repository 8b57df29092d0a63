"""A base model in one file of the original layout, as a folder of diffusers.

It is unpacked once, below the assets folder under the hash of its content; everything else sees
that folder. Whether it can be is told by the names and shapes in its header, before anything is
read. A file that lies in the folder of a pipeline (as a package's does) has that one's
configuration, tokenizers and schedule, where its tensors fit them.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import diffusers
import yaml
from filelock import FileLock
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTokenizer

from sfe_core.assets import locate
from sfe_core.assets.store import assets_root
from sfe_core.diffusion.families.contract import BaseConfigs, Family
from sfe_core.diffusion.families.known import known_families
from sfe_core.diffusion.families.original import Shapes, original_tensors
from sfe_core.diffusion.handed_over import INDEX, what_it_is
from sfe_core.diffusion.pipeline_folder import read_folder
from sfe_core.diffusion.weight_files import WeightFiles, compare_shapes, empty_network
from sfe_core.errors import RunError, UserError
from sfe_core.files import atomic_path, sha256_file, write_json

_FORM = 1  # of what is written; counted up, it is written anew
_TOKENIZER = "clip-tokenizer"
_CLIP_WORDS, _CLIP_LENGTH = 49408, 77
_START, _END = "<|startoftext|>", "<|endoftext|>"
# Tensors in single files that no network needs.
_UNREAD_ENDS = ("position_ids", "logit_scale")
_UNREAD_PARTS = (".loss.", "model_ema.")
_SCHEDULE = {
    "_class_name": "DDIMScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def base_folder(base: Path) -> Path:
    """The folder of a base model: itself, or what a single file is unpacked to.

    Raises:
        UserError: the file is not a base model that a family knows.
        RunError: it cannot be read, or the folder not be written.
    """
    base = Path(base)
    if not base.is_file():
        return base
    state = base.stat()
    key = _content_hash(base.resolve(), state.st_size, state.st_mtime_ns)
    folder = assets_root() / "unpacked" / f"{key[:24]}-{_FORM}"
    if not (folder / INDEX).is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):  # several processes of a run come at once
            if not (folder / INDEX).is_file():
                with atomic_path(folder) as partial:
                    _unpack(base, partial)
    return folder


@lru_cache(maxsize=8)
def _content_hash(path: Path, _size: int, _changed: int) -> str:
    # Where the file lies decides what it is taken for, see `_home`.
    home = _home(path)
    return (
        sha256_file(path) if home is None else f"{sha256_file(home / INDEX)[:8]}{sha256_file(path)}"
    )


def read_single_file(path: Path, where: str) -> BaseConfigs:
    """What a single file's header says it is made of, checked tensor by tensor.

    Raises:
        UserError: no family knows it, a tensor is missing, unexpected or of another shape, or its
            tokenizer is not on this machine.
    """
    return _describe(path, where)[1]


def _describe(path: Path, where: str) -> tuple[Family, BaseConfigs]:
    shapes = _shapes(path, where)
    family = next((one for one in known_families() if _is_of(one, shapes)), None)
    if family is None:
        kind, step = what_it_is(path)
        raise UserError(
            f"{where}: {path}",
            f"is {kind}, not a base model",
            step or "give a file or folder of Stable Diffusion 1.5 or XL",
        )
    problem: str | None = None
    for configs in _candidates(path, family, shapes, where):
        problem = _misfit(family, configs, shapes)
        if problem is None:
            _require_tokenizer(path, configs, family, where)
            return family, configs
    raise UserError(
        f"{where}: {path}",
        f"is {family.name} in one file, and does not fit: {problem}",
        "give a file as it was published, or a folder of diffusers",
    )


def _is_of(family: Family, shapes: Shapes) -> bool:
    # The text encoders tell families apart: every one names its UNet and its VAE alike.
    own = [family.original[name].prefix for name in family.text_encoders if name in family.original]
    return bool(own) and all(any(name.startswith(prefix) for name in shapes) for prefix in own)


def _candidates(path: Path, family: Family, shapes: Shapes, where: str) -> list[BaseConfigs]:
    """Configurations that the file may be of: of the pipeline it lies in, and by its shapes."""
    found = []
    home = _home(path)
    if home is not None:
        configs = read_folder(home, where)
        if family.recognises(configs):
            found.append(BaseConfigs(path, configs.index, configs.parts))
    try:
        parts = {name: part.config(shapes) for name, part in family.original.items()}
    except (LookupError, StopIteration) as error:
        if found:
            return found
        raise UserError(
            f"{where}: {path}",
            f"is {family.name} in one file without {error.args[0] if error.args else 'its UNet'}",
            "give a file that holds UNet, VAE and text encoders",
        ) from error
    parts["scheduler"] = {**_SCHEDULE, **_marks(path, shapes)}
    configs = BaseConfigs(path, {"_class_name": family.pipeline.__name__}, parts)
    kinds = family.parts(configs)
    libraries = {name: kind.__module__.partition(".")[0] for name, kind in kinds.items()}
    index = {name: [libraries[name], kind.__name__] for name, kind in kinds.items()}
    index["scheduler"] = ["diffusers", parts["scheduler"]["_class_name"]]
    return [*found, BaseConfigs(path, {**configs.index, **index}, parts)]


def _home(path: Path) -> Path | None:
    """The folder of the pipeline that a file lies in; its other forms lie one folder deep."""
    return next((one for one in list(path.parents)[:2] if (one / INDEX).is_file()), None)


def _shapes(path: Path, where: str) -> dict[str, tuple[int, ...]]:
    try:
        return {_canonical(name): shape for name, shape in WeightFiles((path,)).shapes().items()}
    except RunError as error:
        kind, step = what_it_is(path)
        raise UserError(
            f"{where}: {path}",
            f"is {kind}; {error.problem}",
            step or "give weights alone, best as .safetensors",
        ) from error


def _canonical(name: str) -> str:
    """A tensor's name; some programs leave out the beginning of the text model's."""
    prefix = "cond_stage_model.transformer."
    rest = name.removeprefix(prefix)
    return name if rest == name or rest.startswith("text_model.") else f"{prefix}text_model.{rest}"


def _networks(family: Family, configs: BaseConfigs) -> dict[str, nn.Module]:
    kinds = family.parts(configs)
    return {name: empty_network(kinds[name], configs.of(name)) for name in family.original}


def _misfit(family: Family, configs: BaseConfigs, shapes: Shapes) -> str | None:
    """How the file's tensors differ from what its networks need, in words; None: not at all."""
    try:
        written = original_tensors(family.original, _networks(family, configs))
    except (KeyError, ValueError, RuntimeError) as error:
        return f"its layout is unknown ({error})"
    prefixes = tuple(part.prefix for part in family.original.values())
    found = {name: shape for name, shape in shapes.items() if name.startswith(prefixes)}
    wanted = {name: tuple(tensor.shape) for name, tensor in written.items()}
    return compare_shapes(wanted, {name: shape for name, shape in found.items() if _is_read(name)})


def _is_read(name: str) -> bool:
    return not name.endswith(_UNREAD_ENDS) and not any(part in name for part in _UNREAD_PARTS)


def _marks(path: Path, shapes: Shapes) -> dict[str, Any]:
    """What the file, or a .yaml of its name, says of prediction and terminal noise.

    People mark both by empty tensors (`v_pred`, `ztsnr`) or in the header, see
    `packaging.prediction_marks`.
    """
    notes = WeightFiles((path,)).notes()
    said = notes.get("modelspec.prediction_type", notes.get("modelspec.predict_key", ""))
    v = "v_pred" in shapes or said in ("v", "v_prediction")
    v = v or notes.get("ss_v_parameterization") == "True"
    zero = "ztsnr" in shapes or notes.get("ss_zero_terminal_snr") == "True"
    beside = path.with_suffix(".yaml")
    if beside.is_file():
        try:
            told = yaml.safe_load(beside.read_text(encoding="utf-8"))["model"]["params"]
            v = v or told.get("parameterization") == "v"
        except (OSError, yaml.YAMLError, LookupError, TypeError, AttributeError):
            pass  # another program's file, of whatever it is
    marks: dict[str, Any] = {"prediction_type": "v_prediction" if v else "epsilon"}
    if zero:
        marks |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return marks


def _require_tokenizer(path: Path, configs: BaseConfigs, family: Family, where: str) -> None:
    home = _home(path)
    if home is not None and all((home / name).is_dir() for name in family.tokenizers):
        return
    words = configs.of(family.text_encoders[0])["vocab_size"]
    if words != _CLIP_WORDS:
        raise UserError(
            f"{where}: {path}",
            f"its text encoder knows {words} tokens and CLIP's tokenizer has {_CLIP_WORDS}: the "
            "file does not say which they are",
            "leave the file in the pipeline's folder that it came with",
        )
    locate(_TOKENIZER)


def _unpack(path: Path, target: Path) -> None:
    family, configs = _describe(path, "model.base")
    for name, network in _networks(family, configs).items():
        part = family.original[name]
        names = {
            _canonical(key): tensor for key, tensor in WeightFiles((path,)).tensors(part.prefix)
        }
        tensors = part.read(network.state_dict(), configs.of(name), names)
        transformers = configs.index[name][0] == "transformers"
        _write_part(target / name, configs.of(name), tensors, transformers)
    write_json(target / "scheduler" / "scheduler_config.json", dict(configs.of("scheduler")))
    _write_tokenizers(path, target, family, configs)
    kept = {name: configs.index[name] for name in family.parts(configs)}
    plain = {key: value for key, value in configs.index.items() if not isinstance(value, list)}
    write_json(target / INDEX, {**plain, "_diffusers_version": diffusers.__version__, **kept})


def _write_part(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor], transformers: bool
) -> None:
    extra = {"model_type": "clip_text_model"} if transformers else {}
    write_json(folder / "config.json", {**config, **extra})
    stem = "model" if transformers else "diffusion_pytorch_model"
    whole = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    save_file(whole, folder / f"{stem}.safetensors", metadata={"format": "pt"})


def _write_tokenizers(path: Path, target: Path, family: Family, configs: BaseConfigs) -> None:
    home = _home(path)
    if home is not None and all((home / name).is_dir() for name in family.tokenizers):
        for name in family.tokenizers:
            shutil.copytree(home / name, target / name)
        return
    for name, pad in zip(family.tokenizers, family.paddings, strict=True):
        _clip_tokenizer(locate(_TOKENIZER), pad).save_pretrained(target / name)


def _clip_tokenizer(path: Path, pad: str) -> CLIPTokenizer:
    """CLIP's tokenizer out of the list of merges that its authors published.

    Its tokens are the bytes, the bytes at a word's end, what the merges make, and two marks
    (Radford et al. 2021, https://arxiv.org/abs/2103.00020, sec. 2.4).
    """
    letters = list(_byte_letters())
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")
    count = _CLIP_WORDS - 2 * len(letters) - 2
    merges = [tuple(line.split()) for line in lines[1 : count + 1]]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges)]
    vocabulary = {word: number for number, word in enumerate([*words, _START, _END])}
    return CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,  # type: ignore[arg-type]  # pairs, as the library hands them on
        bos_token=_START,
        eos_token=_END,
        unk_token=_END,
        pad_token=pad,
        model_max_length=_CLIP_LENGTH,
    )


def _byte_letters() -> list[str]:
    """A visible letter for each byte, in the order of CLIP's vocabulary: visible bytes first."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return [chr(byte) for byte in visible] + [chr(256 + n) for n in range(len(hidden))]
