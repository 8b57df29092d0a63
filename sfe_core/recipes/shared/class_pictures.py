"""Class pictures: what the base draws of a person's class, so that a run may not forget it.

Prior preservation (Ruiz et al. 2023, https://arxiv.org/abs/2208.12242, sec. 3.2), with as many
pictures of each expression: a prior of one neutral prompt lets a fine-tuned model lose the rest.

They are a corpus of their own below `class_pictures/` of the workspace, see `DrawnCorpus`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from sfe_core.assets import locate
from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.annotations.attributes import with_article
from sfe_core.corpus.annotations.captions import template_caption
from sfe_core.corpus.reader import Corpus
from sfe_core.diffusion.drawing import draw_batch, prompt_words
from sfe_core.diffusion.expression_embeddings import ExpressionEmbeddings
from sfe_core.diffusion.loading import BaseModels, load_base
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.faces.drawn_faces import DrawnFaceFinder
from sfe_core.files import derive_seed, sha256_json
from sfe_core.recipes.shared.drawn_corpus import DrawnCorpus
from sfe_core.reporting import Reporter, Task

FOLDER = "class_pictures"
_TRIES = 5  # noises for a picture, until a face is found in it


@dataclass(frozen=True)
class ClassPictures:
    """Which class pictures a run wants.

    Attributes:
        workspace: whose.
        class_word: e.g. woman.
        per_expression: how many of each.
        steps: denoising steps.
        look_for_faces: draw again where the workspace's detector finds no face.
        base_sha256: of the model that draws.
    """

    workspace: Workspace
    class_word: str
    per_expression: int
    steps: int
    look_for_faces: bool
    base_sha256: str

    @property
    def captions(self) -> dict[str, str]:
        """Emotion to caption: that of the album's photos without the person's token."""
        template = self.workspace.config.preprocess.caption_template
        return expression_captions(template, with_article(self.class_word))

    @cached_property
    def record(self) -> dict[str, Any]:
        """All that decides a picture but its number."""
        config = self.workspace.config
        return {
            "base": self.base_sha256,
            "captions": self.captions,
            "resolution": config.model.resolution,
            "steps": self.steps,
            "guidance_scale": config.sampling.guidance_scale,
            "detector": config.preprocess.detector if self.look_for_faces else None,
        }

    @property
    def folder(self) -> Path:
        """Of the corpus they are."""
        return self.corpus.folder

    @property
    def keys(self) -> dict[str, str]:
        """Key to emotion, of all that are wanted; a smaller number's are among a larger one's."""
        return {
            f"{name}/{number:04d}": name
            for number in range(self.per_expression)
            for name in EMOTIONS
        }

    @cached_property
    def corpus(self) -> DrawnCorpus:
        """As they lie on disk."""
        name = f"{'-'.join(self.class_word.split())}-{sha256_json(self.record)[:10]}"
        return DrawnCorpus(
            self.workspace.root / FOLDER / name,
            self.record,
            self.keys,
            self.captions,
            self.workspace.config.model.resolution,
        )

    def draw(self, accelerator: Accelerator, reporter: Reporter) -> Corpus:
        """Draw what is missing, and open them; of several processes the first draws.

        Raises:
            UserError: no face was found in any of them.
        """

        def paint(keys: Sequence[str]) -> None:
            _Painter(self, accelerator, reporter).paint(keys)

        corpus, wanted = self.corpus.open(accelerator, paint), len(self.keys)
        if corpus.rows.empty:
            raise UserError(
                self.folder,
                f"of {wanted} class pictures that the base drew none shows a face",
                "set recipe_options.prior_faces false, prior_pictures 0, or another model.base",
            )
        if accelerator.is_main_process and len(corpus.rows) < wanted:
            lost = wanted - len(corpus.rows)
            reporter.warn(f"{lost} of {wanted} class pictures show no face: left out")
        return corpus


def expression_captions(template: str, subject: str) -> dict[str, str]:
    """Emotion to what a caption template says of a subject that shows it."""
    return {
        name: template_caption(template, {"emotion": name, "subject": subject}) for name in EMOTIONS
    }


class _Painter:
    """A loaded base that draws class pictures."""

    def __init__(
        self, pictures: ClassPictures, accelerator: Accelerator, reporter: Reporter
    ) -> None:
        self._pictures, self._accelerator, self._reporter = pictures, accelerator, reporter
        self._config: Config = pictures.workspace.config
        self._finder: DrawnFaceFinder | None = None
        if pictures.look_for_faces:
            detector = self._config.preprocess.detector
            self._finder = DrawnFaceFinder(detector, self._config.model.resolution)

    def paint(self, keys: Sequence[str]) -> None:
        """Draw pictures; those without a face again, with other noise."""
        base = load_base(locate(self._config.model.base))
        pipeline = drawing_pipeline(base, self._accelerator.device)
        size = self._config.sampling.batch_size
        with self._reporter.task("Drawing class pictures", len(keys)) as task:
            for start in range(0, len(keys), size):
                self._paint_batch(pipeline, keys[start : start + size], task)

    def _paint_batch(self, pipeline: Any, keys: Sequence[str], task: Task) -> None:
        left = list(keys)
        for attempt in range(_TRIES if self._finder else 1):
            faceless = []
            for key, pixels in self._drawn(pipeline, left, attempt):
                face = self._finder is None or self._shows_face(pixels)
                if face or attempt == _TRIES - 1:
                    self._pictures.corpus.save(key, pixels, face)
                else:
                    faceless.append(key)
            left = faceless
            if not left:
                break
        task.advance(len(keys))

    def _drawn(
        self, pipeline: Any, keys: Sequence[str], attempt: int
    ) -> Iterator[tuple[str, Tensor]]:
        captions, config = self._pictures.captions, self._config
        with self._accelerator.autocast():
            drawn = draw_batch(
                pipeline,
                prompt_words([captions[self._pictures.keys[key]] for key in keys]),
                [derive_seed("class picture", key, attempt) for key in keys],
                resolution=config.model.resolution,
                steps=self._pictures.steps,
                guidance_scale=config.sampling.guidance_scale,
            )
        yield from zip(keys, drawn.float().cpu(), strict=True)

    def _shows_face(self, pixels: Tensor) -> bool:
        assert self._finder is not None
        return self._finder.find(self._finder.levels(pixels * 2 - 1)) is not None


def drawing_pipeline(
    base: BaseModels, device: torch.device, expressions: ExpressionEmbeddings | None = None
) -> Any:
    """The base as a pipeline that tells nobody of its progress, with expressions or without."""
    pipeline = base.family.guided_pipeline(
        **base.text_encoders,
        **base.tokenizers,
        vae=base.vae,
        unet=base.unet,
        scheduler=DPMSolverMultistepScheduler.from_config(base.scheduler.config),
        guidance_encoder=None,
        action_units=None,
        expressions=expressions,
    ).to(device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
