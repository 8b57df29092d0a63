"""Reference statistics are kept, and are the same from the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sfe_core.evaluation.statistics import references
from sfe_core.evaluation.statistics.references import reference_statistics

FEATURES = np.random.default_rng(0).normal(size=(30, 6))


def test_kept_statistics_are_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = reference_statistics(FEATURES, tmp_path)
    monkeypatch.setattr(references, "_computed", lambda _: pytest.fail("computed again"))
    second = reference_statistics(FEATURES, tmp_path)
    others = FEATURES[:9] + 0.5
    assert second.frechet.distance(others) == first.frechet.distance(others)
    assert second.kernel.distance(others) == first.kernel.distance(others)
    np.testing.assert_array_equal(second.manifold.radii, first.manifold.radii)


def test_other_features_and_torn_files_are_computed(tmp_path: Path):
    first = reference_statistics(FEATURES, tmp_path)
    reference_statistics(FEATURES + 1e-9, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:200])
    again = reference_statistics(FEATURES, tmp_path)
    assert again.frechet.distance(FEATURES[:5]) == first.frechet.distance(FEATURES[:5])


def test_too_few_photos_have_no_manifold():
    few = reference_statistics(FEATURES[:3])
    assert few.manifold is None and few.frechet is not None
