"""A kind of artefact is one record: a toy one takes one more, and nothing else anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.artefacts import kinds
from sfe_core.corpus.artefacts.kinds import ARTEFACTS, KINDS
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import OPTIONAL, read_manifest
from sfe_core.corpus.manifest_stream import stream_manifest
from sfe_core.files import sha256_file

# What somebody adds to kinds.py.
RECORD = """\
    ArtefactKind("negative", lambda face: 255 - face.crop, "negative", (_CROP,)),
"""
TABLE = "KINDS: tuple[ArtefactKind, ...] = (\n"
# `python - WORKSPACE SOURCE [SETTING]`: preprocess and verify with another kinds.py.
RUN = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
name = "sfe_core.corpus.artefacts.kinds"
spec = spec_from_file_location(name, sys.argv[2])
sys.modules[name] = module_from_spec(spec)
spec.loader.exec_module(sys.modules[name])
from pathlib import Path
from sfe_core.config.loading import load_workspace
from sfe_core.corpus.inspection.verify import verify_corpus
from sfe_core.corpus.preprocessing.preprocess import preprocess
settings = ["preprocess.workers=1", "preprocess.crop_size=64", *sys.argv[3:]]
workspace = load_workspace(Path(sys.argv[1]), settings)
print(preprocess(workspace).done, *verify_corpus(workspace).orphans)
"""


def run_with(record: str, workspace: Workspace, folder: Path, *settings: str) -> str:
    source = Path(kinds.__file__).read_text(encoding="utf-8")
    head, table = source.split(TABLE)
    changed = head + TABLE + record + table
    (folder / "kinds.py").write_text(changed, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(workspace.root), str(folder / "kinds.py"), *settings],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_toy_kind_is_one_record(small_corpus: Workspace, tmp_path: Path) -> None:
    shutil.copytree(small_corpus.root, tmp_path / "w")
    workspace = Workspace(tmp_path / "w", small_corpus.config)
    crops = {path: path.read_bytes() for path in (workspace.corpus / "inputs").rglob("*.png")}
    # An old corpus gets it, and nothing else is made again; then everything stands.
    assert run_with(RECORD, workspace, tmp_path) == "4"
    assert run_with(RECORD, workspace, tmp_path) == "0"
    for row in stream_manifest(workspace.corpus / MANIFEST):
        made = workspace.corpus / "negative" / f"{row['key']}.png"
        assert row["negative_sha256"] == (sha256_file(made) if row["status"] == "ok" else None)
    crop, negative = (
        np.asarray(Image.open(workspace.corpus / folder / "a.png"))
        for folder in ("inputs", "negative")
    )
    assert (negative == 255 - crop).all()
    assert crops == {path: path.read_bytes() for path in crops}
    # What shapes it remakes it, a new version of it too, and other settings leave it alone.
    closer = "preprocess.crop_scale=1.5"
    assert run_with(RECORD, workspace, tmp_path, closer) == "4"
    assert run_with(RECORD, workspace, tmp_path, closer, "split.copies=none") == "0"
    newer = RECORD.replace("(_CROP,)", "(_CROP,), version=2")
    assert run_with(newer, workspace, tmp_path, closer) == "4"


def test_kinds_have_folders_and_columns_of_their_own(small_corpus: Workspace) -> None:
    assert len(ARTEFACTS) == len(KINDS) == len({kind.folder for kind in KINDS})
    manifest = read_manifest(small_corpus.corpus / MANIFEST)
    assert {kind.column for kind in KINDS} <= set(manifest)
    assert {kind.name for kind in KINDS if kind.required} == {
        "inputs", "landmarks", "depth", "mesh", "canvas",
    }  # fmt: skip
    assert not OPTIONAL & {kind.column for kind in KINDS if kind.required}
