"""The corpus's page and its parts: right counts, right faces, whole in itself."""

from __future__ import annotations

import base64
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.inspection.contact_sheet import TILE, face_sheet, photo_sheet, spread
from sfe_core.corpus.inspection.distributions import BINS, figure, histogram
from sfe_core.corpus.inspection.report import write_report
from sfe_core.corpus.layout import MANIFEST, artefact
from sfe_core.corpus.manifest import plain_rows, read_manifest, to_frame, write_manifest
from sfe_core.corpus.picture_store import FolderStore
from sfe_core.errors import UserError
from tests.tiny_workspace import write_held_out

STEP = TILE + 2


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Eleven random faces, one of them out of range, and two photos that failed."""
    workspace = Workspace(tmp_path, Config())
    write_held_out(workspace, [f"face <{n}>" for n in range(10)])
    rows = plain_rows(read_manifest(workspace.corpus / MANIFEST))
    for number, row in enumerate(rows):
        row |= {
            "landmarks": np.random.default_rng(number).uniform(4, 28, 136).tolist(),
            "crop_x": 16.0,
            "crop_y": 16.0,
            "crop_side": 32.0,
            "box": [2.0, 2.0, 12.0, 22.0 + number],
            "yaw": float(number),
            "mesh_coverage": 0.9 + number / 100,
        }
    rows[3] |= {"status": "out_of_range", "reason": "mesh_coverage 0.97, allowed 0.05 to 0.95"}
    for name, status in (("lawn.png", "no_face"), ("torn.png", "unreadable")):
        reason = "face of 17 px" if status == "no_face" else "truncated at byte 812"
        rows.append({"key": name[:-4], "photo": name, "status": status, "reason": reason})
    workspace.photos.mkdir()
    Image.new("RGB", (50, 20), (0, 200, 0)).save(workspace.photos / "lawn.png")
    (workspace.photos / "torn.png").write_bytes(b"not a picture")
    write_manifest(workspace.corpus / MANIFEST, to_frame(rows))
    return workspace


def sheets_of(page: str) -> dict[str, Image.Image]:
    found = re.findall(
        r'<h3>([^<]+)</h3><span class="faint">[^<]*</span>.*?base64,([^"]+)"', page, re.DOTALL
    )
    return {title: Image.open(BytesIO(base64.b64decode(code))) for title, code in found}


def test_the_page_counts_and_shows_every_group(workspace: Workspace) -> None:
    path = write_report(workspace)
    assert path == workspace.corpus / "report.html"
    page = path.read_text(encoding="utf-8")
    assert "10 faces of 13 photos" in page
    for name, count in (("ok", 10), ("out_of_range", 1), ("no_face", 1), ("unreadable", 1)):
        row = rf'<th scope="row">{name}\s.*?<td class="number">{count}</td>'
        assert re.search(row, page, re.DOTALL)
    assert "1 × face of … px" in page and "1 × truncated at byte …" in page
    sheets = sheets_of(page)
    assert {"ok", "out_of_range", "no_face", "unreadable", "neutral", "happy", "Yaw"} <= set(sheets)
    assert sheets["ok"].size == (10 * STEP, 4 * STEP)
    assert sheets["out_of_range"].size == (STEP, 4 * STEP)
    # Nothing is fetched, and no key breaks the markup.
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert "face <" not in page


def test_faces_at_the_edge_stand_in_order(workspace: Workspace) -> None:
    sheet = np.asarray(sheets_of(write_report(workspace).read_text())["Yaw"].convert("RGB"), float)
    rows = plain_rows(read_manifest(workspace.corpus / MANIFEST))
    with_yaw = sorted((row["yaw"], row["key"]) for row in rows if row["yaw"] is not None)
    chosen = [key for _, key in with_yaw[:5] + with_yaw[-5:]]
    for column, key in enumerate(chosen):
        with Image.open(artefact(workspace.corpus, "inputs", key)) as picture:
            tile = np.asarray(picture.convert("RGB").resize((TILE, TILE), 1), float)
        shown = sheet[:TILE, column * STEP : column * STEP + TILE]
        assert abs(shown - tile).mean() < 12, (column, key)


def test_limits_are_drawn_where_they_lie(workspace: Workspace) -> None:
    page = write_report(workspace).read_text()
    card = page[page.index("Crop filled by the mesh") :]
    (mark,) = re.findall(r'<line x1="([\d.]+)"', card[: card.index("</figure>")])
    # Coverages are 0.90 to 1.00, the limit 0.95: in the middle.
    assert float(mark) == pytest.approx(50, abs=1)


def test_crops_beyond_their_photos_are_counted(workspace: Workspace) -> None:
    assert "crop beyond the photo" not in write_report(workspace).read_text()
    path = workspace.corpus / MANIFEST
    frame = read_manifest(path)
    frame["invented_border"] = [0.3, 0.05] + [None] * (len(frame) - 2)
    frame["crop_side"] = 200.0
    write_manifest(path, frame)
    page = write_report(workspace).read_text()
    assert "1 of 10 faces have over 10% of their crop beyond the photo" in page
    assert "face &lt;0&gt;.jpg, 30%" in page


def test_a_page_without_any_usable_face(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, Config())
    with pytest.raises(UserError, match="no corpus yet.*sfe preprocess"):
        write_report(workspace)
    row = {"key": "a", "photo": "a.png", "status": "failed", "reason": "gone"}
    write_manifest(workspace.corpus / MANIFEST, to_frame([row]))
    page = write_report(workspace).read_text()
    assert "0 faces of 1 photos" in page and set(sheets_of(page)) == {"failed"}


def test_a_sheet_shows_what_it_can(workspace: Workspace) -> None:
    rows = plain_rows(read_manifest(workspace.corpus / MANIFEST))[:2]
    artefact(workspace.corpus, "depth", rows[0]["key"]).unlink()
    sheet = np.asarray(face_sheet(FolderStore(workspace.corpus), rows, ["0.1", "0.2"]))
    assert sheet.shape == (4 * STEP + 14, 2 * STEP, 3)
    assert (sheet[:20, :20] == 225).all()  # the face without depth is blank
    with Image.open(artefact(workspace.corpus, "inputs", rows[1]["key"])) as picture:
        crop = picture.convert("RGB").resize((TILE, TILE), Image.Resampling.LANCZOS)
    assert (sheet[:TILE, STEP : STEP + TILE] == np.asarray(crop)).all()
    assert (sheet[-14:, :STEP] < 128).any()  # its line of text
    photos = np.asarray(photo_sheet(workspace.photos, ["lawn.png", "torn.png", "gone.png"], 10.0))
    assert tuple(photos[TILE // 2, TILE // 2]) == (0, 200, 0)
    assert tuple(photos[2, 2]) == (225, 225, 225)  # padded to a square, not stretched
    assert (photos[:TILE, STEP:] < 100).any()  # says why


def test_spread_is_even_and_by_name() -> None:
    keys = [f"{n:03d}" for n in range(100)]
    assert spread(keys[::-1], 4) == ["000", "025", "050", "075"]
    assert spread(["b", "a"], 10) == ["a", "b"]


def test_histogram_counts_everything_once() -> None:
    values = np.concatenate([np.linspace(0, 1, 1000), [50.0, np.nan]])
    found = histogram("x", "X", "m", values, (0.5, 2.0))
    assert sum(found.counts) == found.known == 1001 and len(found.heights) == BINS
    assert found.edges[-1] < 2 and found.most == 50.0 and max(found.heights) == 1.0
    assert found.middle == pytest.approx(0.5, abs=0.01)
    assert found.marks == [pytest.approx(0.5, abs=0.02)]
    ratio = histogram("x", "X", "m", 10 ** np.linspace(0, 3, 500), logarithmic=True)
    assert np.allclose(np.diff(np.log10(ratio.edges)), np.diff(np.log10(ratio.edges))[0])
    assert max(ratio.counts[1:-1]) - min(ratio.counts[1:-1]) <= 1
    alike = histogram("x", "X", "m", [2.0, 2.0], (1.0, 3.0))
    assert alike.heights == alike.counts == alike.marks == [] and alike.known == 2
    assert histogram("x", "X", "m", [np.nan]) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1474.6, "1,475"),
        (0.0163, "0.0163"),
        (-7.58, "-7.58"),
        (1.0, "1"),
        (100.0, "100"),
    ],
)
def test_figures(value: float, text: str) -> None:
    assert figure(value) == text
