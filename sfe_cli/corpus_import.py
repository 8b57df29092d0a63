"""`sfe corpus import`: lists, class folders, captions, action units and renders of others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sfe_cli import options, render
from sfe_cli.help import with_examples

if TYPE_CHECKING:
    from sfe_core.corpus.importing.data_set import ImportPlan, ImportSummary

HELP = with_examples(
    "Take a data set into photos/: its images as links, its labels into labels.csv, its captions "
    "into captions.json.\n\n"
    "Known by their files: AffectNet (manual lists, eight-label arrays), `path,emotion` and action "
    "unit tables, FER2013 (its pixels become pictures), FERPlus and ExpW lists, CelebA attributes, "
    "tables of OpenFace and py-feat, metadata.jsonl and .csv, Parquet with pictures inside, "
    "one folder per class (RAF-DB, FER), JSON captions, texts beside the pictures and folders "
    "like 10_woman, frames of BP4D, DISFA, CK+ and Aff-Wild2, output of EMOCA and DECA, data bases "
    "(LMDB) of DiffusionRig and DiffusionRig-Emo with their buffers; lists of units without their "
    "names, as `name:0,1,…` a line or as a list of images beside a file of numbers. What is wrong "
    "is counted, listed in imports/, and passed over.\n\n"
    "A table `subject,sex,age,ethnicity` beside codes of BP4D or DISFA tells of its people.",
    "sfe corpus import training.csv --images Manually_Annotated_Images  # AffectNet",
    "sfe corpus import fer2013/train --classes fer2013 --into fer2013  # a folder per class",
    "sfe corpus import EmocaProcessed_38k  # inputs/ become photos, geometry_detail/ their meshes",
    "sfe corpus import datasets/anna --into anna  # DiffusionRig's LMDB: photos, buffers, shape",
    "sfe corpus import ActionUnit_Labels --images DISFA_frames",
    "sfe corpus import BP4D_train_img_path_fold1.txt --images BP4D  # and …_label_fold1.txt",
    "sfe corpus import all_imgs.txt --images crops --units AU1,AU2,AU4  # name:0,1,0",
    "sfe corpus import captions.json  # about photos that are in photos/ already",
)


def import_data_set(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A list, or a folder.")],
    workspace: options.Workspace = options.HERE,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the images that a list is about.",
            show_default="the workspace's photos",
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="list, captions, unit-list, folders, texts, affectnet-arrays, emoca, "
            "diffusion-rig, units, frames.",
            show_default="by its files",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="SCHEME",
            help="What numbered classes mean: affectnet, raf-db, fer2013, ferplus, expw, ck+, "
            "ck-extended, aff-wild2, or the emotions from number 0 on: angry,disgust,…",
            show_default="told by the data set",
        ),
    ] = None,
    units: Annotated[
        str | None,
        typer.Option(
            metavar="UNITS",
            help="Units of a unit-list's columns: AU1,AU2,… in their order, bp4d or disfa.",
            show_default="told by the images' names",
        ),
    ] = None,
    into: Annotated[
        str, typer.Option(metavar="NAME", help="Sub-folder of photos/ for its images.")
    ] = "",
    way: Annotated[
        Literal["symlink", "hardlink", "copy"],
        typer.Option("--as", help="How images get into photos/."),
    ] = "symlink",
    keep_unlabelled: Annotated[
        bool,
        typer.Option("--keep-unlabelled", help="Also images that show none of the eight emotions."),
    ] = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    changes: options.Set = None,
) -> None:
    from sfe_cli.progress import RichReporter
    from sfe_core.config.loading import load_workspace
    from sfe_core.corpus.importing.data_set import carry_out, plan_import
    from sfe_core.corpus.importing.formats import find_source

    found = load_workspace(workspace, changes or ())
    plan = plan_import(
        found, find_source(source, form, classes, images, units), images, into, keep_unlabelled
    )
    if dry_run:
        _show(plan_facts(plan), json)
        return
    _show(summary_facts(carry_out(found, plan, way, RichReporter())), json)
    if not json:
        render.next_step("`sfe preprocess`")


def plan_facts(plan: ImportPlan) -> dict[str, Any]:
    """What would be taken in."""
    from sfe_core.corpus.importing.problem_list import first_reasons

    return {
        "form": plan.source.form,
        "images": len(plan.faces),
        "to be put into photos/": plan.placing,
        "emotions": plan.emotion_counts,
        "numbers mean": plan.source.scheme,
        "but": plan.source.doubt or None,
        "columns": plan.columns_told or None,
        "columns left out": plan.columns_ignored or None,
        "images without a line": plan.unnamed or None,
        "passed over": plan.problems.counts or 0,
        "such as": first_reasons(plan.problems) or None,
        "listed in": plan.problem_list,
    }


def summary_facts(summary: ImportSummary) -> dict[str, Any]:
    """What was taken in."""
    return {
        "images": summary.images,
        "put into photos/": summary.placed,
        "labelled": summary.labelled,
        "captioned": summary.captioned,
        "with a render": summary.renders or None,
        "mean shape": summary.mean_shape,
        "emotions": summary.emotion_counts or None,
        "numbers mean": summary.scheme if summary.emotion_counts else None,
        "but": summary.doubt or None,
        "columns": summary.columns_told or None,
        "columns left out": summary.columns_ignored or None,
        "images without a line": summary.unnamed or None,
        "passed over": summary.problem_counts or 0,
        "such as": summary.problems_told or None,
        "listed in": summary.problem_list,
    }


def _show(facts: dict[str, Any], json: bool) -> None:
    if json:
        render.as_json({name.replace(" ", "_").strip("/"): v for name, v in facts.items()})
    else:
        render.facts(facts.items())
