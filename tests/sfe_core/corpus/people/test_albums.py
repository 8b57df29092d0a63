"""Albums: whose a photo is, which person is meant, and what of each is held out."""

from __future__ import annotations

from collections import Counter

import pytest

from sfe_core.config.corpus_sections import SplitConfig
from sfe_core.corpus.people.albums import albums_of, choose_album, person_of
from sfe_core.corpus.people.sides import _split_albums
from sfe_core.corpus.people.splits import SplitItem
from sfe_core.errors import UserError


def test_the_topmost_folder_that_may_be_somebodys_is_the_person():
    keys = ["anna/1", "anna/holiday/2", "happy/3", "images/ben/4", "5"]
    assert [person_of(key) for key in keys] == ["anna", "anna", "", "ben", ""]
    assert albums_of(keys) == {"": ["happy/3", "5"], "anna": keys[:2], "ben": ["images/ben/4"]}


def test_which_album_is_meant():
    assert choose_album(["1", "2"], None, "w") == ""
    assert choose_album(["anna/1"], None, "w") == "anna"
    assert choose_album(["anna/1", "ben/1"], "ben", "w") == "ben"
    with pytest.raises(UserError, match=r"albums of anna, ben; name one"):
        choose_album(["anna/1", "ben/1"], None, "w")
    with pytest.raises(UserError, match="albums of anna and loose photos"):
        choose_album(["anna/1", "2"], None, "w")
    with pytest.raises(UserError, match="w eva: .*albums of: anna"):
        choose_album(["anna/1"], "eva", "w")
    with pytest.raises(UserError, match="has no folder"):
        choose_album(["1"], "eva", "w")


def test_of_each_album_about_a_fifth_is_held_out():
    keys = [f"anna/{n}" for n in range(10)] + [f"ben/{n}" for n in range(5)] + ["carl/0", "carl/1"]
    items = [SplitItem(key, key.partition("/")[0], None) for key in keys]
    config = SplitConfig(by="photos", validation_fraction=0.2)
    splits, notes = _split_albums(config, items, [])
    held = Counter(person_of(key) for key, split in splits.items() if split == "val300")
    assert held == {"anna": 2, "ben": 1, "carl": 1} and not notes


def test_copies_stay_together_and_an_album_of_copies_is_told():
    items = [SplitItem(str(n), None, None) for n in range(4)]
    config = SplitConfig(by="photos", validation_fraction=0.5)
    splits, _ = _split_albums(config, items, [("0", "1")])
    assert splits["0"] == splits["1"] and set(splits.values()) == {"train", "val300"}
    _, notes = _split_albums(config, items, [("0", "1", "2", "3")])
    assert notes == ["nothing of the album is held out: 4 photos, all copies of one another"]
    _, notes = _split_albums(config, items[:1], [])
    assert "one usable photo" in notes[0]
