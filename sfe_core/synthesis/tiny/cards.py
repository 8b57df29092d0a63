"""Ship what the build made: half-precision weights, and a model card beside each."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from sfe_core.emotions import EMOTIONS
from sfe_core.files import atomic_path, write_json, write_text
from sfe_core.synthesis.tiny.readers import READERS, Reader
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


def _table(title: str, rows: dict[str, dict[str, float]]) -> str:
    """A Markdown table of rows of numbers that have the same columns."""
    columns = list(next(iter(rows.values())))
    lines = [f"| {' | '.join([title, *columns])} |", "|---|" + "---:|" * len(columns)]
    for name, values in rows.items():
        cells = [f"{values[column]:.3f}" for column in columns]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines).replace("_", " ")


def _face_set(settings: Settings, *names: str) -> dict:
    rows = {}
    for name in names:
        chosen = getattr(settings, f"{name}_faces")
        first, last = chosen.identities
        kind = ", action units at random" * chosen.random_units
        kind += ", framed and lit as on the web" * chosen.wide
        if chosen.shares:
            shares = zip(EMOTIONS, chosen.shares, strict=True)
            kind += ", " + ", ".join(f"{share:.0%} {emotion}" for emotion, share in shares)
        rows[f"{name} faces"] = (
            f"{chosen.count}, identities {first} to {last - 1}, seed {chosen.seed}{kind}"
        )
    return rows


def _settings(settings: Settings, *prefixes: str) -> dict:
    chosen = {k: v for k, v in asdict(settings).items() if k.startswith(prefixes)}
    faces = {name for name in chosen if name.endswith("_faces")}
    chosen = {name: value for name, value in chosen.items() if name not in faces}
    return chosen | {"image_px": settings.image_px, "seed": settings.seed}


def _read_scores(path: Path) -> dict:
    scores = json.loads(path.read_text(encoding="utf-8"))
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in scores.items()}


def _reader_data(reader: Reader, settings: Settings) -> str:
    names = dict.fromkeys((*reader.learns_from, *reader.tested_on, *reader.also_on))
    rows = {
        name: f"{'learnt from' if part in reader.learns_from else 'only tested on'}; {told}"
        for part in names
        for name, told in _face_set(settings, part).items()
    }
    if reader.people is not None and "base" in reader.learns_from:
        first, last = reader.people
        rows["base faces"] += (
            f"; of these identities {first} to {last - 1} alone, each emotion as often as another"
        )
    return _lines(rows)


def reader_scores(scores: dict) -> str:
    """The scores of a reader, as `ReaderBuild.score` gives them, in Markdown."""
    intro = (
        f"On {scores['faces']} pictures of {scores['identities']} people that it never saw.\n"
        "What is read later are drawn pictures, softer and noisier than these photographs: each "
        "row below the first is the same pictures made worse in one way. The rows `set` are other "
        "faces, as photographed."
    )
    tables = [_table("pictures", scores["pictures"])]
    if scores["details"]:
        tables.append(_table("as photographed", scores["details"]))
    return "\n\n".join([intro, *tables])


def _forget_paths(folder: Path) -> None:
    """Take out of the configurations where the networks lay when they were loaded."""
    for path in folder.rglob("*.json"):
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("_name_or_path", None) is not None:
            write_json(path, values)


def write_cards(work: Path, embedded: Path, settings: Settings) -> None:
    """Write tiny-sd and the readers below `embedded`."""
    _write_base(work, embedded, settings)
    for reader in READERS:
        write_reader(reader, work, embedded, settings)


def ship_pipeline(source: Path, target: Path) -> None:
    """Write a pipeline of diffusers in half precision; its text encoder in float32."""
    pipeline = StableDiffusionPipeline.from_pretrained(source, safety_checker=None)
    pipeline.to(dtype=torch.float16)
    # transformers would load it in half precision beside a float32 UNet.
    pipeline.text_encoder.float()
    pipeline.save_pretrained(target, safe_serialization=True)
    _forget_paths(target)


def write_card(
    folder: Path, what: str, data: dict, training: dict, scores: str, name: str | None = None
) -> None:
    """Write README.md into the folder of a shipped network; `name` is the folder's, or will be."""
    text = _CARD.format(
        name=name or folder.name,
        what=what,
        data=_lines(data),
        training=_lines(training),
        scores=scores,
    )
    write_text(folder / "README.md", text)


def score_table(rows: dict[str, dict[str, float]], title: str) -> str:
    """Scores that have the same names, a row each, in Markdown."""
    return _table(title, rows)


def _write_base(work: Path, embedded: Path, settings: Settings) -> None:
    with atomic_path(embedded / "tiny-sd") as partial:
        ship_pipeline(work / "tiny-sd", partial)
        data = _face_set(settings, "base") | {
            "captions that name the emotion": ", then ".join(
                f"{phase.emotion_caption_share:.0%} for {phase.steps} updates"
                for phase in settings.base_phases
            ),
            "the autoencoder also saw": _face_set(settings, "loss")["loss faces"],
        }
        scores = _read_scores(work / "scores-base.json")
        decoded = _read_scores(work / "scores-vae.json")
        text = _CARD.format(
            name="tiny-sd",
            what=(
                "Stable Diffusion 1.5's classes, a hundredth of its size: "
                f"{settings.image_px} px faces from text."
            ),
            data=_lines(data),
            training=_lines(_settings(settings, "vae", "text", "unet", "base", "caption")),
            scores=_lines(scores | {f"autoencoder {name}": v for name, v in decoded.items()}),
        )
        write_text(partial / "README.md", text)


def write_reader(reader: Reader, work: Path, embedded: Path, settings: Settings) -> None:
    """Write one reader below `embedded`: weights of half precision, configuration, card."""
    kind = type(reader.network(settings.image_px))
    with atomic_path(embedded / reader.name) as partial:
        kind.from_pretrained(work / reader.name).half().save_pretrained(
            partial, safe_serialization=True
        )
        _forget_paths(partial)
        scores = json.loads((work / f"scores-{reader.name}.json").read_text(encoding="utf-8"))
        training = _settings(settings, "reader", reader.task.name) | {"seed": reader.seed}
        text = _CARD.format(
            name=reader.name,
            what=reader.what,
            data=_reader_data(reader, settings),
            training=_lines(training),
            scores=reader_scores(scores),
        )
        write_text(partial / "README.md", text)
