"""`sfe generate`: single pictures and sweeps from a prompt."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sfe_cli import options, render
from sfe_cli.expression_options import (
    Arousal,
    Au,
    Blendshapes,
    ExpressionFile,
    Mix,
    Valence,
    read_change_of,
    read_said,
    sweep_over,
    units_change,
)
from sfe_cli.help import with_examples

if TYPE_CHECKING:
    from sfe_core.config.workspace import Workspace
    from sfe_core.controls.asked_expression import AskedExpression
    from sfe_core.controls.expression_change import ExpressionChange
    from sfe_core.controls.expression_files import AskedRow
    from sfe_core.sampling.generate import Generated

HELP = with_examples(
    "Draw pictures from a prompt with a packaged model.\n\n"
    "An emotion is told as an embedding, at any strength, to a package that learnt expressions. To "
    "another it is put into words, also in a --table; with a strength (happy=0.7), --mix, --au, "
    "--like, --head, --valence, --arousal or a --sweep a face shows it too: the photo's, or the "
    "parametric head, given that expression. --au-change keeps the photo's own and moves units of "
    "it. A package that learnt units as text gets them in its prompt, named as in "
    "the workspace's captions; text does not tell left from right.",
    'sfe generate "close-up portrait of an old man" --emotion happy',
    'sfe generate "portrait of a woman" --sweep emotion --like photos/her.jpg',
    'sfe generate "portrait" --emotion sad --sweep intensity',
    'sfe generate "portrait" --valence -0.6 --arousal 0.7 --count 4',
    'sfe generate "happy, portrait" --sweep seed --preset original',
    'sfe generate "portrait" --mix happy=0.6,surprise=0.4',
    'sfe generate "portrait" --emotion sad --strength 1.3',
    'sfe generate "portrait" --au AU12=3,AU6=2 --au AU12R=0',
    'sfe generate "portrait" --sweep AU12xAU4 --like photos/her.jpg',
    'sfe generate "portrait" --table faces.csv',
    'sfe generate "portrait" --lora style.safetensors=0.8',
    "sfe generate --like photos/her.jpg --au-change AU12=+2,AU4=-1",
)


Prompt = Annotated[
    str,
    typer.Argument(metavar="[PROMPT]", help="What to draw.", show_default="the captions' template"),
]
Emotion = Annotated[
    str | None,
    typer.Option(
        metavar="WORD[=0..1]", help="happy, sad, …, or with a strength; in front of the prompt."
    ),
]
Strength = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1.5,
        help="Of --emotion, as in happy=0.7; more than 1 with a package that learnt expressions.",
    ),
]
AuChange = Annotated[
    list[str] | None,
    units_change(
        "With --like: what units of the photo's own expression gain or lose, -5 to 5, AU12L "
        "and AU12R for one side; read by sampling.units_reader, the rest stays as read."
    ),
]
ExpressionOf = Annotated[
    Path | None,
    typer.Option(metavar="PHOTO", help="The expression on this photo.", show_default=False),
]
Table = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="CSV or JSON, a picture per line: prompt, seed, emotion, AU12, jawOpen, like (a "
        "photo, from the table's folder on), au_change (AU12=+2;AU4=-1), …; each as if typed "
        "alone.",
        show_default=False,
    ),
]
Like = Annotated[
    Path | None,
    typer.Option(
        metavar="PHOTO",
        help="The face of this photo guides: pose, shape and, unless an emotion is asked for, "
        "expression.",
        show_default=False,
    ),
]
Head = Annotated[
    bool, typer.Option("--head", help="The parametric head guides, seen from the front.")
]
Sweep = Annotated[
    str | None,
    sweep_over("emotion, intensity, seed, valence, arousal, happy, AU12, AU12L, jawOpen, AU12xAU4"),
]
Count = Annotated[
    int | None, typer.Option(min=1, help="How many pictures.", show_default="1; of a sweep 5 to 8")
]
Seed = Annotated[int | None, options.seed("Of the first picture.")]
Out = Annotated[Path | None, options.pictures_folder("generated/prompts/…")]
Long = Annotated[
    Literal["cut", "chunks"] | None,
    typer.Option(
        "--long-prompts",
        help="Words beyond the text encoder's 75 tokens: cut, or encoded in chunks of as many; "
        "BREAK begins one.",
        show_default="sampling.long_prompts",
    ),
]
Fusion = Annotated[
    float | None,
    typer.Option(
        "--fusion-strength",
        min=0,
        help="Of a person's features with those of the expression, by a package that learnt "
        "fusion; 0: without.",
        show_default="sampling.fusion_strength",
    ),
]
Loras = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        metavar="FILE[=-4..4]",
        help="A LoRA in diffusers' or kohya's layout on top, at a weight (1); every layer of it "
        "must fit.",
        show_default="sampling.loras",
    ),
]
Weights = Annotated[
    Literal["text", "a1111"] | None,
    typer.Option(
        "--prompt-weights",
        help="What (happy:1.5), (happy) and \\[happy] are: text, or weights as in A1111.",
        show_default="sampling.prompt_weights",
    ),
]


def generate(
    prompt: Prompt = "",
    workspace: options.Workspace = options.HERE,
    package: options.Package = None,
    emotion: Emotion = None,
    strength: Strength = None,
    valence: Valence = None,
    arousal: Arousal = None,
    mix: Mix = None,
    au: Au = None,
    au_change: AuChange = None,
    blendshapes: Blendshapes = None,
    expression: ExpressionFile = None,
    expression_of: ExpressionOf = None,
    table: Table = None,
    like: Like = None,
    head: Head = False,
    sweep: Sweep = None,
    count: Count = None,
    seed: Seed = None,
    out: Out = None,
    long_prompts: Long = None,
    prompt_weights: Weights = None,
    fusion_strength: Fusion = None,
    lora: Loras = None,
    preset: options.Preset = None,
    changes: options.Set = None,
) -> None:
    from sfe_cli.packages import find_package
    from sfe_cli.progress import RichReporter
    from sfe_core.config.loading import load_workspace

    # Settings first: a mistyped key need not wait for torch to be imported.
    chosen = [f"sampling.preset={preset}"] if preset else []
    chosen += [f"sampling.long_prompts={long_prompts}"] if long_prompts else []
    chosen += [f"sampling.prompt_weights={prompt_weights}"] if prompt_weights else []
    chosen += [] if fusion_strength is None else [f"sampling.fusion_strength={fusion_strength}"]
    chosen += _read_loras(lora)
    found = load_workspace(workspace, [*chosen, *(changes or ())])

    sources = (blendshapes, expression, expression_of)
    emotion = _with_strength(emotion, strength)
    said = read_said(emotion, mix, au, valence, arousal, sources, found.config.preprocess.flame)
    rows = _read_rows(table)
    change = read_change_of(au_change)

    from sfe_core.sampling.generate import generate as draw
    from sfe_core.sampling.sweep import Request

    request = Request(
        prompt=prompt,
        **said,
        rows=rows,
        like=like,
        change=change,
        head=head,
        sweep=sweep,
        count=count,
        seed=seed,
    )
    source = find_package(found, package)
    _check_fusion(fusion_strength, source, found)
    if expression_of is not None:  # slow, so only once all else that was typed has been checked
        request = replace(request, asked=_with_photo(said["asked"], expression_of, found))
    made = draw(found, request, source, RichReporter(), out)
    _show(made, change)


def _show(made: Generated, change: ExpressionChange | None) -> None:
    prompts = list(dict.fromkeys(made.prompts))
    render.facts(
        [
            ("prompt", prompts[0] if len(prompts) == 1 else f"{prompts[0]} (and so on)"),
            *_read_off(made, change),
            ("pictures", f"{len(made.pictures)}, {made.drawn} of them drawn now"),
            ("grid", made.grid),
            ("animation", made.animation),
            ("folder" if made.grid else "picture", made.folder if made.grid else made.pictures),
        ]
    )


def _check_fusion(strength: float | None, source: Path | None, workspace: Workspace) -> None:
    from sfe_core.errors import UserError
    from sfe_core.packaging.listing import has_fusion, newest_package

    if not strength:
        return
    package = source or newest_package(workspace)
    if not has_fusion(package):
        raise UserError(
            "--fusion-strength",
            f"{package.name} learnt no fusion",
            "leave it out, or train with recipe_options.fusion=true",
        )


def _read_loras(typed: list[str] | None) -> list[str]:
    """`FILE[=WEIGHT]` as settings; relative files are meant from where the command is typed."""
    from sfe_core.errors import UserError

    loras: dict[str, float] = {}
    for one in typed or ():
        file, equals, text = one.rpartition("=")
        if not equals or Path(one).is_file():
            file, text = one, "1"
        try:
            weight = float(text)
        except ValueError:
            weight = math.nan
        if not -4 <= weight <= 4:
            raise UserError(f"--lora {one}", f"{text} is no weight", "give -4 to 4, as in FILE=0.8")
        path = os.path.abspath(Path(file).expanduser())
        if path in loras:
            raise UserError(f"--lora {one}", "is given twice", "give one weight")
        loras[path] = weight
    return [f"sampling.loras={json.dumps(loras)}"] if loras else []


def _with_strength(emotion: str | None, strength: float | None) -> str | None:
    from sfe_core.errors import UserError

    if strength is None:
        return emotion
    if emotion is None or "=" in emotion:
        problem = "is of --emotion, which is not given" if emotion is None else "is said twice"
        raise UserError("--strength", problem, "write --emotion happy --strength 0.7")
    return f"{emotion}={strength}"


def _read_off(made: Generated, change: ExpressionChange | None) -> list[tuple[str, str]]:
    """Who read what off the photo, and what the change makes of it."""
    from sfe_core.controls.expression_change import told_of_units

    if made.shown is None or change is None:
        return []
    whole = change.beside(made.shown.units)
    after = whole.of_units(made.shown.units)
    changed = {code: after[code] for code, _ in whole.units}
    return [
        *((f"read by {reader}", told_of_units(units)) for reader, units in made.shown.read.items()),
        ("changed to", told_of_units(changed, weak=True)),
    ]


def _read_rows(table: Path | None) -> tuple[AskedRow, ...]:
    from sfe_core.controls.expression_files import read_table

    return tuple(read_table(table)) if table is not None else ()


def _with_photo(asked: AskedExpression, photo: Path, found: Workspace) -> AskedExpression | None:
    """The photo's expression below the units that were asked for beside it."""
    from sfe_cli.progress import RichReporter
    from sfe_core.controls.expression_text import compose
    from sfe_core.sampling.asked_face import expression_of_photo

    preprocess, recogniser = found.config.preprocess, found.config.loss.emotion_network
    shown = expression_of_photo(photo, preprocess, recogniser, RichReporter())
    return compose(given=shown, units=asked.units)


generate.__doc__ = HELP
