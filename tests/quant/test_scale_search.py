"""The search on continuous distributions, against published signal-to-noise ratios."""

import numpy as np
import pytest
from scipy import stats

from dybit.quant.formats import ESB, DyBit, Integer, Minifloat
from dybit.quant.scale import TOLERANCE
from dybit.quant.scale_search import Normal, Search


class Laplace:
    """|x| of density exp(-|x|) / 2."""

    count, total, power, largest = 1.0, 1.0, 2.0, 50.0

    def below(self, t):
        return -np.expm1(-t), -np.expm1(-t) - t * np.exp(-t)


class Student4:
    """|x| of Student's t with four degrees of freedom."""

    count, total, power, largest = 1.0, 1.0, 2.0, 1e5

    def below(self, t):
        return 1 - 2 * stats.t(4).sf(t), 1 - (1 + t**2 / 4) ** -1.5


POPULATIONS = {"gaussian": Normal(), "laplace": Laplace(), "student4": Student4()}
BITS = (2, 3, 4, 5, 6, 8)
FAMILIES = {
    "integer": lambda bits: [Integer(bits)],
    # The published figures leave out a single exponent bit, a uniform grid, where there is another.
    "minifloat": lambda bits: [
        Minifloat(e, bits - 1 - e) for e in range(min(2, bits - 1), min(6, bits))
    ],
    "esb": lambda bits: [ESB(bits, k) for k in range(max(0, bits - 5), bits - 1)],
    "dybit": lambda bits: [DyBit(bits)],
    "unsigned integer": lambda bits: [Integer(bits, signed=False)],
    "unsigned dybit": lambda bits: [DyBit(bits, signed=False)],
}


def population_sqnr(distribution, fmt):
    """Return the signal-to-noise ratio in dB at the optimal scale of a continuous distribution."""
    search = Search(distribution, fmt, TOLERANCE)
    scale = search.run()
    inner, squares = (float(v[0]) for v in search.products(np.array([scale])))
    noise = distribution.power - 2 * scale * inner + scale**2 * squares
    return 10 * np.log10(distribution.power / noise)


@pytest.mark.parametrize(
    ("family", "population", "published"),
    [
        ("integer", "gaussian", [7.21, 13.29, 18.90, 24.33, 29.71, 40.54]),
        ("integer", "laplace", [5.78, 10.80, 15.62, 20.42, 25.26, 35.18]),
        ("integer", "student4", [5.04, 9.00, 12.48, 15.71, 18.83, 24.94]),
        ("unsigned integer", "gaussian", [13.29, 18.90, 24.33, 29.71, 35.11, 46.02]),
        ("minifloat", "gaussian", [7.21, 13.23, 18.97, 24.87, 30.81, 42.67]),
        ("minifloat", "laplace", [5.78, 11.51, 17.33, 22.99, 28.55, 39.45]),
        ("minifloat", "student4", [5.04, 9.74, 14.29, 19.29, 24.82, 34.91]),
        ("esb", "gaussian", [9.25, 14.27, 19.38, 24.87, 30.81, 42.67]),
        ("esb", "laplace", [7.07, 11.51, 17.33, 22.99, 28.55, 39.45]),
        ("esb", "student4", [6.37, 9.74, 14.29, 19.29, 24.82, 34.91]),
        ("dybit", "gaussian", [7.21, 13.23, 18.25, 23.73, 29.52, 41.48]),
        ("dybit", "laplace", [5.78, 11.51, 16.57, 22.01, 27.79, 39.70]),
        ("dybit", "student4", [5.04, 9.74, 14.72, 19.89, 25.25, 36.34]),
        ("unsigned dybit", "gaussian", [13.23, 18.25, 23.73, 29.52, 35.48, 47.50]),
    ],
)
def test_signal_to_noise_ratios(family, population, published):
    """An unsigned format on |x| of N(0, 1) is the half-normal row; figures have two decimals."""
    ratios = [
        max(population_sqnr(POPULATIONS[population], fmt) for fmt in FAMILIES[family](bits))
        for bits in BITS
    ]
    np.testing.assert_allclose(ratios, published, rtol=0, atol=0.0151)
