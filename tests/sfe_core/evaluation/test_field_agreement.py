"""The distances and agreements, against the packages of the field on the same numbers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import linalg, stats
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from sfe_core.evaluation.statistics import agreement
from sfe_core.evaluation.statistics.distances import FrechetReference, KernelReference
from sfe_core.evaluation.statistics.manifold import ManifoldReference
from sfe_core.evaluation.statistics.paired_tests import wilcoxon_signed_rank

RANDOM = np.random.default_rng(11)
REFERENCE = RANDOM.normal(size=(160, 24)) @ RANDOM.normal(size=(24, 24))
# The first has fewer pictures than features, as a small split on Inception has.
SETS = {
    "few": REFERENCE[:17] * 1.1 + RANDOM.normal(0.0, 0.5, (17, 24)),
    "many": RANDOM.normal(0.3, 1.0, (160, 24)) @ RANDOM.normal(size=(24, 24)),
}


@pytest.mark.parametrize("name", SETS)
def test_frechet_is_torch_fidelitys(name: str):
    pair = [fid_features_to_statistics(torch.from_numpy(f)) for f in (SETS[name], REFERENCE)]
    theirs = fid_statistics_to_metric(*pair, verbose=False)["frechet_inception_distance"]
    assert FrechetReference(REFERENCE).distance(SETS[name]) == pytest.approx(theirs, abs=1e-3)


@pytest.mark.parametrize("name", SETS)
def test_frechet_is_pytorch_fids(name: str, monkeypatch: pytest.MonkeyPatch):
    score = pytest.importorskip("pytorch_fid.fid_score", reason="pip install 'sfe[test]'")

    def root(matrix: np.ndarray, disp: bool = True):
        """SciPy's root as it was asked for before 1.18, and as pytorch-fid still asks for it."""
        return linalg.sqrtm(matrix) if disp else (linalg.sqrtm(matrix), 0.0)

    monkeypatch.setattr(score, "linalg", SimpleNamespace(sqrtm=root))
    moments = [(f.mean(axis=0), np.cov(f, rowvar=False)) for f in (SETS[name], REFERENCE)]
    theirs = score.calculate_frechet_distance(*moments[0], *moments[1])
    # Its root of a singular product is a little off, as its own message says.
    assert FrechetReference(REFERENCE).distance(SETS[name]) == pytest.approx(theirs, abs=1e-3)


def test_kernel_distance_is_torch_fidelitys_on_whole_sets():
    theirs = kid_features_to_metric(
        torch.from_numpy(SETS["many"]),
        torch.from_numpy(REFERENCE),
        kid_subsets=1,
        kid_subset_size=len(REFERENCE),
        verbose=False,
    )[KEY_METRIC_KID_MEAN]
    assert KernelReference(REFERENCE).distance(SETS["many"]) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("name", SETS)
def test_precision_and_recall_are_torch_fidelitys(name: str):
    features = SETS[name]
    theirs = prc_features_to_metric(
        torch.from_numpy(features),
        torch.from_numpy(REFERENCE),
        prc_neighborhood=3,
        prc_batch_size=50,
        save_cpu_ram=False,
        verbose=False,
    )
    reference = ManifoldReference(REFERENCE)
    assert reference.holds(features).mean() == pytest.approx(theirs["precision"])
    assert reference.held_by(features).mean() == pytest.approx(theirs["recall"])


def test_agreement_is_torchmetrics():
    regression = pytest.importorskip("torchmetrics.regression", reason="pip install 'sfe[test]'")
    # Theirs divides by N - 1 where Lin's paper divides by N: over many pictures both are one.
    read, asked = np.tile(RANDOM.uniform(-1, 1, (2, 40)), 500)
    pair = torch.from_numpy(read), torch.from_numpy(asked)
    theirs = float(regression.ConcordanceCorrCoef()(*pair))
    assert float(agreement.concordance(read, asked)) == pytest.approx(theirs, abs=1e-4)
    theirs = float(regression.PearsonCorrCoef()(*pair))
    assert float(agreement.pearson(read, asked)) == pytest.approx(theirs, abs=1e-5)
    theirs = float(regression.MeanSquaredError(squared=False)(*pair))
    assert float(agreement.root_mean_square(read, asked)) == pytest.approx(theirs, abs=1e-6)


def test_pearson_and_wilcoxon_are_scipys():
    first, second = RANDOM.normal(size=(2, 30))
    assert float(agreement.pearson(first, second)) == pytest.approx(
        stats.pearsonr(first, second).statistic
    )
    assert wilcoxon_signed_rank(first, second) == pytest.approx(
        stats.wilcoxon(second - first).pvalue
    )
