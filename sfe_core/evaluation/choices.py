"""What `auto` in section evaluate stands for on this machine, and what it leaves out.

What is named must be there; what `auto` stands for is taken where it is, and told where it is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sfe_core.assets.needs import AUTO, OUTSIDE_JUDGES
from sfe_core.assets.registry import Asset, registry
from sfe_core.assets.store import how_to_get, missing_files
from sfe_core.config.workspace import Workspace

JUDGE = "judge"  # in evaluate.features: the judge's own
FEATURES = (JUDGE, "efficientnet-lite0")


@dataclass(frozen=True)
class Chosen:
    """A workspace whose section evaluate holds no `auto`, and in a sentence each what is left out.

    Attributes:
        workspace: to measure by.
        left_out: for people.
    """

    workspace: Workspace
    left_out: list[str]


def choose(workspace: Workspace) -> Chosen:
    """Settle what `auto` of section evaluate stands for."""
    settings = workspace.config.evaluate
    witnesses, no_witness = _those_there(settings.witnesses, OUTSIDE_JUDGES, "judges from outside")
    features, no_features = _those_there(settings.features, FEATURES, "features of distances")
    evaluate = settings.model_copy(update={"witnesses": witnesses, "features": features})
    settled = workspace.config.model_copy(update={"evaluate": evaluate})
    return Chosen(Workspace(workspace.root, settled), [*no_witness, *no_features])


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
