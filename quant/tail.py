"""Magnitudes that a sample does not hold but the next one will.

At 8 bits the best scale for a sample lets its largest element just fit. The tensor it was drawn
from goes further, saturates there, and may lose more decibels than exponent limits differ by. So
the largest elements of a sample give way to the distribution that excesses over a high threshold
tend to, whatever the tensor: the generalised Pareto distribution (Pickands 1975), its two
parameters by probability-weighted moments (Hosking and Wallis 1987).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["with_tail"]

LEAST = 16
"""Excesses without which a sample is left as it is."""

SHAPES = (-0.5, 0.3)
"""Bounds of the shape: excesses that end soon, and ones whose variance is still small enough."""

REACH = 64
"""How many times the sample's size the tail is made to hold."""

BEYOND = 32
"""Points that stand for what lies beyond the sample."""

_Array = NDArray[np.float64]


def with_tail(x: NDArray[np.floating]) -> tuple[_Array, _Array]:
    """Return numbers and weights that stand for the tensor a sample was drawn from.

    Parameters
    ----------
    x : ndarray of float
        The sample, of any shape.

    Returns
    -------
    values, weights : 1-D ndarrays of float64
        The sample's own with weight 1, its few largest magnitudes replaced by quantiles of the
        tail, of the same weight in all; the sample itself where it is short of different excesses,
        as images of few grey levels are.
    """
    values = x.astype(np.float64).ravel()
    count = min(int(2 * np.sqrt(values.size)), values.size // 10)
    if count < LEAST:
        return values, np.ones(values.size)
    order = np.argpartition(np.abs(values), values.size - count - 1)
    inner, outer = values[order[:-count]], values[order[-count:]]
    threshold = float(np.abs(inner).max())
    excesses = np.sort(np.abs(outer) - threshold)
    if np.unique(excesses).size < count / 2:
        return values, np.ones(values.size)
    probabilities, weights = _cells(count)
    quantiles = threshold + _excesses(excesses, probabilities)
    negative = float(np.mean(outer < 0))
    parts = [(inner, np.ones(inner.size))]
    parts += [
        (sign * quantiles, share * weights)
        for sign, share in ((1, 1 - negative), (-1, negative))
        if share
    ]
    numbers, counted = zip(*parts, strict=True)
    return np.concatenate(numbers), np.concatenate(counted)


def _cells(count: int) -> tuple[_Array, _Array]:
    """Return probabilities of exceeding that stand for `count` excesses, and what each weighs."""
    within = np.linspace(1, 1 / count, count)
    beyond = np.geomspace(1 / count, 1 / (count * REACH), BEYOND)
    edges = np.concatenate([within, beyond[1:], [0.0]])
    return (edges[:-1] + edges[1:]) / 2, -np.diff(edges) * count


def _excesses(excesses: _Array, probabilities: _Array) -> _Array:
    """Return what is exceeded with each probability, by a tail fitted to increasing excesses."""
    count = excesses.size
    below = (np.arange(1, count + 1) - 0.35) / count
    mean, weighted = excesses.mean(), (excesses * (1 - below)).mean()
    # With half a standard error added: too short a tail costs more than one too long.
    shape = 2 - mean / (mean - 2 * weighted) + 0.5 / np.sqrt(count)
    shape = float(np.clip(shape, *SHAPES))
    scale = mean * (1 - shape)
    if abs(shape) < 1e-6:
        exponential: _Array = -scale * np.log(probabilities)
        return exponential
    found: _Array = scale / shape * (probabilities**-shape - 1)
    return found
