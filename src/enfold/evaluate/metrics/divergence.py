"""MAUVE's arithmetic: two clouds of vectors → histograms over clusters → the area under their divergence curve."""

from typing import Any

import numpy as np

from enfold.base.errors import ArgumentError
from enfold.base.lazy import require
from enfold.evaluate.metrics.checks import EXTRA, sklearn_metrics


def mauve_of_vectors(
    ours: np.ndarray,
    truth: np.ndarray,
    *,
    num_buckets: int | str,
    pca_max_data: int,
    explained: float,
    redo: int,
    steps: int,
    points: int,
    scale: float,
    seed: int,
) -> dict[str, Any]:
    """The score of vectors [N, D] against vectors [M, D]; arguments as of `neural.mauve`."""
    if ours.ndim != 2 or truth.ndim != 2 or ours.shape[1] != truth.shape[1]:
        raise ArgumentError(f"features have the shapes {ours.shape} and {truth.shape}; expected [N, D] and [M, D]")
    if not 0 < explained < 1:
        raise ArgumentError(f"kmeans_explained_var is {explained}; expected a number between 0 and 1")
    count = max(2, round(min(len(ours), len(truth)) / 10)) if num_buckets == "auto" else num_buckets
    if not isinstance(count, int) or not 2 <= count <= len(ours) + len(truth):
        raise ArgumentError(f"num_buckets is {num_buckets!r}; expected 'auto', or from 2 to the number of texts")
    p, q = histograms(ours, truth, count, pca_max_data, explained, redo, steps, seed)
    curve = divergence_curve(p, q, np.linspace(1e-6, 1 - 1e-6, points), scale)
    return {
        "mauve": area(curve),
        "frontier_integral": frontier_integral(p, q),
        "divergence_curve": curve,
        "p_hist": p,
        "q_hist": q,
        "num_buckets": count,
    }


def histograms(
    ours: np.ndarray,
    truth: np.ndarray,
    count: int,
    pca_max_data: int,
    explained: float,
    redo: int,
    steps: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """How much of each side falls into each cluster of both."""
    decomposition = require("sklearn.decomposition", extra=EXTRA, purpose="mauve")
    faiss: Any = require("faiss", extra="faiss", purpose="mauve")
    both = np.vstack([truth, ours])
    both = both / np.maximum(np.linalg.norm(both, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    pca = decomposition.PCA(random_state=seed + 1)
    fitted = both
    if 0 <= pca_max_data < len(both):
        fitted = both[np.random.RandomState(seed + 5).choice(len(both), size=pca_max_data, replace=False)]
    pca.fit(fitted)
    kept = int(np.argmax(np.cumsum(pca.explained_variance_ratio_) >= explained)) + 1
    reduced = np.ascontiguousarray(pca.transform(both)[:, :kept], dtype=np.float32)
    clusters = faiss.Kmeans(kept, count, niter=steps, nredo=redo, update_index=True, seed=seed + 2)
    clusters.cp.min_points_per_centroid = 1  # it would warn of few texts on standard error
    clusters.train(reduced)
    labels = clusters.index.search(reduced, 1)[1].reshape(-1)
    sides = labels[len(truth) :], labels[: len(truth)]
    p, q = (np.bincount(side, minlength=count) / len(side) for side in sides)
    return p, q


def divergence_curve(p: np.ndarray, q: np.ndarray, weights: np.ndarray, scale: float) -> np.ndarray:
    """exp(-scale · (KL(q‖r), KL(p‖r))) for mixtures r of p and q, and both ends, [K + 2, 2] (equation 1)."""
    points = [[0.0, np.inf]]
    for weight in np.sort(weights):
        mixture = weight * p + (1 - weight) * q
        points.append([_divergence(q, mixture), _divergence(p, mixture)])
    points.append([np.inf, 0.0])
    return np.exp(-scale * np.asarray(points))


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    there = p > 0
    return float(np.sum(p[there] * np.log(p[there] / q[there]))) if (q[there] > 0).all() else float("inf")


def area(curve: np.ndarray) -> float:
    """The area under the curve, the mean over both axes."""
    auc = sklearn_metrics("mauve").auc
    x, y = curve.T
    by_x, by_y = np.argsort(x), np.argsort(y)
    return float(0.5 * (auc(x[by_x], y[by_x]) + auc(y[by_y], x[by_y])))


def frontier_integral(p: np.ndarray, q: np.ndarray) -> float:
    """The mean divergence to all mixtures, in closed form (Liu et al. 2021)."""
    total = 0.0
    for a, b in zip(p.tolist(), q.tolist(), strict=True):
        if a == 0 or b == 0:
            total += (a + b) / 4
        elif abs(a - b) > 1e-8:
            total += (a + b) / 4 - a * b * (np.log(a) - np.log(b)) / (a - b) / 2
    return float(2 * total)
