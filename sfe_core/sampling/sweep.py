"""What a request draws: one picture, or one per point of a sweep or line of a table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.controls.circumplex import expression_at
from sfe_core.controls.expression_change import WHERE as CHANGE
from sfe_core.controls.expression_change import ExpressionChange
from sfe_core.controls.expression_files import AskedRow
from sfe_core.corpus.annotations.captions import template_caption
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.sampling.axes import Axis, check_axes, expression_along, read_axes


@dataclass(frozen=True)
class Request:
    """What to draw.

    Args:
        prompt: text; "" = the captions' template, with the emotion if one is asked for.
        emotion: one of EMOTIONS, put in front of the text as captions have it.
        valence: -1 to 1. With arousal it decides how strong the emotion shows on the guiding face
            and, where none is named, which it is.
        arousal: -1 to 1.
        asked: an expression in any other way, in place of the three above; a face shows it.
        rows: lines of a table, each a picture, in place of all that is said of expressions.
        like: photo whose face guides; its own expression unless one is asked for. A line of a table
            may name another.
        change: of the photo's own expression, in place of asking for one.
        head: without a photo, let the parametric head guide.
        sweep: a row of pictures that differ in this alone, or, of two as AU12xAU4, a grid with the
            first from left to right; see `axes.read_axes`.
        count: of pictures along each axis; without a sweep, from seeds that follow.
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
    change: ExpressionChange | None = None
    head: bool = False
    sweep: str | None = None
    count: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.like is not None and self.head:
            raise UserError("--head", "was given together with --like", "give one of them")
        if self.count is not None and self.count < 1:
            raise UserError("--count", f"{self.count}", "give at least 1")
        self._check_asked()
        expression = self.expression()
        if self.change is not None:
            self._check_change()
            return
        if self.rows:
            self._check_rows()
            return
        axes = self.axes()
        check_axes(axes, expression)
        says_word = expression is not None and expression.word is not None
        says_word |= any(axis.kind in ("emotion", "word", "place") for axis in axes)
        if not self.prompt.strip() and not says_word:
            raise UserError("PROMPT", "is empty", "write what to draw, or give --emotion")
        for point in points(axes):
            self.expression_at(point)  # before any work: what no face can show

    def _check_asked(self) -> None:
        said = (self.emotion, self.valence, self.arousal)
        if self.asked is not None and any(value is not None for value in said):
            raise UserError(
                "asked", "was given together with emotion, valence or arousal", "give one of them"
            )

    def _check_change(self) -> None:
        if self.like is None:
            raise UserError(CHANGE, "changes what a photo's face shows", "add --like PHOTO")
        if self.expression() is not None:
            raise UserError(
                CHANGE,
                "keeps the photo's expression, but another was asked for",
                "leave one of them out",
            )
        if self.rows:
            raise UserError(
                "--table",
                f"was given together with {CHANGE}",
                "write it into a column au_change, beside the photo in like",
            )
        odd = [axis.name for axis in self.axes() if axis.kind not in ("intensity", "seed")]
        if odd:
            raise UserError(
                f"--sweep {odd[0]}",
                f"sets what {CHANGE} leaves as on the photo",
                "sweep intensity, from the photo's own to the whole change, or seed",
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
            self._check_photo(row)
            text = row.prompt or self.prompt
            if (
                row.change is None
                and not text.strip()
                and (row.expression is None or row.expression.word is None)
            ):
                raise UserError(
                    row.where, "has neither prompt nor emotion", "add a prompt, or give PROMPT"
                )

    def _check_photo(self, row: AskedRow) -> None:
        """See that a line's photo and its change stand alone."""
        if row.like is not None and self.head:
            raise UserError(f"{row.where}: like", "stands beside --head", "leave one of them out")
        if row.change is None:
            return
        if row.like is None and self.like is None:
            raise UserError(
                f"{row.where}: au_change",
                "changes what a photo's face shows",
                "name it in a column like, or add --like PHOTO",
            )
        if row.expression is not None:
            raise UserError(
                f"{row.where}: au_change",
                "keeps the photo's expression, but another was asked for",
                "leave one of them out",
            )

    def expression(self) -> AskedExpression | None:
        """The expression asked for, None where nothing is said of it."""
        if self.asked is not None:
            return self.asked
        if self.valence is not None or self.arousal is not None:
            return expression_at(self.valence, self.arousal, self.emotion)
        return None if self.emotion is None else AskedExpression(self.emotion)

    def axes(self) -> tuple[Axis, ...]:
        """Of the sweep; none without one."""
        return () if self.sweep is None else read_axes(self.sweep, self.count)

    def expression_at(self, point: dict[Axis, float]) -> AskedExpression | None:
        """The expression at a point of the sweep, None where nothing is said of it."""
        return expression_along(self.expression(), point, self.emotion)

    def change_at(self, point: dict[Axis, float]) -> ExpressionChange | None:
        """The share of the change that a point of the sweep asks for."""
        shares = [value for axis, value in point.items() if axis.kind == "intensity"]
        if self.change is None or not shares:
            return self.change
        return self.change.scaled(shares[0])

    @property
    def guided(self) -> bool:
        """Whether a face guides every picture: what has no words can be shown in no other way."""
        if self.like is not None or self.head or self.asked is not None:
            return True
        if self.valence is not None or self.arousal is not None:
            return True
        return any(axis.graded for axis in self.axes())

    def guides(self, row: AskedRow) -> bool:
        """Whether a face guides a table's line: as if the line had been typed as flags."""
        if row.like is not None or row.change is not None:
            return True
        return self.guided or (row.expression is not None and not row.by_word)


@dataclass(frozen=True)
class Shot:
    """One picture of a request.

    Args:
        label: what sets it apart, for its name and its heading.
        prompt: as given to the sampler.
        seed: of its noise.
        expression: to be shown by the guiding face; None = that face's own.
        change: of that face's own expression.
        guided: whether a face guides, or action units are told; else text alone.
        like: photo whose face guides; None = the parametric head's, where one does.
        embedded: the expression's words are told as embeddings, and not in the prompt.
        fusion_prompt: what shows the expression on anyone, to fuse with; "" = nothing is fused.
    """

    label: str
    prompt: str
    seed: int
    expression: AskedExpression | None
    change: ExpressionChange | None = None
    guided: bool = False
    like: Path | None = None
    embedded: bool = False
    fusion_prompt: str = ""


def plan_shots(request: Request, seed: int, template: str) -> list[Shot]:
    """The pictures of a request, in order.

    Args:
        seed: where the request names none.
        template: preprocess.caption_template.
    """
    first = seed if request.seed is None else request.seed
    asked = request.expression()
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
                row.change,
                request.guides(row),
                row.like or request.like,
            )
            for number, row in enumerate(request.rows, start=1)
        ]
    axes, like = request.axes(), request.like
    if not axes:
        prompt = _prompt(request.prompt, asked.word if asked else None, template)
        return [
            Shot(
                f"seed {first + n}", prompt, first + n, asked, request.change, request.guided, like
            )
            for n in range(request.count or 1)
        ]
    shots = []
    for point in points(axes):
        shown, change = request.expression_at(point), request.change_at(point)
        label = " ".join(_label(axis, value, first, asked) for axis, value in point.items())
        seed = first + sum(int(value) for axis, value in point.items() if axis.kind == "seed")
        prompt = _prompt(request.prompt, shown.word if shown else None, template)
        shots.append(Shot(label, prompt, seed, shown, change, request.guided, like))
    return shots


def points(axes: tuple[Axis, ...]) -> list[dict[Axis, float]]:
    """Every point of a sweep, the first axis fastest, so that it runs along the rows of a grid."""
    rows = product(*(axis.values for axis in reversed(axes)))
    return [dict(zip(axes, reversed(row), strict=True)) for row in rows]


def _label(axis: Axis, value: float, first: int, asked: AskedExpression | None) -> str:
    if axis.kind == "emotion":
        return EMOTIONS[int(value)]
    if axis.kind == "seed":
        return f"seed {first + int(value)}"
    if axis.kind == "intensity" and asked is not None and asked.emotion is not None:
        return f"{asked.emotion} {value * asked.intensity:.2f}"
    return f"{axis.name} {value:.2f}"


def _prompt(text: str, emotion: str | None, template: str) -> str:
    """The text with the emotion's word in front, in place of another emotion's."""
    text = " ".join(text.split())
    if not text:
        return template_caption(template, {"emotion": emotion or ""})
    if emotion is None:
        return text
    bare = re.sub(rf"^(?:{'|'.join(EMOTIONS)})\b[\s,]*", "", text, flags=re.IGNORECASE)
    return f"{emotion}, {bare}" if bare else emotion
