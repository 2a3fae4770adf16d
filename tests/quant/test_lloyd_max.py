"""The Lloyd-Max limit against published figures, its own conditions and brute force."""

import numpy as np
import pytest
from scipy import stats

from dybit.quant import lloyd_max
from dybit.quant.distributions import Laplace, Normal, StudentT4
from dybit.quant.lloyd_max import population_error, sample_errors
from dybit.quant.sqnr import decibels

BITS = (2, 3, 4, 5, 6, 8)


@pytest.mark.parametrize(
    ("population", "extra", "published"),
    [
        (Normal(), -1, [9.30, 14.62, 20.22, 26.01, 31.91, 43.85]),
        (Laplace(), -1, [7.54, 12.64, 18.13, 23.87, 29.74, 41.67]),
        (StudentT4(), -1, [6.61, 10.88, 15.79, 21.15, 26.82, 38.58]),
        # Half-normal: the magnitudes have all the values to themselves.
        (Normal(), 0, [14.62, 20.22, 26.01, 31.91, 37.87, 49.86]),
    ],
)
def test_populations(population, extra, published):
    ratios = [
        decibels(float(population.power[0]), population_error(population, 2 ** (bits + extra)))
        for bits in BITS
    ]
    np.testing.assert_allclose(ratios, published, rtol=0, atol=0.0051)


def test_one_value_is_the_mean():
    for population in (Normal(), Laplace()):
        variance = population.power[0] - population.total[0] ** 2
        assert population_error(population, 1) == pytest.approx(variance)


def test_what_is_not_found_is_said(monkeypatch):
    monkeypatch.setattr(lloyd_max, "ITERATIONS", 1)
    with pytest.raises(ArithmeticError, match=r"^the best 8 values were not found in 1 steps$"):
        population_error(Normal(), 8)


def brute_force(x, levels):
    """Return the least errors with 1 to `levels` cells, every border tried."""
    x = np.sort(x)
    size = len(x)
    cost = np.full((size + 1, size + 1), np.inf)
    for first in range(size + 1):
        for last in range(first, size + 1):
            part = x[first:last]
            cost[first, last] = np.square(part - part.mean()).sum() if part.size else 0
    least = cost[0]
    errors = [least[-1]]
    for _ in range(1, levels):
        least = (least[:, None] + cost).min(axis=0)
        errors.append(least[-1])
    return errors


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 61, 100])
def test_samples_by_brute_force(size):
    seed = 61
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    for x in (rng.standard_t(3, size), rng.integers(0, 5, size).astype(float)):
        expected = brute_force(x, 9)
        np.testing.assert_allclose(sample_errors(x, 9), expected, rtol=1e-9, atol=1e-12)


def test_samples_without_limit():
    assert sample_errors(np.array([[3.0, 1.0], [2.0, 5.0]]), 6)[3:] == pytest.approx([0, 0, 0])


def test_long_samples_come_close_to_their_population():
    x = stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    errors = sample_errors(x, 64) / x.size
    for bits in (2, 4, 6):
        expected = decibels(1.0, population_error(Normal(), 2 ** (bits - 1)))
        assert decibels(1.0, errors[2**bits - 1]) == pytest.approx(expected, abs=0.06)
