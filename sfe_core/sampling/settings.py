"""Everything that decides a picture but its key, as one hash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from sfe_core.config.picture_sections import SamplingConfig
from sfe_core.config.sampling_presets import negative_prompt_text
from sfe_core.diffusion.families.known import family_of
from sfe_core.diffusion.guidance_files import EXPRESSIONS_FOLDER, FUSION_FOLDER, UNITS_FOLDER
from sfe_core.diffusion.loading import read_configs
from sfe_core.diffusion.lora_files import check_loras
from sfe_core.diffusion.prompt_marks import PromptRules
from sfe_core.errors import RunError
from sfe_core.files import sha256_file, sha256_folder, sha256_json, write_json

Variant = Literal["base", "text", "guided"]
VARIANTS: tuple[Variant, ...] = ("base", "text", "guided")

_CHECKING_PARTS = ("safety_checker", "feature_extractor")
GUIDANCE_PART = "guidance_encoder"
# Any of them guides.
GUIDING_PARTS = (GUIDANCE_PART, UNITS_FOLDER, EXPRESSIONS_FOLDER, FUSION_FOLDER)


@dataclass(frozen=True)
class DrawSettings:
    """What pictures of one series share; any change of a field is another series.

    Args:
        variant: base (base model, caption), text (fine-tuned, caption), guided (and maps, units,
            expressions, fusion).
        weights_sha256: of the pipeline's folders that have a part in the picture.
        negative_prompt: the text itself, not a name for it.
        precision: floating point type of the networks.
        strengths: of each guidance map; empty unless guided.
        safety_checker: whether the pipeline's own one blacks pictures out.
        long_prompts, prompt_weights: those of `sampling` in sfe.yaml.
        units_guidance_scale: of action units; None where none are told.
        expressions: whether they are told, as embeddings.
        expression_guidance_scale: of these; None: as guidance_scale.
        fusion_strength: of the person's features with the expression's; None where none are fused.
        loras: the SHA-256 of each LoRA on top to its weight.
    """

    variant: Variant
    weights_sha256: str
    scheduler: str
    steps: int
    guidance_scale: float
    negative_prompt: str
    seed: int
    resolution: int
    precision: str
    strengths: dict[str, float]
    safety_checker: bool = False
    guidance_rescale: float = 0.0
    long_prompts: str = "cut"
    prompt_weights: str = "text"
    units_guidance_scale: float | None = None
    expressions: bool = False
    expression_guidance_scale: float | None = None
    fusion_strength: float | None = None
    loras: dict[str, float] = field(default_factory=dict)

    @property
    def recorded(self) -> dict[str, Any]:
        """All fields but those of later versions, where they are as it was before them."""
        usual: dict[str, Any] = {
            "long_prompts": "cut",
            "prompt_weights": "text",
            "units_guidance_scale": None,
            "expressions": False,
            "expression_guidance_scale": None,
            "fusion_strength": None,
            "loras": {},
        }
        fields = asdict(self)
        return {
            name: value
            for name, value in fields.items()
            if name not in usual or usual[name] != value
        }

    @property
    def sha256(self) -> str:
        """Hex SHA-256 over `recorded`."""
        return sha256_json(self.recorded)

    @property
    def prompt_rules(self) -> PromptRules:
        """How prompts are read."""
        return PromptRules(self.long_prompts == "chunks", self.prompt_weights == "a1111")

    @property
    def folder_name(self) -> str:
        """`<variant>-<hash>`, the hash cut to 12 characters."""
        return f"{self.variant}-{self.sha256[:12]}"


def draw_settings(
    variant: Variant,
    pipeline_folder: Path,
    sampling: SamplingConfig,
    resolution: int,
    precision: str,
    maps: tuple[str, ...],
    hash_cache: Path,
    units: bool = False,
    expressions: bool = False,
    fusion: bool = False,
) -> DrawSettings:
    """The settings of a series, with the weights of `pipeline_folder` hashed.

    Args:
        maps: those the package's guidance encoders read; ignored unless guided.
        hash_cache: JSON file that spares hashing gigabytes again (see `weights_sha256`).
        units: whether action units are told.
        expressions: whether expressions are told as embeddings.
        fusion: whether features are fused.

    Raises:
        UserError: a LoRA is none, or does not fit; see `check_loras`.
    """
    guided = variant == "guided"
    strengths = {str(name): value for name, value in sampling.strengths.items()}
    configs = read_configs(pipeline_folder)
    parts = (*family_of(configs).parts(configs), *((GUIDANCE_PART,) if guided else ()))
    parts += (UNITS_FOLDER,) if units else ()
    parts += (EXPRESSIONS_FOLDER,) if expressions else ()
    parts += (FUSION_FOLDER,) if fusion else ()
    parts += _CHECKING_PARTS if sampling.safety_checker else ()
    # Also for the base's pictures, which have none: they are often drawn first.
    check_loras([Path(path) for path in sampling.loras], configs)
    return DrawSettings(
        variant=variant,
        weights_sha256=weights_sha256(pipeline_folder, parts, hash_cache),
        scheduler=sampling.scheduler,
        steps=sampling.steps,
        guidance_scale=sampling.guidance_scale,
        negative_prompt=negative_prompt_text(sampling.negative_prompt),
        seed=sampling.seed,
        resolution=resolution,
        precision=precision,
        strengths={name: strengths.get(name, 1.0) for name in maps} if guided else {},
        safety_checker=sampling.safety_checker,
        guidance_rescale=sampling.guidance_rescale,
        long_prompts=sampling.long_prompts,
        prompt_weights=sampling.prompt_weights,
        units_guidance_scale=sampling.units_guidance_scale if units else None,
        expressions=expressions,
        expression_guidance_scale=sampling.expression_guidance_scale if expressions else None,
        fusion_strength=sampling.fusion_strength if fusion else None,
        loras=_digests(sampling.loras) if variant != "base" else {},
    )


def lora_files(settings: DrawSettings, sampling: SamplingConfig) -> dict[str, float]:
    """The LoRAs, by their paths, of a series that has some."""
    return dict(sampling.loras) if settings.loras else {}


def _digests(loras: Mapping[str, float]) -> dict[str, float]:
    """Each file's SHA-256 to its weight; copies of one file add up, as they do in the picture."""
    digests: dict[str, float] = {}
    for path, weight in loras.items():
        digest = sha256_file(Path(path))
        digests[digest] = digests.get(digest, 0.0) + weight
    return digests


def weights_sha256(folder: Path, parts: tuple[str, ...], cache: Path) -> str:
    """Hex SHA-256 over the named sub-folders of a pipeline.

    A folder whose files kept their names, sizes and modification times (nanoseconds) since they
    were last hashed is answered from `cache`, which is rewritten otherwise.

    Raises:
        RunError: the folder has none of the parts.
    """
    present = [part for part in parts if (folder / part).is_dir()]
    if not present:
        raise RunError(folder, "holds no pipeline", "give the folder of a diffusers pipeline")
    known = _read_cache(cache)
    digests, changed = {}, False
    for part in present:
        path = (folder / part).resolve()
        entry = known.get(str(path), {})
        stamp = _stamp(path)
        if entry.get("stamp") != stamp:
            entry = {"stamp": stamp, "sha256": sha256_folder(path)}
            known[str(path)] = entry
            changed = True
        digests[part] = entry["sha256"]
    if changed:
        write_json(cache, known)
    return sha256_json(digests)


def _stamp(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return sha256_json(
        [
            [path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns]
            for path in files
        ]
    )


def _read_cache(cache: Path) -> dict[str, dict[str, str]]:
    try:
        known = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
