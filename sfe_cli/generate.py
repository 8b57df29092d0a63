"""`sfe generate`: single pictures and sweeps from a prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sfe_cli import options, render
from sfe_cli.help import with_examples

HELP = with_examples(
    "Draw pictures from a prompt with a packaged model.\n\n"
    "An emotion is put into words; with --like, --head, --valence, --arousal or --sweep intensity "
    "a face shows it too: the photo's, or the parametric head, given that expression.",
    'sfe generate "close-up portrait of an old man" --emotion happy',
    'sfe generate "portrait of a woman" --sweep emotion --like photos/her.jpg',
    'sfe generate "portrait" --emotion sad --sweep intensity',
    'sfe generate "portrait" --valence -0.6 --arousal 0.7 --count 4',
    'sfe generate "happy, portrait" --sweep seed --preset original',
)


Prompt = Annotated[
    str,
    typer.Argument(metavar="[PROMPT]", help="What to draw.", show_default="the captions' template"),
]
Emotion = Annotated[str | None, typer.Option(help="happy, sad, …; put in front of the prompt.")]
Valence = Annotated[float | None, typer.Option(min=-1, max=1, help="Unpleasant to pleasant.")]
Arousal = Annotated[float | None, typer.Option(min=-1, max=1, help="Calm to excited.")]
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
    Literal["emotion", "intensity", "seed"] | None,
    typer.Option(help="A row of pictures that differ in this alone."),
]
Count = Annotated[
    int | None, typer.Option(min=1, help="How many pictures.", show_default="1; of a sweep 5 or 8")
]
Seed = Annotated[
    int | None,
    typer.Option(**options.SEEDS, help="Of the first picture.", show_default="sampling.seed"),
]
Out = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder for them.", show_default="generated/prompts/…"),
]
Long = Annotated[
    Literal["cut", "chunks"] | None,
    typer.Option(
        "--long-prompts",
        help="Words beyond the text encoder's 75 tokens: cut, or encoded in chunks of as many; "
        "BREAK begins one.",
        show_default="sampling.long_prompts",
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
    valence: Valence = None,
    arousal: Arousal = None,
    like: Like = None,
    head: Head = False,
    sweep: Sweep = None,
    count: Count = None,
    seed: Seed = None,
    out: Out = None,
    long_prompts: Long = None,
    prompt_weights: Weights = None,
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
    found = load_workspace(workspace, [*chosen, *(changes or ())])

    from sfe_core.sampling.generate import generate as draw
    from sfe_core.sampling.sweep import Request

    request = Request(
        prompt=prompt,
        emotion=emotion.lower() if emotion else None,
        valence=valence,
        arousal=arousal,
        like=like,
        head=head,
        sweep=sweep,
        count=count,
        seed=seed,
    )
    made = draw(found, request, find_package(found, package), RichReporter(), out)
    prompts = list(dict.fromkeys(made.prompts))
    render.facts(
        [
            ("prompt", prompts[0] if len(prompts) == 1 else f"{prompts[0]} (and so on)"),
            ("pictures", f"{len(made.pictures)}, {made.drawn} of them drawn now"),
            ("grid", made.grid),
            ("folder" if made.grid else "picture", made.folder if made.grid else made.pictures),
        ]
    )


generate.__doc__ = HELP
