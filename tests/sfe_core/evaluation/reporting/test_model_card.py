"""A measured package says on its card what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sfe_core.evaluation.reporting.model_card import write_to_card
from sfe_core.files import sha256_file
from tests.sfe_core.evaluation.summaries import make_summary

CARD = "# tuned\n\nDraws faces.\n\n## Licences\n\n- Base model: as its publisher states.\n"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "tuned"
    folder.mkdir()
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    record = {"run": "first", "files": {"README.md": "old", "unet/config.json": "same"}}
    (folder / "provenance.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def card_of(package: Path) -> str:
    return (package / "README.md").read_text(encoding="utf-8")


def test_the_short_table_stands_above_the_licences(package: Path, tmp_path: Path):
    summary = make_summary(tmp_path)
    write_to_card(package, summary)
    card = card_of(package)
    before, after = CARD.split("## Licences")
    assert card.startswith(before) and card.endswith("## Licences" + after)
    row = summary.table[0]
    assert f"| {row['metric']} | {' | '.join(list(row.values())[1:])} |" in card
    assert card.index(f"## Evaluation on {summary.split}") < card.index("## Licences")
    assert "| n/a | n/a |" not in card


def test_the_cards_hash_follows_and_no_other_changes(package: Path, tmp_path: Path):
    write_to_card(package, make_summary(tmp_path))
    said = json.loads((package / "provenance.json").read_text(encoding="utf-8"))
    digest = sha256_file(package / "README.md")
    assert said == {"run": "first", "files": {"README.md": digest, "unet/config.json": "same"}}


def test_each_split_has_one_section_that_is_replaced(package: Path, tmp_path: Path):
    write_to_card(package, make_summary(tmp_path, split="val300", pictures=9))
    write_to_card(package, make_summary(tmp_path, split="test", pictures=5))
    write_to_card(package, make_summary(tmp_path, split="val300", pictures=300))
    card = card_of(package)
    assert card.count("## Evaluation on val300") == card.count("## Evaluation on test") == 1
    assert "300 pictures per set" in card and "\n9 pictures" not in card
    assert "\n5 pictures per set" in card


def test_a_card_of_ones_own_gets_it_at_the_end(package: Path, tmp_path: Path):
    (package / "README.md").write_text("# Mine", encoding="utf-8")
    write_to_card(package, make_summary(tmp_path))
    assert card_of(package).startswith("# Mine\n\n<!-- begin")


def test_a_folder_without_card_is_left_alone(package: Path, tmp_path: Path):
    (package / "README.md").unlink()
    write_to_card(package, make_summary(tmp_path))
    assert [path.name for path in package.iterdir()] == ["provenance.json"]
