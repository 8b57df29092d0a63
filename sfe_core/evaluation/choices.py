"""What `auto` in section evaluate stands for on this machine, and what it leaves out.

What is named must be there; what `auto` stands for is taken where it is, and told where it is not.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np

from sfe_core.arrays import Doubles
from sfe_core.assets.needs import AUTO, OUTSIDE_JUDGES, UNITS_JUDGE
from sfe_core.assets.registry import Asset, registry
from sfe_core.assets.store import how_to_get, missing_files
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import UserError
from sfe_core.faces.recognition.identity import DlibEmbedder

JUDGE = "judge"  # in evaluate.features: the judge's own
FEATURES = (JUDGE, "efficientnet-lite0")
DLIB_FACES = "dlib-face-recognition"
# A median of more faces would say the same.
MOST_FACES = 100
NO_EDITS = (
    "left out: evaluate.background, of edited photos alone (a picture drawn from text promises no "
    "background); give them by --images"
)


@dataclass(frozen=True)
class Chosen:
    """A workspace whose section evaluate holds no `auto`, and in a sentence each what is left out.

    Attributes:
        workspace: to measure by.
        left_out: for people.
    """

    workspace: Workspace
    left_out: list[str]


def choose(
    workspace: Workspace,
    faces: Doubles | None = None,
    edited: bool = False,
    units: Collection[str] = (),
) -> Chosen:
    """Settle what `auto` of section evaluate stands for.

    Args:
        faces: [N, 68, 2], landmarks on the photos in pixels as they are measured; None or N = 0
            leaves identity out.
        edited: the pictures may be edits of the photos: they were given, not drawn.
        units: action units that were asked for; without any, nothing reads them.
    """
    settings = workspace.config.evaluate
    witnesses, no_witness = _those_there(settings.witnesses, OUTSIDE_JUDGES, "judges from outside")
    features, no_features = _those_there(settings.features, FEATURES, "features of distances")
    settled: dict[str, object] = {"witnesses": witnesses, "features": features}
    left_out = [*no_witness, *no_features]
    if settings.units_judge == AUTO or not units:
        settled["units_judge"] = UNITS_JUDGE if units else ""
    if settings.identity == AUTO:
        settled["identity"], no_identity = _identity(faces)
        left_out += no_identity
    if settings.background and not edited:
        settled["background"] = False
        left_out.append(NO_EDITS)
    evaluate = settings.model_copy(update=settled)
    config = workspace.config.model_copy(update={"evaluate": evaluate})
    return Chosen(Workspace(workspace.root, config), left_out)


def _identity(faces: Doubles | None) -> tuple[Literal["none", "dlib"], list[str]]:
    """dlib, where it is installed and the faces are as large as it works on; else why not."""
    if faces is None or not len(faces):
        return "none", []
    absent = [asset for asset in [registry()[DLIB_FACES]] if missing_files(asset)]
    if absent or find_spec("dlib") is None:
        return "none", ["left out: dlib (identity of faces); pip install 'sfe[offline]'"]
    chosen = faces[np.linspace(0, len(faces) - 1, min(len(faces), MOST_FACES)).astype(int)]
    found = float(np.median([DlibEmbedder.cut_px(face) for face in chosen]))
    if found < DlibEmbedder.input_px:
        return "none", [
            f"left out: identity by dlib, which cuts faces out at {DlibEmbedder.input_px} px and "
            f"here finds {found:.0f}; `evaluate.identity: dlib` enlarges them"
        ]
    return "dlib", []


def _those_there(
    asked: Sequence[str], known: Sequence[str], what: str
) -> tuple[tuple[str, ...], list[str]]:
    """`asked`, with those of `known` that are on this machine for `auto`, and what of it is not."""
    if AUTO not in asked:
        return tuple(asked), []
    assets = [registry()[name] for name in known if name != JUDGE]
    absent = [asset for asset in assets if missing_files(asset)]
    gone = {asset.name for asset in absent}
    there = [name for name in known if name not in gone]
    found = [one for name in asked for one in (there if name == AUTO else [name])]
    return tuple(dict.fromkeys(found)), [_left_out(absent, what)] if absent else []


def _left_out(absent: Sequence[Asset], what: str) -> str:
    names = [asset.name for asset in absent]
    if all(asset.source == "download" for asset in absent):
        remedy = f"run `sfe assets fetch {' '.join(names)}`"
    else:
        remedy = "; ".join(how_to_get(asset) for asset in absent)
    return f"left out: {', '.join(names)} ({what}); {remedy}"


def faces_px(corpus: Corpus, keys: Sequence[str], side: int) -> Doubles:
    """Landmarks on photos in pixels, as they are measured at `side`: [N, 68, 2]."""
    return np.stack([corpus.points(key).double().numpy() for key in keys]) * side


def with_embedder(
    workspace: Workspace, corpus: Corpus, keys: Sequence[str]
) -> tuple[Workspace, Sequence[str]]:
    """Settings without `auto`, with an embedder, for a protocol that asks who is on a picture.

    Args:
        workspace: whose section evaluate may say `auto`.
        corpus: of the faces.
        keys: of the faces that are measured.

    Returns:
        The workspace to measure by, and in a sentence each what is left out.

    Raises:
        UserError: `evaluate.identity` is none.
    """
    settings = workspace.config.evaluate
    if settings.identity == AUTO:
        # Its faces may be smaller than it works on: it enlarges them, and tells people apart still.
        settings = settings.model_copy(update={"identity": "dlib"})
    if settings.identity == "none":
        raise UserError(
            "evaluate.identity", "is none, and the protocol asks who it is", f"fetch {DLIB_FACES}"
        )
    config = workspace.config.model_copy(update={"evaluate": settings})
    faces = faces_px(corpus, keys, config.model.resolution)
    chosen = choose(Workspace(workspace.root, config), faces)
    return chosen.workspace, chosen.left_out
