"""What is said of crops: how many, and the worst."""

from __future__ import annotations

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.corpus.inspection.crop_counts import CropCounts


def test_crops_to_know_of_are_counted_with_the_worst() -> None:
    counts, config = CropCounts(), PreprocessConfig(crop_size=512)
    plain = {"photo": "a.jpg", "crop_rule": "landmarks", "crop_side": 300.0, "invented_border": 0.0}
    counts.add(plain, config)
    assert counts.told() == []
    counts.add(plain | {"photo": "b.jpg", "crop_side": 48.0, "crop_rule": "as-is"}, config)
    counts.add(plain | {"photo": "c.jpg", "crop_side": 100.0, "invented_border": 0.4}, config)
    counts.add(plain | {"photo": "d.jpg", "invented_border": 0.2, "crop_rule": None}, config)
    as_is, invented, enlarged = counts.told()
    assert as_is.startswith("1 of 4 faces fill their photo")
    assert invented.startswith("2 of 4 faces have over 10%") and "c.jpg, 40%" in invented
    assert enlarged.startswith("2 of 4 faces are enlarged over 4 times (most: b.jpg, 10.7 times)")
    asked = CropCounts()
    asked.add(plain | {"crop_rule": "as-is"}, PreprocessConfig(crop_rule="as-is"))
    assert asked.told() == []
