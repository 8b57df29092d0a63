"""Two stages of the build: a base that shows expressions by their words, and embeddings of them.

tiny-sd saw few telling captions, as web photos have few, and shows next to nothing by a word.
Stable Diffusion does; so what is learnt on it (the personal recipe) needs a base that does, too.
tiny-sd goes on learning, on as many faces of each expression, with captions that name it first,
last, or beside hardly more words. On that base, which then stays as it is, embeddings are learnt.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from torch import nn

from sfe_core.config.init import init_workspace
from sfe_core.config.loading import load_workspace
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.preprocessing.preprocess import preprocess
from sfe_core.diffusion.expression_embeddings import load_embeddings
from sfe_core.diffusion.guidance_files import EXPRESSIONS_FOLDER
from sfe_core.diffusion.hashing import hash_base
from sfe_core.diffusion.pipeline import GuidedStableDiffusionPipeline
from sfe_core.emotions import EMOTIONS
from sfe_core.files import atomic_path, write_json
from sfe_core.packaging.package import package_checkpoint
from sfe_core.reporting import Reporter
from sfe_core.runs.launch import launch
from sfe_core.synthesis.photos import synthesize
from sfe_core.synthesis.tiny.cards import score_table, ship_pipeline, write_card
from sfe_core.training.options import TrainOptions

BASE, EMBEDDINGS = "tiny-sd-emotions", "tiny-expressions"
FACES: dict[str, Any] = {
    "count": 1920,
    "size_px": 160,
    "seed": 5,
    "identity_range": (0, 3000),
    "expressions_per_identity": 4,
}
# What the base's two legs change of the preset tiny, each begun from what the one before left.
LEGS: tuple[dict[str, Any], ...] = (
    {
        "train.steps": 1500,
        "train.learning_rate": 5e-4,
        "loss.expression": 0,
        "loss.valence": 0,
        "loss.arousal": 0,
    },
    {
        "train.steps": 3000,
        "train.learning_rate": 6e-4,
        "loss.expression": 0.03,
        "loss.valence": 0.02,
        "loss.arousal": 0.02,
        "data.flip": 0.5,
    },
)
_ALL_LEGS: dict[str, Any] = {"guidance.maps": [], "train.ema_decay": 0.99}
STRENGTHS = (0.5, 1.0)
SCORES = "scores-emotions.json"
_NOISES = 24


def reworded(captions: Mapping[str, str]) -> dict[str, str]:
    """Captions as `synthesize` writes them, a third each: so, the emotion last, and short.

    >>> told = "Sad, portrait of a young man with curly hair, indoors"
    >>> list(reworded({"a": told, "b": told, "c": told}).values())[1:]
    ['portrait of a young man with curly hair, indoors, sad', 'portrait of a man, sad']
    """
    found = {}
    for number, (key, caption) in enumerate(captions.items()):
        emotion, _, rest = caption.partition(", ")
        if number % 3:
            short = rest.split(",")[0].split(" with ")[0]
            for age in ("young ", "middle-aged ", "old ", "elderly "):
                short = short.replace(age, "")
            caption = f"{rest if number % 3 == 1 else short}, {emotion.lower()}"
        found[key] = caption
    return found


def make_emotional_base(work: Path, workers: int, reporter: Reporter) -> None:
    """Train work/tiny-sd-emotions from work/tiny-sd; goes on where it stopped."""
    base = work / "tiny-sd"
    for number, leg in enumerate(LEGS):
        folder = work / f"emotions-{number}"
        changes = {"model.base": str(base.resolve()), **_ALL_LEGS, **leg}
        workspace = _workspace(work, folder, "tiny", changes, workers, reporter)
        base = _trained(workspace, reporter)
    _keep(base, work / BASE)


def make_embeddings(work: Path, workers: int, reporter: Reporter) -> None:
    """Train work/tiny-expressions on work/tiny-sd-emotions; goes on where it stopped."""
    changes = {"model.base": str((work / BASE).resolve())}
    folder = work / "expressions"
    workspace = _workspace(work, folder, EMBEDDINGS, changes, workers, reporter)
    _keep(_trained(workspace, reporter) / EXPRESSIONS_FOLDER, work / EMBEDDINGS)


def _workspace(
    work: Path,
    folder: Path,
    preset: str,
    changes: Mapping[str, Any],
    workers: int,
    reporter: Reporter,
) -> Workspace:
    """A workspace on the faces that all stages here share."""
    faces = work / "emotion-photos"
    if not faces.exists():
        with atomic_path(faces) as partial:
            init_workspace(partial, "tiny")
            synthesize(partial, workers=workers, reporter=reporter, **FACES)
            captions = partial / "photos" / "captions.json"
            write_json(captions, reworded(json.loads(captions.read_text(encoding="utf-8"))))
            preprocess(load_workspace(partial), reporter)
    if not folder.exists():
        with atomic_path(folder) as partial:
            shutil.copytree(faces, partial)
            init_workspace(partial, preset, settings=dict(changes), force=True)
    return load_workspace(folder)


def _trained(workspace: Workspace, reporter: Reporter) -> Path:
    launch(workspace, TrainOptions(run="shipped", resume="auto"), reporter)
    return package_checkpoint(workspace, run="shipped", reuse=True, reporter=reporter).folder


def _keep(made: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(made, target)


# ---- What is shipped -----------------------------------------------------------------------------


def ship_emotions(work: Path, embedded: Path) -> None:
    """Write base and embeddings below `embedded`, each with its card."""
    scores = json.loads((work / SCORES).read_text(encoding="utf-8"))
    read = (
        f"Of {_NOISES} noises each, `photo of a woman` and `photo of a man` in turn, with 12 steps "
        "and a guidance scale of 3; tiny-emotion-judge, which had no part in the "
        "training, saw the emotion asked for in this share (chance: 0.125).\n\n"
    )
    data: dict[str, Any] = {
        "faces": f"{FACES['count']}, identities 0 to 2999, seed {FACES['seed']}, each emotion as "
        "often as another",
        "emotion in captions": "first in a third, last in the others, half of which are short",
    }
    shutil.rmtree(embedded / BASE, ignore_errors=True)
    ship_pipeline(work / BASE, embedded / BASE)
    legs = {f"leg {n + 1}": _told(leg) for n, leg in enumerate(LEGS)}
    words = {"by words": scores["words"], "tiny-sd by words": scores["tiny-sd"]}
    what = "tiny-sd, which went on learning until words show their expression: 128 px faces."
    training = {"begun from": "tiny-sd", "all": _told(_ALL_LEGS), **legs}
    write_card(embedded / BASE, what, data, training, read + score_table(words, "told"))
    shutil.rmtree(embedded / EMBEDDINGS, ignore_errors=True)
    # They were learnt on these weights before half precision rounded them.
    expressions = load_embeddings(work / EMBEDDINGS)
    expressions.register_to_config(base=BASE, base_sha256=hash_base(embedded / BASE))
    expressions.save_pretrained(embedded / EMBEDDINGS)
    strengths = {f"at strength {name}": scores[name] for name in map("{:g}".format, STRENGTHS)}
    what = f"Eight expressions as text embeddings of {BASE}, told behind a prompt at any strength."
    rows = {"the base by words": scores["words"], **strengths}
    training = {"preset": f"`{EMBEDDINGS}`, the base frozen"}
    write_card(embedded / EMBEDDINGS, what, data, training, read + score_table(rows, "told"))


def _told(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


# ---- Scores --------------------------------------------------------------------------------------


def score_emotions(work: Path, judge: nn.Module) -> None:
    """Let the judge read what both bases draw by words, and one by embeddings."""
    words = {"tiny-sd": score_words(work / "tiny-sd", judge)}
    words["words"] = score_words(work / BASE, judge)
    told = score_embeddings(work / BASE, work / EMBEDDINGS, judge)
    write_json(work / SCORES, words | told)


def score_words(base: Path, judge: nn.Module) -> dict[str, Any]:
    """How often the judge sees the emotion that a class prompt ends with; chance is an eighth."""
    pipeline = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    return _scored(pipeline, judge, lambda emotion: ({}, f", {emotion}"))


def score_embeddings(base: Path, embeddings: Path, judge: nn.Module) -> dict[str, dict[str, Any]]:
    """The same of expressions told as embeddings, by strength."""
    pipeline = GuidedStableDiffusionPipeline.from_pretrained(
        base, expressions=load_embeddings(embeddings)
    )

    def told(strength: float) -> Any:
        return lambda emotion: ({"expressions": [{emotion: strength}] * _NOISES}, "")

    return {f"{one:g}": _scored(pipeline, judge, told(one)) for one in STRENGTHS}


@torch.inference_mode()
def _scored(pipeline: Any, judge: nn.Module, ask: Any) -> dict[str, Any]:
    """Top-1 by emotion and of all: `photo of a woman` and `a man` in turn, the demo's sampling.

    Args:
        ask: of an emotion, options of the pipeline and what is put behind the prompt.
    """
    pipeline.to(torch.float32).set_progress_bar_config(disable=True)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    right: dict[str, float] = {}
    kinds: Sequence[str] = ["woman", "man"] * (_NOISES // 2)
    for place, emotion in enumerate(EMOTIONS):
        options, ending = ask(emotion)
        drawn = pipeline(
            [f"photo of {kind}{ending}" for kind in kinds],
            generator=[torch.Generator().manual_seed(seed) for seed in range(_NOISES)],
            num_inference_steps=12,
            guidance_scale=3.0,
            output_type="pt",
            **options,
        ).images
        found = judge(drawn.float().mul(2).sub(1)).logits.argmax(1)
        right[emotion] = float((found == place).float().mean())
    return {"top1": sum(right.values()) / len(right), **right}
