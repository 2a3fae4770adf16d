"""Errors of layers whose weights and data nobody has: of distributions that stand for them.

Weights of a layer are drawn from a generalised normal distribution, of density proportional to
``exp(-abs(x)**p)``, whose exponent p is drawn for each layer from `EXPONENTS`: Laplace at 1,
Gaussian at 2. Activations are half-normal where they cannot be negative, else Gaussian; zeros that
a ReLU leaves cost nothing and add no squares. All scales are 1: relative errors do not depend on
them. Instead of random numbers, which layers of few weights would overfit, each distribution is
its own quantiles. What is found for these networks is found for these distributions, not for
trained weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import gennorm

from dybit.quant.array_config import ArrayConfig
from dybit.quant.format_choice import rate_formats
from dybit.quant.format_rules import ArrayFormats
from dybit.quant.formats import NumberFormat
from dybit.quant.search.cache import Cache
from dybit.quant.search.sensitivity import OperandErrors
from dybit.quant.workloads.workload import Workload

__all__ = ["EXPONENTS", "synthetic_errors"]

EXPONENTS = (1.0, 1.25, 1.5, 1.75, 2.0)
GAUSSIAN = 2.0

QUANTILES = 4096

_Errors = dict[tuple[str, int], OperandErrors]


def synthetic_errors(
    workload: Workload,
    array: ArrayConfig,
    seed: int = 0,
    cache: Cache | None = None,
    progress: Callable[[], None] | None = None,
) -> tuple[_Errors, _Errors]:
    """Return the errors of weights and of activations, by layer and width, as `rmse` takes them.

    Sums are those of all elements: powers are the numbers of weights, and of one input's
    activations.

    Parameters
    ----------
    workload : Workload
    array : ArrayConfig
        Formats are those it decodes, the best for each distribution.
    seed : int
        Of the draw of exponents; a layer's depends on it and on the layer's name alone.
    cache : Cache, optional
    progress : callable, optional
        Called after each layer.
    """
    rule = ArrayFormats(array)
    kept = cache or Cache(None)
    signed = {name: group.signed for group in workload.groups for name in group.readers}
    weights: _Errors = {}
    activations: _Errors = {}

    def relative(exponent: float, unsigned: bool, formats: list[NumberFormat]) -> float:
        key = ("quantiles", QUANTILES, exponent, unsigned, [fmt.name for fmt in formats])
        return float(kept.get(key, lambda: _relative(exponent, unsigned, tuple(formats))))

    for layer in workload.array_layers:
        exponent = _exponent(seed, layer.name)
        for bits in sorted({mode.weight_bits for mode in array.modes}):
            ratio = relative(exponent, False, list(rule.weights(bits, None)))
            weights[layer.name, bits] = OperandErrors(ratio * layer.weights, layer.weights)
        elements = layer.input_shape[0] * layer.input_shape[1] * layer.channels
        for bits in array.activation_widths:
            formats = list(rule.activations(bits, signed[layer.name], None))
            ratio = relative(GAUSSIAN, not signed[layer.name], formats)
            activations[layer.name, bits] = OperandErrors(ratio * elements, elements)
        if progress is not None:
            progress()
    return weights, activations


def _exponent(seed: int, name: str) -> float:
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return EXPONENTS[int.from_bytes(digest[:8], "big") % len(EXPONENTS)]


@lru_cache(maxsize=256)
def _relative(exponent: float, unsigned: bool, formats: tuple[NumberFormat, ...]) -> float:
    """Return squared error over squares in the best of some formats."""
    ratings = rate_formats(_quantiles(exponent, unsigned), formats)
    return ratings.best().error / ratings.power


def _quantiles(exponent: float, unsigned: bool) -> NDArray[np.float64]:
    middles = (np.arange(QUANTILES) + 0.5) / QUANTILES
    if unsigned:
        middles = (1 + middles) / 2
    found: NDArray[np.float64] = gennorm.ppf(middles, exponent)
    return found
