"""Scales by other methods and for other parts of a tensor, each against a slow way to say it."""

import numpy as np
import pytest

from dybit.quant.formats import ESB, DyBit, Integer, NormalFloat, Posit
from dybit.quant.scale import esb_alpha, optimal_scale, squared_error
from dybit.quant.scale_groups import Grouping
from dybit.quant.scale_methods import ScaleMethod, fit_scale

FORMATS = [DyBit(4), DyBit(8, False), ESB(4, 2), Integer(3), NormalFloat(4), Posit(5, 1)]
METHODS = ["mse", "max", "percentile"]


@pytest.fixture
def x():
    seed = 31
    print(f"seed {seed}")
    return np.random.default_rng(seed).standard_t(4, size=(5, 4, 23)).astype(np.float32)


@pytest.mark.parametrize("method", [*METHODS, "dda"])
@pytest.mark.parametrize("power_of_two", [False, True])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("group", [None, 2, 3, 4])
def test_a_group_is_scaled_as_if_alone(x, method, power_of_two, axis, group):
    fmt = ESB(4, 1)
    options = {"method": method, "power_of_two": power_of_two, "percentile": 80}
    scales = fit_scale(x, fmt, axis=axis, group=group, **options)
    grouping = Grouping(x.shape, axis, group)
    spread = np.broadcast_to(grouping.spread(scales), x.shape)
    if group is None:
        assert scales.shape == (x.shape[axis],)
        for place in range(x.shape[axis]):
            channel = x.take(place, axis)
            assert (spread.take(place, axis) == fit_scale(channel, fmt, **options)).all()
        return
    lines = np.moveaxis(x, axis, -1)
    spread = np.moveaxis(spread, axis, -1)
    count = -(-lines.shape[-1] // group)
    assert np.moveaxis(scales, axis, -1).shape == (*lines.shape[:-1], count)
    for place in np.ndindex(lines.shape[:-1]):
        for start in range(0, lines.shape[-1], group):
            part = (*place, slice(start, start + group))
            assert (spread[part] == fit_scale(lines[part], fmt, **options)).all()


def test_whole_tensors_by_default(x):
    assert fit_scale(x, DyBit(4)).shape == ()
    assert fit_scale(x, DyBit(4)) == optimal_scale(x, DyBit(4))
    np.testing.assert_array_equal(fit_scale(x, DyBit(4), axis=1), optimal_scale(x, DyBit(4), 1))


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_max_saturates_nothing_and_only_just(x, fmt):
    scale = float(fit_scale(x, fmt, "max"))
    kept = x if fmt.signed else np.maximum(x, 0)
    ends = kept.max() / scale, kept.min() / scale
    assert ends[0] <= fmt.max * (1 + 1e-6)
    assert ends[1] >= fmt.values[0] * (1 + 1e-6)
    assert max(ends[0] / fmt.max, ends[1] / fmt.values[0] if fmt.signed else 0) >= 1 - 1e-6


def test_max_by_hand():
    assert fit_scale([0.5, -3.0, 1.0], DyBit(4), "max") == 3 / 4
    assert fit_scale([0.5, -3.0, 1.0], DyBit(4, False), ScaleMethod.MAX) == 1 / 8
    assert fit_scale([0.5, -3.0, 1.0], Integer(4), "max", power_of_two=True) == 0.5
    assert fit_scale([0.0, 0.0], DyBit(4), "max") == 1
    assert fit_scale([-1.0, -2.0], DyBit(4, False), "max") == 1


@pytest.mark.parametrize("fmt", [DyBit(4), DyBit(4, False), Integer(8)], ids=str)
@pytest.mark.parametrize("percentile", [50, 90, 99.5])
def test_percentile_is_of_magnitudes(x, fmt, percentile):
    scale = float(fit_scale(x, fmt, "percentile", percentile=percentile))
    magnitudes = np.abs(x) if fmt.signed else np.maximum(x, 0)
    share = (magnitudes <= fmt.max * scale * (1 + 1e-6)).mean()
    assert share == pytest.approx(percentile / 100, abs=1 / x.size)


def test_percentile_of_sparse_tensors_is_their_largest():
    sparse = np.zeros(1000)
    sparse[7] = -4.0
    assert fit_scale(sparse, DyBit(4), "percentile", percentile=90) == 1.0


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_powers_of_two_of_least_error(x, fmt):
    scale = float(fit_scale(x, fmt, power_of_two=True))
    errors = {k: squared_error(x, fmt, 2.0**k) for k in range(-20, 20)}
    assert scale == 2.0 ** min(errors, key=errors.get)
    for method in ("max", "percentile"):
        real = float(fit_scale(x, fmt, method))
        neighbours = [2.0 ** np.floor(np.log2(real)), 2.0 ** np.ceil(np.log2(real))]
        best = min(neighbours, key=lambda s: squared_error(x, fmt, s))
        assert float(fit_scale(x, fmt, method, power_of_two=True)) == best


@pytest.mark.parametrize("factor", [1e-300, 1e300])
def test_powers_of_two_of_any_order(x, factor):
    scale = float(fit_scale(x.astype(np.float64) * factor, DyBit(4), power_of_two=True))
    assert np.frexp(scale)[0] == 0.5
    errors = [squared_error(x, DyBit(4), scale * k / factor) for k in (0.5, 1, 2)]
    assert min(errors) == errors[1]
    assert fit_scale(np.zeros(3), DyBit(4), power_of_two=True) == 1


@pytest.mark.parametrize(("bits", "k"), [(4, 0), (4, 1), (3, 1), (8, 4)])
def test_aligner_is_alpha_deviations(x, bits, k):
    scale = float(fit_scale(x, ESB(bits, k), "dda"))
    assert scale == pytest.approx(esb_alpha(bits, k) * np.std(x.astype(np.float64)))
    constant = np.full(7, 0.3)
    assert fit_scale(constant, ESB(bits, k), "dda") == optimal_scale(constant, ESB(bits, k))
    assert fit_scale(np.zeros(7), ESB(bits, k), "dda") == 1


def test_weights_count(x):
    weights = np.arange(23)
    fmt = DyBit(4)
    assert fit_scale(x, fmt, weights=weights) == optimal_scale(x, fmt, weights=weights)
    scales = fit_scale(x, fmt, axis=2, group=5, weights=weights)
    assert scales[1, 2, 4] == optimal_scale(x[1, 2, 20:], fmt, weights=weights[20:])
    heavy = np.array([1.0, 1.0, 100.0, 1e-12])
    tensor = np.array([1.0, -2.0, 3.0, 50.0])
    assert abs(fit_scale(tensor, ESB(4, 1), "dda", weights=heavy)) < 1
    scale = float(fit_scale(tensor, fmt, power_of_two=True, weights=heavy))
    errors = {k: squared_error(tensor, fmt, 2.0**k, weights=heavy) for k in range(-9, 9)}
    assert scale == 2.0 ** min(errors, key=errors.get)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"method": "mean"},
            ValueError,
            "method must be one of mse, max, percentile, dda, not 'mean'",
        ),
        ({"method": "dda"}, ValueError, "method dda must be for an ESB format, not dybit4"),
        ({"percentile": 0}, ValueError, "percentile must be above 0, to 100, not 0"),
        ({"percentile": np.nan}, ValueError, "percentile must be above 0, to 100, not nan"),
        ({"power_of_two": 1}, TypeError, "power_of_two must be True or False, not 1"),
        ({"group": 4}, ValueError, "group must be given with an axis, not alone as 4"),
        (
            {"group": 24, "axis": 2},
            ValueError,
            "group must be 1 to 23 for shape (5, 4, 23), axis 2, not 24",
        ),
        ({"axis": 3}, ValueError, "axis must be -3 to 2 for shape (5, 4, 23), not 3"),
    ],
)
def test_refusals(x, options, error, message):
    with pytest.raises(error) as caught:
        fit_scale(x, DyBit(4), **options)
    assert str(caught.value) == message
