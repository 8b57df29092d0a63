"""A list of bare numbers becomes captions of attributes and units, split by subject."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from sfe_core.config.loading import load_workspace
from sfe_core.corpus.importing.data_set import carry_out, plan_import
from sfe_core.corpus.importing.formats import find_source
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import read_manifest
from sfe_core.corpus.preprocessing.preprocess import preprocess

TAGS = "close-up,whole-face,front-face"


@pytest.mark.slow
def test_from_a_list_to_captions(tmp_path: Path, portrait: Image.Image) -> None:
    frames = ["F001/T1/7", "F001/T2/8", "M002/T1/9", "M003/T1/3"]
    for place, frame in enumerate(frames):
        path = tmp_path / "BP4D" / f"{frame}.png"
        path.parent.mkdir(parents=True)
        # Of different pictures, or they would be copies of one.
        portrait.rotate(3 * place, fillcolor=(90, 90, 90)).resize((180 + place, 180)).save(path)
    units = ["0,0,0,1,0,0,1,0,0,0,0,0", "1,0,0,0,0,0,0,0,0,0,0,9", "0,0,0,0,0,1,0,0,0,0,0,0", ""]
    lines = [f"{frame}.jpg:{row}" for frame, row in zip(frames, units, strict=True)]
    (tmp_path / "all_imgs.txt").write_text("\n".join(lines[::-1]), encoding="utf-8")
    people = "subject,age,ethnicity\nF001,23,Asian\nM002,40,Hispanic\n"
    (tmp_path / "people.csv").write_text(people, encoding="utf-8")
    root = tmp_path / "w"
    root.mkdir()
    (root / "sfe.yaml").write_text("preset: tiny-action-units-text\n", encoding="utf-8")
    small = ["preprocess.workers=1", "preprocess.crop_size=64", "split.copies=none"]
    workspace = load_workspace(root, [*small, 'captions.sources=["tags"]'])
    source = find_source(tmp_path / "all_imgs.txt", "unit-list", None)
    summary = carry_out(workspace, plan_import(workspace, source, tmp_path / "BP4D"))
    assert summary.images == 3 and summary.problem_counts == {"bad line": 1}
    preprocess(workspace)
    rows = read_manifest(workspace.corpus / MANIFEST).set_index("key")
    assert rows["caption"].to_dict() == {
        "F001/T1/7": f"Asian,female,{TAGS},young,cheek-raiser,lip-corner-puller",
        "F001/T2/8": f"Asian,female,{TAGS},young,inner-brow-raiser",
        "M002/T1/9": f"Hispanic,male,{TAGS},middle-aged,upper-lip-raiser",
    }
    sides = rows.groupby("identity")["split"].nunique()
    assert sides.to_dict() == {"F001": 1, "M002": 1} and rows["split"].nunique() == 2
