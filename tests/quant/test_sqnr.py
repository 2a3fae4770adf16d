"""Signal-to-noise ratios of populations, against published ones; facts typed by hand."""

import numpy as np
import pytest
from scipy import integrate, stats

from dybit.quant.distributions import Laplace, Normal, StudentT4
from dybit.quant.formats import (
    ESB,
    DyBit,
    Flint,
    Integer,
    Minifloat,
    NormalFloat,
    Posit,
)
from dybit.quant.scale import optimal_scale
from dybit.quant.sqnr import decibels, population_sqnr, sqnr

POPULATIONS = {"gaussian": Normal(), "laplace": Laplace(), "student4": StudentT4()}
DENSITIES = {"gaussian": stats.norm.pdf, "laplace": stats.laplace.pdf, "student4": stats.t(4).pdf}
BITS = (2, 3, 4, 5, 6, 8)
FAMILIES = {
    "integer": lambda bits: [Integer(bits)],
    # The published figures leave out a single exponent bit, a uniform grid, where there is another.
    "minifloat": lambda bits: [
        Minifloat(e, bits - 1 - e) for e in range(min(2, bits - 1), min(6, bits))
    ],
    "posit": lambda bits: [Posit(bits, 1)],
    "posit0": lambda bits: [Posit(bits, 0)],
    "flint": lambda bits: [Flint(bits)],
    "esb": lambda bits: [ESB(bits, k) for k in range(max(0, bits - 5), bits - 1)],
    "dybit": lambda bits: [DyBit(bits)],
    "unsigned integer": lambda bits: [Integer(bits, signed=False)],
    "unsigned dybit": lambda bits: [DyBit(bits, signed=False)],
    "unsigned flint": lambda bits: [Flint(bits, signed=False)],
}
PLAIN = [7.21, 13.23, 18.25, 23.73, 29.52, 41.48]
PLAIN_LAPLACE = [5.78, 11.51, 16.57, 22.01, 27.79, 39.70]
PLAIN_STUDENT = [5.04, 9.74, 14.72, 19.89, 25.25, 36.34]
PLAIN_UNSIGNED = [13.23, 18.25, 23.73, 29.52, 35.48, 47.50]


@pytest.mark.parametrize("name", POPULATIONS)
@pytest.mark.parametrize("limit", [0.01, 0.3, 1.0, 4.0])
def test_moments_are_the_integrals_of_the_density(name, limit):
    density, distribution = DENSITIES[name], POPULATIONS[name]
    numbers, sums = distribution.above(np.zeros(1, int), np.array([[limit]]))
    number = 2 * integrate.quad(density, limit, np.inf)[0]
    total = 2 * integrate.quad(lambda x: x * density(x), limit, np.inf)[0]
    assert distribution.density(np.array([limit]))[0] == pytest.approx(2 * density(limit))
    assert numbers[0, 0] == pytest.approx(number, rel=1e-9)
    assert sums[0, 0] == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("name", POPULATIONS)
def test_totals_are_the_integrals_of_the_density(name):
    density, distribution = DENSITIES[name], POPULATIONS[name]
    for power, expected in ((0, "count"), (1, "total"), (2, "power")):
        moment = 2 * integrate.quad(lambda x, p=power: x**p * density(x), 0, np.inf)[0]
        assert getattr(distribution, expected)[0] == pytest.approx(moment, rel=1e-7)
    # What lies beyond the largest magnitude is nothing to speak of.
    _, sums = distribution.above(np.zeros(1, int), distribution.largest[:, None])
    assert 0 < sums[0, 0] < 1e-9


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
        ("posit", "gaussian", [7.21, 9.72, 14.20, 19.66, 25.50, 37.48]),
        ("posit", "laplace", [5.78, 8.88, 14.07, 19.48, 25.27, 37.22]),
        ("posit", "student4", [5.04, 8.55, 13.55, 18.84, 24.55, 36.43]),
        ("esb", "gaussian", [9.25, 14.27, 19.38, 24.87, 30.81, 42.67]),
        ("esb", "laplace", [7.07, 11.51, 17.33, 22.99, 28.55, 39.45]),
        ("esb", "student4", [6.37, 9.74, 14.29, 19.29, 24.82, 34.91]),
        *((family, "gaussian", PLAIN) for family in ("dybit", "flint", "posit0")),
        *((family, "laplace", PLAIN_LAPLACE) for family in ("dybit", "flint", "posit0")),
        *((family, "student4", PLAIN_STUDENT) for family in ("dybit", "flint", "posit0")),
        *((family, "gaussian", PLAIN_UNSIGNED) for family in ("unsigned dybit", "unsigned flint")),
    ],
)
def test_signal_to_noise_ratios(family, population, published):
    """An unsigned format on |x| of N(0, 1) is the half-normal row; figures have two decimals."""
    ratios = [
        max(population_sqnr(POPULATIONS[population], fmt) for fmt in FAMILIES[family](bits))
        for bits in BITS
    ]
    np.testing.assert_allclose(ratios, published, rtol=0, atol=0.0151)


@pytest.mark.parametrize(
    ("population", "published"), [("gaussian", 20.04), ("laplace", 17.76), ("student4", 14.31)]
)
def test_codebook_whose_signs_differ(population, published):
    ratio = population_sqnr(POPULATIONS[population], NormalFloat(4))
    assert ratio == pytest.approx(published, abs=0.0151)


@pytest.mark.parametrize(
    ("population", "bits", "limit", "published"),
    [
        ("gaussian", 4, 2, 18.96),
        ("gaussian", 6, 2, 30.82),
        ("gaussian", 8, 2, 42.70),
        ("laplace", 4, 2, 17.33),
        ("laplace", 6, 2, 28.67),
    ],
)
def test_best_limit_of_a_population(population, bits, limit, published):
    """Published from samples, whose largest element lies nearer the more bits there are."""
    ratios = {
        r: population_sqnr(POPULATIONS[population], DyBit(bits, True, r)) for r in range(1, bits)
    }
    assert max(ratios, key=ratios.get) == limit
    assert ratios[limit] == pytest.approx(published, abs=0.15)


@pytest.mark.parametrize("fmt", [DyBit(4), DyBit(4, False), Integer(8), NormalFloat(4)], ids=str)
def test_samples_come_close_to_their_population(fmt):
    places = (np.arange(200_000) + 0.5) / 200_000
    x = stats.norm.ppf(places)
    x = x if fmt.signed else np.abs(x)
    # The samples end at 4.6 standard deviations, which a uniform grid of 8 bits makes use of.
    assert sqnr(x, fmt) == pytest.approx(population_sqnr(Normal(), fmt), abs=0.08)
    assert sqnr(x, fmt, optimal_scale(x, fmt)) == sqnr(x, fmt)
    assert sqnr(x, fmt, 2 * optimal_scale(x, fmt)) < sqnr(x, fmt)


def test_decibels():
    assert decibels(100.0, 1.0) == pytest.approx(20)
    assert decibels(1.0, 0.0) == np.inf
    assert sqnr([1.0, -1.0], DyBit(4)) == np.inf
