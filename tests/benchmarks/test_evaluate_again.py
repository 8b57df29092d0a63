"""What a second checkpoint costs: the reference, the photos and the base are measured once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.evaluation.evaluate import evaluate
from sfe_core.sampling.pictures import draw_series
from tests.sfe_core.evaluation.conftest import face, write_faces, write_package

__all__ = ["face"]
pytestmark = pytest.mark.benchmark
COUNTS = (60, 2000)  # pictures of a set, photos of the reference: as 300 to 10,000
VARIANTS = ("base", "text", "guided")


def evaluated(workspace: Workspace, package: Path) -> float:
    """Seconds of processor time of an evaluation whose pictures are drawn, as after `sfe triptych`.

    Of the processor, as other work on the machine would drown the difference.
    """
    for variant in VARIANTS:
        draw_series(workspace, "val300", variant, package)
    started = time.process_time()
    evaluate(workspace, package=package)
    return time.process_time() - started


@pytest.mark.parametrize("page", [False, True], ids=["numbers", "with report"])
def test_a_new_checkpoint(
    settings: Config, face, tmp_path: Path, page: bool, monkeypatch: pytest.MonkeyPatch
):
    """Under half the first run's time; the report's plots cost the same both times."""
    if not page:
        monkeypatch.setattr("sfe_core.evaluation.reporting.outputs.draw_plots", lambda *_: [])
    workspace = Workspace(tmp_path, settings)
    write_faces(workspace, face, counts=COUNTS)
    base = Path(settings.model.base)
    first = evaluated(workspace, write_package(workspace, base, "first", seed=1))
    later = evaluated(workspace, write_package(workspace, base, "later", seed=2))
    title = f"evaluate, {'with report' if page else 'numbers alone'}, {COUNTS[0]} pictures"
    print(
        f"\n{title:<44} first {first:6.2f} s   a new checkpoint {later:6.2f} s   "
        f"x {later / first:.2f} of the first"
    )
    assert later < first
