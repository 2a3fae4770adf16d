"""The tail that a sample is given: right for known tails, and left off where there is none."""

import numpy as np
import pytest
from scipy import stats

from dybit.quant.formats import DyBit
from dybit.quant.scale import optimal_scale, squared_error
from dybit.quant.tail import with_tail

POPULATIONS = {
    "gaussian": stats.norm,
    "laplace": stats.laplace,
    "student4": stats.t(4),
    "exponential": stats.expon,
    "uniform": stats.uniform(-1, 2),
}


def sample(name, size, seed=41):
    print(f"seed {seed}")
    return POPULATIONS[name].rvs(size=size, random_state=np.random.default_rng(seed))


@pytest.mark.parametrize("name", POPULATIONS)
def test_weights_add_up_to_the_sample(name):
    x = sample(name, (40, 250))
    values, weights = with_tail(x)
    assert values.shape == weights.shape
    assert weights.sum() == pytest.approx(x.size)
    assert (weights > 0).all()
    assert np.average(np.abs(values), weights=weights) == pytest.approx(np.abs(x).mean(), rel=1e-3)
    # All but 200 of the sample are there as they were.
    kept = np.sort(np.abs(x).ravel())[: x.size - 200]
    np.testing.assert_array_equal(np.sort(np.abs(values))[: kept.size], kept)
    assert (weights[: kept.size] == 1).all()
    if name == "exponential":
        assert (values >= 0).all()
    else:
        positive = weights[values > kept[-1]].sum()
        assert 70 < positive < 130
    again = with_tail(x.copy())
    np.testing.assert_array_equal(values, again[0])


@pytest.mark.parametrize(
    ("name", "probability", "low", "high"),
    [
        ("gaussian", 1e-5, 0.85, 1.3),
        ("laplace", 1e-5, 0.85, 1.3),
        ("exponential", 1e-5, 0.85, 1.3),
        ("student4", 1e-5, 0.7, 1.5),
        ("uniform", 1e-5, 0.99, 1.02),
    ],
)
def test_quantiles_beyond_the_sample(name, probability, low, high):
    """The median over samples of the magnitude exceeded with a probability no sample shows."""
    found = []
    for seed in range(15):
        values, weights = with_tail(sample(name, 10_000, seed))
        order = np.argsort(-np.abs(values))
        exceeded = np.cumsum(weights[order]) / weights.sum()
        found.append(np.abs(values[order])[np.searchsorted(exceeded, probability)])
    one_sided = probability if name == "exponential" else probability / 2
    expected = POPULATIONS[name].isf(one_sided)
    assert low * expected < np.median(found) < high * expected


@pytest.mark.parametrize(("name", "bits"), [("laplace", 8), ("student4", 6), ("student4", 8)])
def test_scales_leave_room_for_the_rest_of_the_tensor(name, bits):
    """Over ten tensors of a hundred samples' size, a grid of few binades loses less."""
    fmt = DyBit(bits, True, 2)
    lost = []
    for seed in range(10):
        tensor = sample(name, 200_000, seed)
        x = tensor[:2000]
        values, weights = with_tail(x)
        scales = optimal_scale(values, fmt, weights=weights), optimal_scale(x, fmt)
        lost.append([squared_error(tensor, fmt, scale) for scale in scales])
    assert np.mean(np.log([extended / plain for extended, plain in lost])) < -0.1


@pytest.mark.parametrize(
    "x",
    [
        np.ones(10_000),
        np.zeros(10_000),
        np.repeat([0.0, 0.5, 1.0], 3000),
        np.repeat(np.arange(17) / 16, np.arange(17, 0, -1) * 10),
        np.array([1.0, -2.0]),
        np.linspace(-1, 1, 150),
    ],
    ids=["ones", "zeros", "few", "grey levels", "two", "short"],
)
def test_samples_without_a_tail_are_left_alone(x):
    values, weights = with_tail(x)
    np.testing.assert_array_equal(values, x)
    assert (weights == 1).all()


def test_half_precision_is_widened():
    values, _ = with_tail(sample("gaussian", 5000).astype(np.float16))
    assert values.dtype == np.float64
