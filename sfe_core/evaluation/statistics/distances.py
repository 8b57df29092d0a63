"""How far one set of pictures lies from another, in the features of a network.

On the features of Inception they are FID and KID; on any other network's they are not, go by that
network's name, and must not be compared with published ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sfe_core.arrays import Doubles, Indices


class FrechetReference:
    """The Gaussian of a reference set, kept so that many sets can be held against it cheaply.

    The distance is the squared Fréchet (2-Wasserstein) distance of two Gaussians,
    |m_a - m_b|^2 + Tr(C_a + C_b - 2 (C_b^1/2 C_a C_b^1/2)^1/2)   (Dowson & Landau 1982; as a score
    of pictures, Heusel et al. 2017, eq. 6). The square root is taken of symmetric matrices through
    their eigenvalues, so that it stays real however few the samples are.
    """

    def __init__(self, features: Doubles) -> None:
        """`features`: [M, D], M >= 2."""
        features = _checked(features, "reference")
        self.mean = features.mean(axis=0)
        covariance = np.atleast_2d(np.cov(features, rowvar=False))
        self.root = _symmetric_root(covariance)
        self.trace = float(np.trace(covariance))

    @classmethod
    def from_statistics(cls, mean: Doubles, root: Doubles, trace: float) -> FrechetReference:
        """From what an earlier one held: mean [D], and root [D, D] and trace of its covariance."""
        found = cls.__new__(cls)
        found.mean, found.root, found.trace = mean, root, trace
        return found

    def distance(self, features: Doubles) -> float:
        """Fréchet distance of `features` [N, D] (N >= 2) to the reference."""
        features = _checked(features, "evaluated")
        return float(self.resampled(features, [np.arange(len(features))])[0])

    def resampled(self, features: Doubles, resamples: Sequence[Indices]) -> Doubles:
        """[R] distances of the sets `features[resamples[r]]`; nan for fewer than two pictures.

        The eigenvalues are those of the smaller of the two Gram matrices of X C^1/2, which share
        all that are not zero: N x N for few pictures, D x D for many. Of few pictures the products
        are computed once, and a resample only weighs and centres them anew.
        """
        features = _checked(features, "evaluated")
        projected = features @ self.root
        few = len(features) <= projected.shape[1]
        gram = projected @ projected.T if few else None
        distances = np.full(len(resamples), np.nan)
        for place, row in enumerate(resamples):
            if len(row) < 2:
                continue
            weights = np.bincount(row, minlength=len(features)).astype(np.float64)
            drawn = np.flatnonzero(weights)
            share = weights[drawn] / (len(row) - 1.0)
            mean = weights[drawn] @ features[drawn] / len(row)
            spread = float(share @ ((features[drawn] - mean) ** 2).sum(axis=1))
            if gram is None:
                centred = projected[drawn] - weights[drawn] @ projected[drawn] / len(row)
                centred *= np.sqrt(share)[:, None]
                cross = np.linalg.eigvalsh(centred.T @ centred)
            else:
                cross = np.linalg.eigvalsh(_centred(gram, weights, drawn, len(row)))
            overlap = float(np.sqrt(np.clip(cross, 0.0, None)).sum())
            shift = float(((mean - self.mean) ** 2).sum())
            distances[place] = max(0.0, shift + spread + self.trace - 2.0 * overlap)
        return distances


class KernelReference:
    """A reference set for the squared maximum mean discrepancy with KID's polynomial kernel.

    k(x, y) = (x.y / D + 1)^3, unbiased U-statistic (Gretton et al. 2012, eq. 3; Bińkowski et al.
    2018). Unlike the Fréchet distance its expectation does not depend on the number of pictures,
    and it can be slightly negative.
    """

    def __init__(self, features: Doubles, within: float | None = None) -> None:
        """`features`: [M, D], M >= 2; `within`: their mean kernel if known from before."""
        self.features = _checked(features, "reference")
        self.within = _mean_off_diagonal(self.features) if within is None else within

    def distance(self, features: Doubles) -> float:
        """Kernel distance of `features` [N, D] (N >= 2) to the reference."""
        return float(self.resampled(features, [np.arange(len(features))])[0])

    def resampled(self, features: Doubles, resamples: Sequence[Indices]) -> Doubles:
        """[R] distances of resamples; a picture drawn twice is never paired with itself.

        That is the U-statistic weighted by how often each picture was drawn, which keeps the
        bootstrap free of the bias that repeated pictures would bring. A resample of one single
        picture gives nan.
        """
        features = _checked(features, "evaluated")
        count = len(features)
        weights = np.stack([np.bincount(row, minlength=count) for row in resamples]).astype(float)
        kernel = _kernel(features, features)
        np.fill_diagonal(kernel, 0.0)
        pairs = weights.sum(axis=1) ** 2 - (weights**2).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            among = np.einsum("ri,ij,rj->r", weights, kernel, weights, optimize=True) / pairs
        to_reference = np.concatenate(
            [
                _kernel(features[i : i + 512], self.features).mean(axis=1)
                for i in range(0, count, 512)
            ]
        )
        between = weights @ to_reference / weights.sum(axis=1)
        return among + self.within - 2.0 * between


def _kernel(a: Doubles, b: Doubles) -> Doubles:
    return (a @ b.T / a.shape[1] + 1.0) ** 3


def _mean_off_diagonal(features: Doubles, block: int = 1024) -> float:
    """Mean kernel over ordered pairs of different rows, in blocks so that memory stays flat."""
    total = 0.0
    for start in range(0, len(features), block):
        total += float(_kernel(features[start : start + block], features).sum())
    diagonal = ((features**2).sum(axis=1) / features.shape[1] + 1.0) ** 3
    return (total - float(diagonal.sum())) / (len(features) * (len(features) - 1))


def _symmetric_root(matrix: Doubles) -> Doubles:
    """Square root of a symmetric positive semi-definite matrix; rounding below zero is cut."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T


def _centred(gram: Doubles, weights: Doubles, drawn: Indices, count: int) -> Doubles:
    """The Gram matrix of a resample's centred rows over count - 1, one row per picture drawn."""
    share = weights[drawn]
    part = gram[np.ix_(drawn, drawn)]
    to_mean = part @ share / count
    part = part - to_mean[:, None] - to_mean + float(share @ to_mean) / count
    scale = np.sqrt(share / (count - 1.0))
    return part * scale[:, None] * scale


def _checked(features: Doubles, which: str) -> Doubles:
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"{which} features must be [N, D] with N >= 2, found {features.shape}")
    if not np.isfinite(features).all():
        raise ValueError(f"{which} features hold NaN or infinite values")
    return features
