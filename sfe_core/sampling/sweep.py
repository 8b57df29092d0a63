"""What a request draws: one picture, or one per emotion, intensity, seed or line of a table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.controls.circumplex import expression_at
from sfe_core.controls.expression_files import AskedRow
from sfe_core.corpus.annotations.captions import template_caption
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError

Sweep = Literal["emotion", "intensity", "seed"]
SWEEPS: tuple[Sweep, ...] = ("emotion", "intensity", "seed")
_USUAL_COUNTS = {"intensity": 5, "seed": 8}


@dataclass(frozen=True)
class Request:
    """What to draw.

    Args:
        prompt: text; "" = the captions' template with the emotion.
        emotion: one of EMOTIONS, put in front of the text as captions have it.
        valence: -1 to 1. With arousal it decides how strong the emotion shows on the guiding face
            and, where none is named, which it is.
        arousal: -1 to 1.
        asked: an expression in any other way, in place of the three above; a face shows it.
        rows: lines of a table, each a picture, in place of all that is said of expressions.
        like: photo whose face guides; its own expression unless one is asked for.
        head: without a photo, let the parametric head guide.
        sweep: a row of pictures that differ in this alone.
        count: of intensities or seeds; without a sweep, of pictures from seeds that follow.
        seed: of the first picture's noise; None = sampling.seed.

    Raises:
        UserError: a value is not allowed, or values contradict each other.
    """

    prompt: str = ""
    emotion: str | None = None
    valence: float | None = None
    arousal: float | None = None
    asked: AskedExpression | None = None
    rows: tuple[AskedRow, ...] = ()
    like: Path | None = None
    head: bool = False
    sweep: Sweep | None = None
    count: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.sweep is not None and self.sweep not in SWEEPS:
            raise UserError("--sweep", f"{self.sweep!r}", f"use {', '.join(SWEEPS)}")
        if self.like is not None and self.head:
            raise UserError("--head", "was given together with --like", "give one of them")
        if self.count is not None and self.count < 1:
            raise UserError("--count", f"{self.count}", "give at least 1")
        self._check_asked()
        expression = self.expression()
        if self.rows:
            self._check_rows()
        elif self.sweep == "emotion":
            if expression is not None:
                raise UserError("--sweep emotion", "draws every emotion", "leave --emotion out")
            if self.count is not None:
                raise UserError("--count", "has no part in --sweep emotion", "leave it out")
        elif self.sweep == "intensity" and (
            expression is None or self.asked is not None or expression.emotion == "neutral"
        ):
            raise UserError(
                "--sweep intensity", "needs an emotion other than neutral", "add --emotion happy"
            )
        elif not self.prompt.strip() and (expression is None or expression.word is None):
            raise UserError("PROMPT", "is empty", "write what to draw, or give --emotion")

    def _check_asked(self) -> None:
        said = (self.emotion, self.valence, self.arousal)
        if self.asked is not None and any(value is not None for value in said):
            raise UserError(
                "asked", "was given together with emotion, valence or arousal", "give one of them"
            )

    def _check_rows(self) -> None:
        if self.expression() is not None:
            raise UserError(
                "--table", "was given together with an expression", "write it into the table"
            )
        if self.sweep is not None or self.count is not None:
            raise UserError(
                "--table", "says which pictures to draw", "leave --sweep and --count out"
            )
        for row in self.rows:
            text = row.prompt or self.prompt
            if not text.strip() and (row.expression is None or row.expression.word is None):
                raise UserError(
                    row.where, "has neither prompt nor emotion", "add a prompt, or give PROMPT"
                )

    def expression(self) -> AskedExpression | None:
        """The expression asked for, None where nothing is said of it."""
        if self.asked is not None:
            return self.asked
        if self.valence is not None or self.arousal is not None:
            return expression_at(self.valence, self.arousal, self.emotion)
        return None if self.emotion is None else AskedExpression(self.emotion)

    @property
    def guided(self) -> bool:
        """Whether a face guides: intensity has no words, so it can be shown in no other way."""
        if self.asked is not None or any(row.expression is not None for row in self.rows):
            return True
        circumplex = self.valence is not None or self.arousal is not None
        return self.like is not None or self.head or circumplex or self.sweep == "intensity"


@dataclass(frozen=True)
class Shot:
    """One picture of a request.

    Args:
        label: what sets it apart, for its name and its heading.
        prompt: as given to the sampler.
        seed: of its noise.
        expression: to be shown by the guiding face; None = that face's own.
    """

    label: str
    prompt: str
    seed: int
    expression: AskedExpression | None


def plan_shots(request: Request, seed: int, template: str) -> list[Shot]:
    """The pictures of a request, in order.

    Args:
        seed: where the request names none.
        template: preprocess.caption_template.
    """
    first = seed if request.seed is None else request.seed
    asked = request.expression()
    if request.sweep == "emotion":
        return [
            Shot(name, _prompt(request.prompt, name, template), first, AskedExpression(name))
            for name in EMOTIONS
        ]
    if request.rows:
        return [
            Shot(
                row.name or f"line {number}",
                _prompt(
                    row.prompt or request.prompt,
                    row.expression.word if row.expression else None,
                    template,
                ),
                first if row.seed is None else row.seed,
                row.expression,
            )
            for number, row in enumerate(request.rows, start=1)
        ]
    prompt = _prompt(request.prompt, asked.word if asked else None, template)
    count = request.count or _USUAL_COUNTS.get(request.sweep or "", 1)
    if request.sweep == "intensity":
        assert asked is not None and asked.emotion is not None
        steps = [place / max(1, count - 1) for place in range(count)]
        return [
            Shot(
                f"{asked.emotion} {share:.2f}", prompt, first, AskedExpression(asked.emotion, share)
            )
            for share in steps
        ]
    return [Shot(f"seed {first + n}", prompt, first + n, asked) for n in range(count)]


def _prompt(text: str, emotion: str | None, template: str) -> str:
    """The text with the emotion's word in front, in place of another emotion's."""
    text = " ".join(text.split())
    if emotion is None:
        return text
    if not text:
        return template_caption(template, {"emotion": emotion})
    bare = re.sub(rf"^(?:{'|'.join(EMOTIONS)})\b[\s,]*", "", text, flags=re.IGNORECASE)
    return f"{emotion}, {bare}" if bare else emotion
