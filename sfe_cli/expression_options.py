"""Options that say an expression, shared by the commands that show one on a face."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sfe_core.controls.expression_change import ExpressionChange

Mix = Annotated[
    str | None, typer.Option(metavar="WORD=0..1,…", help="Several emotions on one face.")
]
Au = Annotated[
    list[str] | None,
    typer.Option(
        "--au",
        metavar="AU12=0..5,…",
        help="Action units, AU12L and AU12R for one side; over what a word says of them.",
        show_default=False,
    ),
]
Blendshapes = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="ARKit's or MediaPipe's, JSON or CSV.", show_default=False),
]
ExpressionFile = Annotated[
    Path | None,
    typer.Option(
        "--expression",
        metavar="FILE",
        help="JSON or CSV of your own, or of OpenFace, py-feat, LibreFace, MediaPipe; .npz or "
        ".npy of FLAME's expression and jaw.",
        show_default=False,
    ),
]
Valence = Annotated[float | None, typer.Option(min=-1, max=1, help="Unpleasant to pleasant.")]
Arousal = Annotated[float | None, typer.Option(min=-1, max=1, help="Calm to excited.")]


def units_change(meaning: str) -> Any:
    """What of a photo's own expression changes."""
    return typer.Option("--au-change", metavar="AU12=+2,…", help=meaning, show_default=False)


def sweep_over(axes: str) -> Any:
    """What pictures of one request differ in."""
    meaning = f"A row of pictures that differ in this alone, or a grid of two: {axes}."
    return typer.Option(metavar="AXIS[xAXIS]", help=meaning, show_default=False)


def read_said(
    emotion: str | None,
    mix: str | None,
    au: list[str] | None,
    valence: float | None,
    arousal: float | None,
    sources: tuple[Path | None, Path | None, Path | None],
    flame: str,
) -> dict[str, Any]:
    """What the options say, as fields of a request; until a photo is read, a face at rest.

    Args:
        sources: files of blendshapes, of an expression, and a photo of one.
        flame: FLAME, for files of its codes.

    Returns:
        `asked`; or emotion, valence and arousal, where a word or a place is all that is said.
    """
    from sfe_core.controls.asked_expression import AskedExpression
    from sfe_core.controls.expression_files import read_expression
    from sfe_core.controls.expression_text import compose, read_emotion, read_mixture, read_units
    from sfe_core.errors import UserError

    blendshapes, expression, photo = sources
    if sum(source is not None for source in sources) > 1:
        raise UserError(
            "--blendshapes, --expression, --expression-of",
            "say the face more than once",
            "give one of them",
        )
    word, strength = read_emotion(emotion) if emotion else (None, None)
    file = blendshapes or expression
    if file is None and photo is None and mix is None and not au and strength is None:
        return {"emotion": word, "valence": valence, "arousal": arousal}
    given = read_expression(file, flame) if file is not None else None
    if given is not None and blendshapes is not None and not given.blendshapes:
        raise UserError(blendshapes, "holds no blendshapes", "read it by --expression")
    if photo is not None:
        given = AskedExpression(blendshapes=(("jawOpen", 0.0),), named="neutral")
    mixture = read_mixture(mix) if mix is not None else ()
    units = read_units(au) if au else ()
    return {"asked": compose(word, strength, mixture, units, valence, arousal, given)}


def read_change_of(typed: list[str] | None) -> ExpressionChange | None:
    """What units of a photo's own expression gain or lose; None where nothing is typed."""
    from sfe_core.controls.expression_text import read_change

    return read_change(typed) if typed else None
