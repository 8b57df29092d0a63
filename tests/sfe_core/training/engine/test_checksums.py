"""Checksums: what they catch, and that the usual tool reads them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from sfe_core.training.engine.checksums import CHECKSUMS, compare_checksums, write_checksums


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "weights").write_bytes(bytes(range(256)))
    (tmp_path / "meta.json").write_text("{}")
    write_checksums(tmp_path)
    return tmp_path


def test_whole_is_whole(folder):
    assert compare_checksums(folder) is None


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_sha256sum_reads_them(folder):
    subprocess.run(["sha256sum", "--check", "--strict", CHECKSUMS], cwd=folder, check=True)


def test_one_flipped_bit_is_named(folder):
    path = folder / "unet" / "weights"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    assert compare_checksums(folder) == (
        "unet/weights is not what was written (its checksum differs)"
    )


def test_cut_short_lost_or_added_files_are_named(folder):
    (folder / "extra").touch()
    assert compare_checksums(folder) == "extra was not part of it"
    (folder / "unet" / "weights").write_bytes(b"")
    assert "unet/weights is not what" in compare_checksums(folder)
    (folder / "unet" / "weights").unlink()
    assert compare_checksums(folder) == "unet/weights is missing"
    (folder / CHECKSUMS).write_text("garbage\n")
    assert "not a checksum" in compare_checksums(folder)
    (folder / CHECKSUMS).unlink()
    assert "missing" in compare_checksums(folder)
