"""Peak memory of preprocess does not grow with the number of photos."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.photo_files import find_photos

pytestmark = pytest.mark.benchmark

FEW = int(os.environ.get("SFE_BENCH_FEW_PHOTOS", "500"))
MANY = int(os.environ.get("SFE_BENCH_MANY_PHOTOS", "5000"))
MOST_GROWTH = 1.10

# Prints the peak resident memory of the process itself and of its largest child, in KiB.
RUN = """
import json, resource, sys
from pathlib import Path
from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.preprocessing.preprocess import preprocess
if __name__ == "__main__":
    workspace = Workspace(Path(sys.argv[1]), Config.model_validate_json(sys.argv[2]))
    done = preprocess(workspace, cpu_processes=int(sys.argv[3])).done
    peaks = [resource.getrusage(who).ru_maxrss
             for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps([done, *peaks]))
"""


def peaks(photos: Workspace, root: Path, count: int, processes: int) -> tuple[int, int]:
    """KiB of the main process and of its largest worker, for so many photos."""
    originals = find_photos(photos.photos)
    (root / "photos").mkdir(parents=True)
    for number in range(count):
        os.link(originals[number % len(originals)], root / "photos" / f"{number:05d}.png")
    (root / "run.py").write_text(RUN, encoding="utf-8")
    arguments = [str(root / "run.py"), str(root), photos.config.model_dump_json(), str(processes)]
    output = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": os.getcwd()},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    done, main, worker = json.loads(output)
    assert done == count
    return main, worker


@pytest.mark.parametrize("processes", [1, 2])
def test_ten_times_the_photos_take_the_same_memory(photos: Workspace, tmp_path, processes: int):
    few = peaks(photos, tmp_path / "few", FEW, processes)
    many = peaks(photos, tmp_path / "many", MANY, processes)
    names = ("main process", "largest worker")[: 1 if processes == 1 else 2]
    for name, before, after in zip(names, few, many, strict=False):
        print(
            f"\npreprocess, {processes} process(es), {name}: {before / 1024:.0f} MiB for {FEW} "
            f"photos, {after / 1024:.0f} MiB for {MANY}, x {after / before:.3f}"
        )
        assert after <= MOST_GROWTH * before
