"""The album's own photos with expressions that it lacks, as the base draws them into it.

FaceExpr's expression crafting asks for expressions that no photo of a person shows. Here there is
one to learn from: a photo is noised and denoised by the base, told the expression of anybody of the
class, and at every step all but brows, eyes, nose wings and mouth is put back (blended diffusion,
Avrahami et al. 2022, https://arxiv.org/abs/2111.14818, sec. 3.2, on latents). Hair, outline, skin
and surround stay the person's. The recogniser that reads the album says what a picture came to
show, and to which strength; what does not show what was asked is drawn again with other noise.

They are a corpus of their own below `crafted_photos/` of the workspace, see `DrawnCorpus`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from sfe_core.assets import locate
from sfe_core.assets.reference import ModelReference
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.annotations.attributes import with_article
from sfe_core.corpus.annotations.captions import without_emotion
from sfe_core.corpus.reader import Corpus
from sfe_core.diffusion.drawing import draw_batch, prompt_words
from sfe_core.diffusion.expression_embeddings import NEUTRAL, ExpressionEmbeddings
from sfe_core.diffusion.loading import load_base
from sfe_core.diffusion.prediction import add_noise
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.faces.expression_mask import expression_mask
from sfe_core.faces.recognition.reading import EmotionRecogniser, cut_faces
from sfe_core.faces.recognition.recognisers import load_recogniser
from sfe_core.files import derive_seed, sha256_json
from sfe_core.recipes.shared.class_pictures import drawing_pipeline, expression_captions
from sfe_core.recipes.shared.drawn_corpus import DrawnCorpus
from sfe_core.reporting import Reporter

FOLDER = "crafted_photos"
# Chosen on one synthetic person, told by words: from 0.7 of the noise and an edge of 0.1 the judge
# sees .76 at dlib's cosine of .953 to the held-out photos; from 0.85 .79 and .947; with an edge of
# 0.2 .92 and .932. Real photos with these expressions reach .961, strangers .917.
_BEGIN = 0.7  # of the noise schedule
_EDGE = 0.1  # of the mask, in shares of the face's width
_TRIES = 5  # noises for a picture
# A part of an expression is asked of the base at these strengths, as most of it shows early.
_PART = (0.1, 0.6)
_CLOSE = 0.15  # strength that is near enough to what was asked for
_SURE = 0.6  # probability that expression and neutral must have together


@dataclass(frozen=True)
class Wanted:
    """One picture: which photo is to show what, and to which strength."""

    photo: str
    emotion: str
    strength: float


@dataclass(frozen=True)
class CraftedPhotos:
    """Which crafted photos a run wants.

    Attributes:
        workspace: whose.
        photos: the album; its training split is drawn into.
        split: its name.
        class_word: e.g. woman.
        per_expression: how many of each expression but neutral.
        steps: denoising steps.
        base_sha256: of the model that draws.
        expressions: that tell it; None: words do, and every picture shows the whole expression.
    """

    workspace: Workspace
    photos: Corpus
    split: str
    class_word: str
    per_expression: int
    steps: int
    base_sha256: str
    expressions: ExpressionEmbeddings | None = field(repr=False, default=None)

    @cached_property
    def wanted(self) -> dict[str, Wanted]:
        """Key to what it is; a smaller number's are among a larger one's."""
        rows = self.photos.split(self.split)
        shown = dict(zip(rows["key"], rows["emotion"], strict=True))
        found = {}
        for number in range(self.per_expression):
            for name in EMOTIONS:
                one = self._one(name, number, shown) if name != NEUTRAL else None
                if one is not None:
                    found[f"{name}/{number:04d}"] = one
        return found

    def _one(self, name: str, number: int, shown: Mapping[str, str]) -> Wanted | None:
        """Every second one a part of the expression, drawn into a neutral photo if there is one."""
        resting = [key for key, emotion in shown.items() if emotion == NEUTRAL]
        others = [key for key, emotion in shown.items() if emotion != name]
        turn = number
        if self.expressions is not None and resting:
            turn = number // 2
            if number % 2:
                chance = np.random.default_rng(derive_seed("crafted photo", name, number)).random()
                return Wanted(resting[turn % len(resting)], name, float(0.1 + 0.8 * chance))
        return Wanted(others[turn % len(others)], name, 1.0) if others else None

    @cached_property
    def prompts(self) -> dict[str, str]:
        """Emotion to what the base is told of anybody of the class."""
        template = self.workspace.config.preprocess.caption_template
        texts = expression_captions(template, with_article(self.class_word))
        if self.expressions is None:
            return texts
        return {name: without_emotion(text) for name, text in texts.items()}

    @cached_property
    def corpus(self) -> DrawnCorpus:
        """As they lie on disk."""
        config = self.workspace.config
        template = config.preprocess.caption_template
        subject = f"{config.captions.token} {self.class_word}"
        captions = expression_captions(template, subject)
        told = self.expressions and sha256_json(
            {name: value.tolist() for name, value in self.expressions.state_dict().items()}
        )
        rows = self.photos.split(self.split)
        record = {
            "base": self.base_sha256,
            "photos": sorted(rows["inputs_sha256"]),
            "prompts": self.prompts,
            "captions": captions,
            "expressions": told,
            "read by": ModelReference(str(config.photos.emotions_read_by)).sha256,
            "resolution": config.model.resolution,
            "steps": self.steps,
            "guidance_scale": config.sampling.guidance_scale,
        }
        return DrawnCorpus(
            self.workspace.root / FOLDER / sha256_json(record)[:10],
            record,
            {key: one.emotion for key, one in self.wanted.items()},
            captions,
            config.model.resolution,
        )

    def draw(self, accelerator: Accelerator, reporter: Reporter) -> Corpus:
        """Draw what is missing, and open them; of several processes the first draws.

        Raises:
            UserError: none of them shows what was asked for.
        """

        def paint(keys: Sequence[str]) -> None:
            _Crafter(self, accelerator).paint(keys, reporter)

        corpus, wanted = self.corpus.open(accelerator, paint), len(self.wanted)
        if corpus.rows.empty:
            raise UserError(
                self.corpus.folder,
                f"none of {wanted} crafted photos shows what was asked for",
                "set recipe_options.crafted_photos to 0, or take another model.base",
            )
        if accelerator.is_main_process and len(corpus.rows) < wanted:
            lost = wanted - len(corpus.rows)
            reporter.say(f"{lost} of {wanted} crafted photos do not show what was asked: left out")
        return corpus


class _Crafter:
    """A loaded base that draws into photos."""

    def __init__(self, crafted: CraftedPhotos, accelerator: Accelerator) -> None:
        self._crafted, self._accelerator = crafted, accelerator
        config = crafted.workspace.config
        self._config, self._device = config, accelerator.device
        self._base = load_base(locate(config.model.base))
        self._pipeline = drawing_pipeline(self._base, self._device, crafted.expressions)
        loaded = load_recogniser(str(config.photos.emotions_read_by))
        self._recogniser = cast(EmotionRecogniser, loaded)

    @torch.no_grad()
    def paint(self, keys: Sequence[str], reporter: Reporter) -> None:
        """Draw pictures; those that do not show what was asked again, with other noise."""
        size = self._config.sampling.batch_size
        with reporter.task("Drawing expressions into photos", len(keys)) as task:
            for start in range(0, len(keys), size):
                batch = keys[start : start + size]
                self._paint_batch(batch)
                task.advance(len(batch))

    def _paint_batch(self, keys: Sequence[str]) -> None:
        wanted = self._crafted.wanted
        best: dict[str, tuple[float, float, Tensor]] = {}  # how far off, strength, picture
        left = list(keys)
        for attempt in range(_TRIES):
            drawn = self._drawn(left, attempt)
            for key, pixels, strength in zip(
                left, drawn, self._strengths(left, drawn), strict=True
            ):
                off = abs(strength - wanted[key].strength) if np.isfinite(strength) else np.inf
                if key not in best or off < best[key][0]:
                    best[key] = off, strength, pixels
            left = [key for key in left if best[key][0] > _CLOSE]
            if not left:
                break
        for key, (off, strength, pixels) in best.items():
            whole = wanted[key].strength == 1.0
            # What was to be whole and is half there would be taught by a word as if it were whole.
            good = np.isfinite(off) and (strength > 0.5 or not whole)
            told = strength if self._crafted.expressions is not None else 1.0
            points = self._crafted.photos.points(wanted[key].photo).double().numpy()
            self._crafted.corpus.save(key, pixels, bool(good), told if good else 0.0, points)

    def _drawn(self, keys: Sequence[str], attempt: int) -> Tensor:
        """Pictures [B, 3, R, R] in [0, 1]."""
        crafted, side = self._crafted, self._config.model.resolution
        asked = [crafted.wanted[key] for key in keys]
        photos = torch.stack([crafted.photos.image(one.photo, side) for one in asked])
        points = torch.stack([crafted.photos.points(one.photo) for one in asked])
        seeds = [derive_seed("crafted photo", key, attempt) for key in keys]
        options: dict[str, Any] = {}
        if crafted.expressions is not None:
            options["expressions"] = [
                {one.emotion: _asked_of_base(one.strength, seed)}
                for one, seed in zip(asked, seeds, strict=True)
            ]
        photos = photos.to(self._device)
        with self._accelerator.autocast():
            drawn = draw_batch(
                self._pipeline,
                prompt_words([crafted.prompts[one.emotion] for one in asked]),
                seeds,
                resolution=side,
                steps=crafted.steps,
                guidance_scale=self._config.sampling.guidance_scale,
                after_step=self._blending(photos, points, seeds),
                **options,
            )
        inside = expression_mask(points, (side, side), _EDGE).to(self._device)
        # The autoencoder, too, loses some of what is the person's.
        return (inside * drawn + (1 - inside) * (photos / 2 + 0.5)).float().cpu()

    def _blending(self, photos: Tensor, points: Tensor, seeds: Sequence[int]) -> Any:
        """What puts the photos' own latents back after a step, all or round the mask."""
        vae, scheduler = self._base.vae, self._pipeline.scheduler
        kept = vae.encode(photos.to(vae.dtype)).latent_dist.mean.float()
        kept = (kept - (vae.config.get("shift_factor") or 0.0)) * vae.config.scaling_factor
        noise = torch.stack([
            torch.randn(kept.shape[1:], generator=torch.Generator().manual_seed(seed + 1))
            for seed in seeds
        ]).to(kept)  # fmt: skip
        inside = expression_mask(points, (kept.shape[2], kept.shape[3]), _EDGE).to(kept)
        alphas = self._base.scheduler.alphas_cumprod

        def blend(step: int, latents: Tensor) -> Tensor:
            left = scheduler.timesteps[step + 1 :]
            if len(left) == 0:
                known = kept
            else:
                known = add_noise(kept, noise, alphas, left[:1].long().to(kept.device))
                if left[0] > _BEGIN * len(alphas):
                    return known.to(latents.dtype)
            return (inside * latents + (1 - inside) * known).to(latents.dtype)

        return blend

    def _strengths(self, keys: Sequence[str], drawn: Tensor) -> list[float]:
        """To which each picture shows what was asked, beside neutral; nan where something else."""
        crafted, pictures = self._crafted, drawn * 2 - 1
        recogniser, square = self._recogniser, self._recogniser.face_square
        if square is not None:
            photos = [crafted.wanted[key].photo for key in keys]
            points = torch.stack([crafted.photos.points(photo) for photo in photos])
            pictures = cut_faces(pictures, points * drawn.shape[-1], square, recogniser.input_px)
        shares = recogniser(pictures).logits.softmax(dim=1)
        found = []
        for key, share in zip(keys, shares, strict=True):
            asked = float(share[EMOTIONS.index(crafted.wanted[key].emotion)])
            both = asked + float(share[EMOTIONS.index(NEUTRAL)])
            found.append(asked / both if both >= _SURE else float("nan"))
        return found


def _asked_of_base(strength: float, seed: int) -> float:
    """The strength at which the base is told of an expression."""
    if strength == 1.0:
        return 1.0
    low, high = _PART
    return float(np.random.default_rng(seed).uniform(low, high))
