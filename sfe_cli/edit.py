"""`sfe edit`: another expression, pose or light on photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
    from sfe_core.sampling.editing.edit import Edited

HELP = with_examples(
    "Change expression, pose, light or shape of the face on photos, in any combination.\n\n"
    "A head is fitted to each photo, changed, and drawn by a package of recipe physical with the "
    "look of the photo. What is to change comes from another photo (--expression-of, --pose-of, "
    "--light-of …) or from numbers and words (--emotion, --au, --jaw, --yaw, --light …). Turns are "
    "from where the head looks, or from the pose of --pose-of. Pictures of the crop go to one "
    "folder with their buffers, a contact sheet and a JSON of what was asked, and with --in-photo "
    "also back into the photos, in in_photo/ there; a killed call goes on where it was.",
    "sfe edit photos/her.jpg --expression-of smile.jpg --pose-of profile.jpg",
    "sfe edit photos/her.jpg --emotion happy --yaw 20 --light left",
    "sfe edit photos/ --au AU12=3,AU6=2 --keep-surround --in-photo",
    "sfe edit photos/her.jpg --au-change AU12=+2 --jaw 0.3",
    "sfe edit photos/her.jpg --expression-of smile.jpg --sweep strength",
    "sfe edit photos/her.jpg --sweep yawxAU12 --count 4",
    "sfe edit photos/her.jpg --light-of window.jpg --target-reconstruction deca",
)
_TURN = "Degrees from where it looks, {}."

Photos = Annotated[list[Path], typer.Argument(metavar="PHOTO…", help="Photos, or folders of them.")]


def _photo(name: str, meaning: str) -> Any:
    return typer.Option(name, metavar="PHOTO", help=meaning, show_default=False)


ExpressionOf = Annotated[
    Path | None, _photo("--expression-of", "The expression on this photo; --au goes over it.")
]
PoseOf = Annotated[Path | None, _photo("--pose-of", "Where the head on this photo looks.")]
LightOf = Annotated[Path | None, _photo("--light-of", "The light on this photo.")]
ShapeOf = Annotated[Path | None, _photo("--shape-of", "The shape of the head on this photo.")]
LookOf = Annotated[
    Path | None, _photo("--look-of", "Hair, skin and background in the manner of this photo.")
]
Emotion = Annotated[
    str | None, typer.Option(metavar="WORD[=0..1]", help="happy, sad, …, or with a strength.")
]
AuChange = Annotated[
    list[str] | None,
    units_change("What units of the photo's own expression gain or lose, -5 to 5; the rest stays."),
]
Jaw = Annotated[
    float | None, typer.Option(min=0, max=1, help="How far the jaw is open, nothing else changed.")
]
Yaw = Annotated[float, typer.Option(help=_TURN.format("to the picture's right"))]
Pitch = Annotated[float, typer.Option(help=_TURN.format("up"))]
Roll = Annotated[float, typer.Option(help=_TURN.format("clockwise"))]
Frontal = Annotated[
    bool, typer.Option("--frontal", help="It looks straight ahead before it turns.")
]
Light = Annotated[
    str | None,
    typer.Option(
        metavar="SIDE|FILE",
        help="left, right, top, bottom, front, soft; or a file of 9 x 3 spherical harmonics.",
        show_default=False,
    ),
]
Strength = Annotated[float, typer.Option(min=0, max=2, help="How far all of it goes; 1: as asked.")]
Sweep = Annotated[
    str | None,
    sweep_over(
        "strength, yaw, pitch, roll, jaw, light, seed, emotion, valence, happy, AU12, jawOpen, "
        "yawxAU12"
    ),
]
Count = Annotated[
    int | None, typer.Option(min=1, help="Values along each axis of --sweep.", show_default="5")
]
Reconstruction = Literal["anny", "emoca", "deca"]
SourceReconstruction = Annotated[
    Reconstruction | None,
    typer.Option(
        "--source-reconstruction",
        help="What fits the heads of the photos.",
        show_default="preprocess.reconstruction",
    ),
]
TargetReconstruction = Annotated[
    Reconstruction | None,
    typer.Option(
        "--target-reconstruction",
        help="What fits the heads that something is taken from.",
        show_default="preprocess.reconstruction",
    ),
]
Person = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Whose photos they are, a folder of photos/: for --mean-shape.",
        show_default="the package's, or the photo's folder",
    ),
]
MeanShape = Annotated[
    bool | None,
    typer.Option(
        "--mean-shape/--no-mean-shape",
        help="The mean shape of the person's album in place of the photo's.",
        show_default="as the package learnt",
    ),
]
Scheduler = Annotated[
    Literal["ddim", "dpm++", "dpm-solver++"] | None,
    typer.Option(help="The sampler.", show_default="the package's"),
]
Steps = Annotated[int, typer.Option(min=1, max=1000, help="Of denoising.")]
Seed = Annotated[int | None, options.seed("With the photo's name decides its noise.")]
KeepSurround = Annotated[
    bool,
    typer.Option(
        "--keep-surround", help="Lay what is round the head back as it was, with a soft edge."
    ),
]
InPhoto = Annotated[
    bool,
    typer.Option(
        "--in-photo",
        help="Also lay each picture back into its photo, in in_photo/; with --keep-surround the "
        "head alone.",
    ),
]
Redraws = Annotated[
    int,
    typer.Option(min=0, max=20, help="How often a noisy picture is drawn again with another seed."),
]
Out = Annotated[Path | None, options.pictures_folder("generated/edits/…")]


def edit(
    photos: Photos,
    workspace: options.Workspace = options.HERE,
    package: options.Package = None,
    expression_of: ExpressionOf = None,
    pose_of: PoseOf = None,
    light_of: LightOf = None,
    shape_of: ShapeOf = None,
    look_of: LookOf = None,
    emotion: Emotion = None,
    valence: Valence = None,
    arousal: Arousal = None,
    mix: Mix = None,
    au: Au = None,
    au_change: AuChange = None,
    blendshapes: Blendshapes = None,
    expression: ExpressionFile = None,
    jaw: Jaw = None,
    yaw: Yaw = 0.0,
    pitch: Pitch = 0.0,
    roll: Roll = 0.0,
    frontal: Frontal = False,
    light: Light = None,
    strength: Strength = 1.0,
    sweep: Sweep = None,
    count: Count = None,
    source_reconstruction: SourceReconstruction = None,
    target_reconstruction: TargetReconstruction = None,
    person: Person = None,
    mean_shape: MeanShape = None,
    scheduler: Scheduler = None,
    steps: Steps = 20,
    seed: Seed = None,
    keep_surround: KeepSurround = False,
    in_photo: InPhoto = False,
    redraws: Redraws = 2,
    out: Out = None,
    changes: options.Set = None,
) -> None:
    from sfe_cli.progress import RichReporter
    from sfe_core.config.loading import load_workspace

    # Settings first: a mistyped key need not wait for torch to be imported.
    found = load_workspace(workspace, changes or ())
    said = read_said(
        emotion, mix, au, valence, arousal, (blendshapes, expression, None),
        found.config.preprocess.flame,
    )  # fmt: skip

    from sfe_core.sampling.editing.edit import edit as carry_out
    from sfe_core.sampling.editing.request import Edit, EditRequest

    request = EditRequest(
        tuple(photos),
        Edit(
            asked=_asked(said),
            change=read_change_of(au_change),
            jaw=jaw,
            yaw=yaw,
            pitch=pitch,
            roll=roll,
            frontal=frontal,
            light=light,
            expression_of=expression_of,
            pose_of=pose_of,
            light_of=light_of,
            shape_of=shape_of,
            look_of=look_of,
            strength=strength,
        ),
        sweep=sweep,
        count=count,
        person=person,
        mean_shape=mean_shape,
        source_reconstruction=source_reconstruction,
        target_reconstruction=target_reconstruction,
        steps=steps,
        sampler="dpm-solver++" if scheduler == "dpm++" else scheduler,
        seed=seed,
        keep_surround=keep_surround,
        in_photo=in_photo,
        redraws=redraws,
    )
    _show(carry_out(found, request, package, RichReporter(), out))


def _asked(said: dict[str, Any]) -> Any:
    """The expression that was typed; None where none was."""
    from sfe_core.controls.expression_text import compose

    if "asked" in said:
        return said["asked"]
    return compose(said["emotion"], valence=said["valence"], arousal=said["arousal"])


def _show(made: Edited) -> None:
    from sfe_core.sampling.editing.plan import IN_PHOTO_FOLDER

    several = len(made.pictures) > 1
    laid = made.folder / IN_PHOTO_FOLDER if several else made.in_photo
    render.facts(
        [
            ("pictures", f"{len(made.pictures)}, {made.drawn} of them drawn now"),
            ("drawn again", len(made.redrawn) or None),
            ("still noisy", len(made.noisy) or None),
            ("left out", list(made.skipped) or None),
            ("sheet", made.sheets),
            ("grid", made.grids or None),
            ("asked", made.report),
            ("folder" if several else "picture", made.folder if several else made.pictures),
            ("in the photo", laid if made.in_photo else None),
        ]
    )  # fmt: skip


edit.__doc__ = HELP
