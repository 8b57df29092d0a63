"""`sfe reconstruct`: the heads behind faces, as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sfe_cli import options, render
from sfe_cli.help import with_examples

HELP = with_examples(
    "Fit a 3D head to every face of photos and save it: meshes as OBJ and GLB, codes as .npz and "
    ".json, 68 landmarks, and renders (geometry, normals, albedo, Lambertian, an overlay on the "
    "photo).\n\n"
    "No workspace is needed. A photo that fails is told and the others go on; a second call does "
    "only what is not there. faces.csv lists every face with its angles.",
    "sfe reconstruct portrait.jpg --out heads",
    "sfe reconstruct photos --out heads --save meshes,codes --reconstruction emoca",
    "sfe reconstruct photos --out heads --save meshes,detailed-meshes --reconstruction deca",
    "sfe reconstruct photos --out heads --save renders --photo-frame --workers 4",
)


def reconstruct(
    photos: Annotated[Path, typer.Argument(metavar="PHOTOS", help="A picture, or a folder.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files.")],
    save: Annotated[
        str,
        typer.Option(
            metavar="KINDS",
            help="Of meshes, detailed-meshes (EMOCA, DECA), codes, landmarks, renders; with "
            "commas.",
        ),
    ] = "meshes,codes,landmarks,renders",
    reconstruction: Annotated[
        Literal["anny", "emoca", "deca"] | None,
        typer.Option(
            help="Anny fitted to the landmarks, or EMOCA's, DECA's networks.",
            show_default="anny, or as in the sfe.yaml of --workspace",
        ),
    ] = None,
    photo_frame: Annotated[
        bool, typer.Option("--photo-frame", help="Renders in the photo's frame, not the crop's.")
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="cpu|cuda", help="Where networks run.", show_default="cuda, if there is one"
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Processes on the CPU, for folders of photos; 0 = one per core.",
            show_default="preprocess.workers",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace results of other settings in DIR.")
    ] = False,
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            "-w",
            metavar="DIR",
            help="Take section preprocess of its sfe.yaml.",
            show_default="its defaults",
        ),
    ] = None,
    changes: options.Set = None,
) -> None:
    from sfe_cli.progress import RichReporter
    from sfe_core.config.loading import load_workspace, preprocess_alone
    from sfe_core.corpus.reconstruction.outputs import read_kinds

    kinds = read_kinds(save)
    # Every face, whatever a corpus takes; --set may still choose one.
    asked = ["preprocess.face_choice=all"]
    asked += [f"preprocess.reconstruction={reconstruction}"] if reconstruction else []
    asked += changes or ()
    config = (
        preprocess_alone(asked)
        if workspace is None
        else load_workspace(workspace, asked).config.preprocess
    )

    from sfe_core.corpus.reconstruction.reconstruct import reconstruct as core

    summary = core(photos, out, config, kinds, photo_frame, device, RichReporter(), force, workers)
    if summary.faces:  # else the error says it all
        render.facts(
            [
                ("folder", summary.out),
                ("faces", f"{summary.faces} in {summary.done + summary.kept} photos"),
                ("done now", f"{summary.done}, {summary.kept} stood from before"),
                ("table", summary.table),
                *(("no photos", line) for line in summary.passed_over),
            ]
        )
    summary.check()


reconstruct.__doc__ = HELP
