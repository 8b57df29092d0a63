"""What pages and docstrings name is there: files, modules, commands, the picture of the rooms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.rooms_picture import edges_between_rooms, edges_drawn

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", *map(str, (ROOT / "docs").glob("*.md")))
NAMED = re.compile(r"(?<![\w.])sfe_c(?:ore|li)(?:\.[A-Za-z]\w*)+")
OURS = re.compile(r"`((?:sfe_core|sfe_cli|tests|docs|accelerate_configs)/[\w/.\-]*)`")


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_are_there(page: str):
    path = ROOT / page
    text = path.read_text(encoding="utf-8")
    linked = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    missing = [name for name in linked if not (path.parent / name).exists()]
    named = [name for name in OURS.findall(text) if "NAME" not in name]
    missing += [name for name in named if not (ROOT / name).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_modules_and_targets_that_a_page_names_are_there(page: str):
    text = (ROOT / page).read_text(encoding="utf-8")
    modules = re.findall(r"python -m (tests[\w.]+)", text)
    assert all((ROOT / (name.replace(".", "/") + ".py")).exists() for name in modules), modules
    targets = set(
        re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert set(re.findall(r"make ([a-z]+)(?=`|\s+#|$)", text, re.MULTILINE)) <= targets


def is_there(dotted: str) -> bool:
    """Whether a dotted name is a module, or a name that its module writes."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:end])
        for source in (place.with_suffix(".py"), place / "__init__.pyi", place / "__init__.py"):
            if source.is_file():
                rest = parts[end : end + 1]
                return not rest or bool(re.search(rf"\b{rest[0]}\b", source.read_text("utf-8")))
    return False


def test_modules_that_anything_names_are_there():
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "pyproject.toml"]
    files += [
        path for top in ("sfe_core", "sfe_cli", "tests") for path in (ROOT / top).rglob("*.py")
    ]
    missing = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in files
        for name in NAMED.findall(path.read_text("utf-8"))
        if not is_there(name)
    }
    assert not missing


def test_the_picture_shows_the_imports():
    assert edges_drawn() == edges_between_rooms(), "draw it: python -m tests.rooms_picture"
