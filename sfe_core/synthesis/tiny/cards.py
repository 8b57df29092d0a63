"""Ship what the build made: half-precision weights, and a model card beside each."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from sfe_core.faces.recognition.recognisers import load_recogniser
from sfe_core.faces.recognition.tiny_recognisers import TinyEmotionJudge, TinyEmotionNet
from sfe_core.files import atomic_path, write_json, write_text
from sfe_core.synthesis.tiny.settings import Settings

_CARD = """---
license: apache-2.0
---
# {name}

{what}

Made by this project from synthetic faces alone (Anny heads, Apache 2.0), with
`python -m sfe_core.synthesis.tiny.build`. No photograph of a person was used.
It is a stand-in that lets the whole road run offline in minutes; it knows no real face.

## Data

{data}

Faces of identities 3584 to 4095, which `sfe demo` draws, were in no set.

## Training

{training}

## Scores

{scores}
"""


def _lines(values: dict) -> str:
    return "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in values.items())


def _face_set(settings: Settings, *names: str) -> dict:
    rows = {}
    for name in names:
        chosen = getattr(settings, f"{name}_faces")
        first, last = chosen.identities
        rows[f"{name} faces"] = (
            f"{chosen.count}, identities {first} to {last - 1}, seed {chosen.seed}"
        )
    return rows


def _settings(settings: Settings, *prefixes: str) -> dict:
    chosen = {k: v for k, v in asdict(settings).items() if k.startswith(prefixes)}
    return chosen | {"image_px": settings.image_px, "seed": settings.seed}


def _read_scores(path: Path) -> dict:
    scores = json.loads(path.read_text(encoding="utf-8"))
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in scores.items()}


def _forget_paths(folder: Path) -> None:
    """Take out of the configurations where the networks lay when they were loaded."""
    for path in folder.rglob("*.json"):
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("_name_or_path", None) is not None:
            write_json(path, values)


def write_cards(work: Path, embedded: Path, settings: Settings) -> None:
    """Write tiny-sd, tiny-emotion-loss and tiny-emotion-judge below `embedded`."""
    pipeline = StableDiffusionPipeline.from_pretrained(work / "tiny-sd", safety_checker=None)
    with atomic_path(embedded / "tiny-sd") as partial:
        pipeline.to(dtype=torch.float16)
        # transformers would load it in half precision beside a float32 UNet.
        pipeline.text_encoder.float()
        pipeline.save_pretrained(partial, safe_serialization=True)
        _forget_paths(partial)
        data = _face_set(settings, "loss", "judge") | {
            "captions that name the emotion": ", then ".join(
                f"{phase.emotion_caption_share:.0%} for {phase.steps} updates"
                for phase in settings.base_phases
            )
        }
        text = _CARD.format(
            name="tiny-sd",
            what="Stable Diffusion 1.5's classes, a hundredth of its size: 64 px faces from text.",
            data=_lines(data),
            training=_lines(_settings(settings, "vae", "text", "unet", "base", "caption")),
            scores=_lines(_read_scores(work / "scores-base.json")),
        )
        write_text(partial / "README.md", text)
    roles = {
        "loss": "Reads emotion, valence and arousal; used inside the training loss.",
        "judge": "Reads emotion, valence and arousal; scores pictures and is used by no loss.",
    }
    for role, what in roles.items():
        name = f"tiny-emotion-{role}"
        with atomic_path(embedded / name) as partial:
            network = load_recogniser(work / name)
            assert isinstance(network, TinyEmotionNet | TinyEmotionJudge)
            network.half().save_pretrained(partial, safe_serialization=True)
            _forget_paths(partial)
            text = _CARD.format(
                name=name,
                what=what,
                data=_lines(_face_set(settings, role, "validation")),
                training=_lines(_settings(settings, "recogniser")),
                scores=_lines(_read_scores(work / f"scores-{role}.json")),
            )
            write_text(partial / "README.md", text)
