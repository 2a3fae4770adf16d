"""Optimal scales against dense grids, exact populations and the figures of the papers."""

import numpy as np
import pytest
from scipy import optimize, stats

from dybit.quant.distributions import Normal
from dybit.quant.formats import (
    ESB,
    DyBit,
    Flint,
    Integer,
    Minifloat,
    NormalFloat,
    Posit,
    PowerOfTwo,
)
from dybit.quant.scale import (
    TOLERANCE,
    best_exponent_limit,
    esb_alpha,
    needs_sign,
    optimal_scale,
    squared_error,
)
from dybit.quant.scale_search import Search, population_sides

FORMATS = [
    *(DyBit(bits, signed) for bits in range(2, 9) for signed in (True, False)),
    DyBit(4, True, 2),
    DyBit(8, True, 3),
    DyBit(8, False, 1),
    *(ESB(b, k) for b, k in [(2, 0), (3, 0), (3, 1), (4, 0), (4, 1), (4, 2), (6, 2), (8, 3)]),
    *(Integer(bits, signed) for bits in (2, 4, 8) for signed in (True, False)),
    *(Minifloat(e, m) for e, m in [(1, 0), (2, 1), (3, 2), (4, 3), (5, 2)]),
    *(PowerOfTwo(4, signed) for signed in (True, False)),
    PowerOfTwo(5),
    Flint(4),
    Flint(5, signed=False),
    *(Posit(b, es) for b, es in [(2, 0), (4, 2), (8, 1), (8, 2)]),
    NormalFloat(3),
    NormalFloat(4),
]

SAMPLERS = {
    "gaussian": lambda rng: rng.standard_normal(300),
    "laplace": lambda rng: rng.laplace(size=300),
    "student4": lambda rng: rng.standard_t(4, size=300),
    "half_normal": lambda rng: np.abs(rng.standard_normal(300)),
    "outlier": lambda rng: np.append(rng.standard_normal(300), 1000.0),
    "sparse": lambda rng: rng.standard_normal(300) * (rng.random(300) < 0.1),
    "zeros_and_ones": lambda rng: np.array([0.0, 0.0, 0.0, 1.0, -1.0]),
    "two": lambda rng: rng.standard_normal(2),
    "one_sided": lambda rng: -rng.exponential(size=100),
}


def error(x, fmt, scales):
    """Return the squared error at each scale, by encoding and decoding."""
    rounded = fmt.decode(fmt.encode(x / scales[:, None])) * scales[:, None]
    return np.square(x - rounded).sum(axis=1)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_no_scale_of_a_dense_grid_does_better(fmt, name):
    seed = 5
    print(f"seed {seed}")
    x = SAMPLERS[name](np.random.default_rng(seed))
    scale = optimal_scale(x, fmt)
    assert isinstance(scale, float)
    assert scale > 0

    largest = np.abs(x).max()
    smallest = fmt.values[fmt.values > 0].min()
    grid = np.geomspace(largest / fmt.max / 1000, 2 * largest / smallest, 3000)
    coarse = error(x, fmt, grid)
    place = np.clip(coarse.argmin(), 1, len(grid) - 2)
    fine = error(x, fmt, np.linspace(grid[place - 1], grid[place + 1], 1000))
    near = error(x, fmt, scale * np.linspace(0.95, 1.05, 1000))

    found = squared_error(x, fmt, scale)
    assert found == pytest.approx(error(x, fmt, np.array([scale]))[0], rel=1e-9, abs=1e-28)
    positive = x if fmt.signed else np.maximum(x, 0)
    unavoidable = np.square(x - positive).sum()
    least = min(coarse.min(), fine.min(), near.min()) - unavoidable
    assert found - unavoidable <= least * (1 + TOLERANCE) + 1e-11 * np.square(x).sum()


@pytest.mark.parametrize("fmt", [Posit(8, 2), Minifloat(5, 2), ESB(8, 3), DyBit(8)], ids=str)
def test_long_rows_in_wide_formats(fmt):
    """Sums over thousands of elements, in formats whose largest value is 2**40 of the smallest."""
    seed = 20
    print(f"seed {seed}")
    x = np.random.default_rng(seed).standard_normal((2, 5000))
    scales = optimal_scale(x, fmt, axis=0)
    assert scales[0] == optimal_scale(x[0], fmt)
    grid = np.geomspace(1e-12, 1e12, 400)
    for row, scale in zip(x, scales, strict=True):
        assert squared_error(row, fmt, scale) <= error(row, fmt, grid).min() * (1 + TOLERANCE)


@pytest.mark.parametrize(
    ("bits", "k", "alpha"),
    [
        (2, 0, 0.9957),
        (3, 1, 0.5860),
        (4, 2, 0.3352),
        (5, 3, 0.1881),
        (6, 4, 0.1041),
        (7, 5, 0.0569),
        (8, 6, 0.0308),
        (3, 0, 0.5181),
        (4, 1, 0.4871),
        (5, 2, 0.4828),
        (6, 2, 0.0406),
        (6, 3, 0.4997),
        (7, 3, 0.0409),
        (7, 4, 0.5247),
        (8, 4, 0.0412),
        (8, 5, 0.5527),
        # The published 0.0381 and 0.0391 are not optimal on N(0, 1).
        (4, 0, 0.0655),
        (5, 1, 0.0766),
    ],
)
def test_esb_alphas(bits, k, alpha):
    assert round(esb_alpha(bits, k), 4) == alpha


@pytest.mark.parametrize(("bits", "k", "published"), [(4, 0, 0.0381), (5, 1, 0.0391)])
def test_esb_alphas_better_than_published(bits, k, published):
    search = Search(population_sides(Normal(), ESB(bits, k)), TOLERANCE)
    ours, theirs = search.errors(np.zeros(2, int), np.array([esb_alpha(bits, k), published]))
    assert ours < theirs


def expected_error(values, scale):
    """Return the expected squared error of rounding N(0, 1) to `values` times `scale`."""
    v = values * scale
    edges = np.concatenate([[-np.inf], (v[1:] + v[:-1]) / 2, [np.inf]])
    mass, density = np.diff(stats.norm.cdf(edges)), stats.norm.pdf(edges)
    # The mean of (x - v)^2 over each cell, from the moments of the truncated normal.
    first = density[:-1] - density[1:]
    finite = np.where(np.isfinite(edges), edges, 0.0)
    second = mass + finite[:-1] * density[:-1] - finite[1:] * density[1:]
    return float((second - 2 * v * first + v**2 * mass).sum())


LEGAL = [(b, k) for b in range(2, 9) for k in range(max(0, b - 5), b - 1)]


@pytest.mark.parametrize(("bits", "k"), LEGAL)
def test_esb_alphas_minimise_the_expected_error(bits, k):
    """Every legal (b, k), also those nobody published: a dense grid, then the nearest minimum."""
    values = ESB(bits, k).values
    grid = np.geomspace(0.5 / values[-1], 3 / values[values > 0].min(), 1500)
    errors = [expected_error(values, scale) for scale in grid]
    place = int(np.clip(np.argmin(errors), 1, len(grid) - 2))
    found = optimize.minimize_scalar(
        lambda scale: expected_error(values, scale),
        bounds=(grid[place - 1], grid[place + 1]),
        method="bounded",
        options={"xatol": 1e-9},
    )
    alpha = esb_alpha(bits, k)
    assert expected_error(values, alpha) <= found.fun * (1 + 1e-9)
    # 15 binades are more than the normal distribution needs: twice the scale does nearly as well,
    # and the grid may end there.
    binades = np.log2(found.x / alpha)
    assert binades == pytest.approx(round(binades) if k == bits - 5 else 0, abs=1e-4)


def test_esb_alpha_has_six_digits():
    # Two levels a side: the derivative of the expected error at both sides of the result.
    alpha = esb_alpha(2, 0)
    below, above = (2 * stats.norm.sf(alpha * (1 + d)) for d in (-1e-6, 1e-6))
    density = stats.norm.pdf(0), stats.norm.pdf(alpha)
    slopes = []
    for s, tail in ((alpha * (1 - 1e-6), below), (alpha * (1 + 1e-6), above)):
        inner = 2 * (0.5 * density[0] + stats.norm.pdf(s))
        slopes.append(s * (0.25 + 2 * tail) - inner)
    assert slopes[0] < 0 < slopes[1]


def test_esb_alpha_refuses_what_esb_refuses():
    with pytest.raises(ValueError, match=r"^k must be 3 to 6 for 8 bits, not 2$"):
        esb_alpha(8, 2)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_kept_axis(axis):
    seed = 6
    print(f"seed {seed}")
    x = np.random.default_rng(seed).standard_normal((3, 4, 50)).astype(np.float32)
    x *= np.arange(1, 1 + x.shape[axis]).reshape([-1 if a == axis % 3 else 1 for a in range(3)])
    scales = optimal_scale(x, DyBit(4), axis=axis)
    assert scales.shape == (x.shape[axis],)
    assert scales.dtype == np.float64
    expected = [optimal_scale(x.take(i, axis), DyBit(4)) for i in range(x.shape[axis])]
    np.testing.assert_array_equal(scales, expected)


@pytest.mark.parametrize("fmt", [DyBit(4), DyBit(8), DyBit(4, False), ESB(4, 2), NormalFloat(4)])
def test_rows_do_not_see_each_other(fmt):
    """Long and short rows (other ways to sum), rows of zeros, of one magnitude, of any order."""
    seed = 17
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    for length in (7, 150, 2500):
        x = rng.standard_normal((9, length)) * np.logspace(-200, 200, 9)[:, None]
        x[2] = 0
        x[3] = -0.7
        x[4, ::2] = 0
        x[5, 1:] = 0
        scales = optimal_scale(x, fmt, axis=0)
        np.testing.assert_array_equal(scales, [optimal_scale(row, fmt) for row in x])
        assert scales[2] == 1


@pytest.mark.parametrize("length", [6, 400])
@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_weights_count_an_element_as_often(fmt, length):
    seed = 18
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    x, weights = rng.standard_normal(length), rng.integers(0, 4, length)
    weights[:2] = 0, 3
    repeated = np.repeat(x, weights)
    error = squared_error(x, fmt, optimal_scale(x, fmt, weights=0.1 * weights), weights=weights)
    least = squared_error(repeated, fmt, optimal_scale(repeated, fmt))
    assert error == pytest.approx(least, rel=2 * TOLERANCE)
    both = optimal_scale(np.stack([x, x]), fmt, 0, weights=np.stack([weights, np.ones(length)]))
    assert both[0] == optimal_scale(x, fmt, weights=weights)
    assert both[1] == pytest.approx(optimal_scale(x, fmt), rel=1e-6)


def test_weights_broadcast():
    seed = 19
    print(f"seed {seed}")
    x = np.random.default_rng(seed).standard_normal((6, 40))
    weights = np.arange(40)
    expected = optimal_scale(x, DyBit(4), weights=np.tile(weights, (6, 1)))
    assert optimal_scale(x, DyBit(4), weights=weights) == expected
    assert optimal_scale(x, DyBit(4), weights=0) == 1


def test_elements_without_weight_do_not_matter():
    x = np.array([[0.3, 1.1, 2.7, 0.9, 1e6], [0.3, 1.1, 2.7, 0.9, 0.0]])
    weights = [1, 1, 1, 1, 0]
    scales = optimal_scale(x, ESB(4, 2), axis=0, weights=weights)
    assert scales == pytest.approx([optimal_scale(x[0, :4], ESB(4, 2))] * 2)


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_constant_tensors_have_no_error(fmt):
    seed = 7
    print(f"seed {seed}")
    constants = [np.full(7, c) for c in np.random.default_rng(seed).random(30)]
    constants += [np.array([1e-310, 1e-310]), np.array([1e300]), [np.float16(3)]]
    for x in constants:
        assert squared_error(x, fmt, optimal_scale(x, fmt)) == 0
    if fmt.signed:
        x = np.array([-0.3, 0.3, 0.3])
        assert squared_error(x, fmt, optimal_scale(x, fmt)) == 0
    if fmt.has_zero:
        x = np.array([0.0, 0.3, 0.3])
        assert squared_error(x, fmt, optimal_scale(x, fmt)) == 0


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_tensors_on_the_grid_have_no_error_to_speak_of(fmt):
    x = fmt.values * 0.37
    assert squared_error(x, fmt, optimal_scale(x, fmt)) <= 1e-12 * np.square(x).sum()


def test_nothing_to_fit_gives_one():
    assert optimal_scale(np.zeros((2, 3)), DyBit(4)) == 1.0
    assert optimal_scale([-1.0, -2.0, 0.0], DyBit(4, signed=False)) == 1.0
    np.testing.assert_array_equal(
        optimal_scale([[0.0, 0.0], [1.0, 1.0]], DyBit(2), axis=0), [1.0, 1.0]
    )


def test_negative_elements_do_not_matter_unsigned():
    x = np.array([0.3, 1.1, 2.7, 0.9])
    fmt = DyBit(3, signed=False)
    assert optimal_scale(np.append(x, [-9.0, -0.1]), fmt) == pytest.approx(optimal_scale(x, fmt))


@pytest.mark.parametrize("factor", [1e-300, 1e-30, 1e30, 1e300])
def test_any_order_of_magnitude(factor):
    x = np.array([0.3, -1.1, 2.7, 0.9])
    assert optimal_scale(x * factor, DyBit(4)) == pytest.approx(optimal_scale(x, DyBit(4)) * factor)


@pytest.mark.parametrize(
    ("x", "error_type", "message"),
    [
        ([], ValueError, "x must not be empty, but has shape (0,)"),
        (np.zeros((0, 3)), ValueError, "x must not be empty, but has shape (0, 3)"),
        ([[1.0, np.nan]], ValueError, "x must be finite, not nan at index (0, 1)"),
        ([1.0, 2.0, -np.inf], ValueError, "x must be finite, not -inf at index (2,)"),
        (
            [True],
            TypeError,
            "x must be float16, float32, float64 or of an integer type, not bool",
        ),
    ],
)
def test_refusals(x, error_type, message):
    for call in (
        lambda: optimal_scale(x, DyBit(4)),
        lambda: optimal_scale(x, DyBit(4), axis=0),
        lambda: best_exponent_limit(x, 4, True),
    ):
        with pytest.raises(error_type) as caught:
            call()
        assert str(caught.value) == message


def test_other_refusals():
    for axis in (2, -3):
        with pytest.raises(ValueError, match=rf"^axis must be -2 to 1 for .*, not {axis}$"):
            optimal_scale(np.ones((2, 2)), DyBit(4), axis=axis)
    for axis in (0.0, (0, 1), True):
        with pytest.raises(TypeError, match=r"^axis must be an integer, -2 to 1 for "):
            optimal_scale(np.ones((2, 2)), DyBit(4), axis=axis)
    with pytest.raises(ValueError, match=r"^x must have an axis to keep, not shape \(\)$"):
        optimal_scale(1.0, DyBit(4), axis=0)
    with pytest.raises(ValueError, match=r"^weights must broadcast against x of shape \(2,\), not"):
        optimal_scale([1.0, 2.0], DyBit(4), weights=[1, 2, 3])
    with pytest.raises(ValueError, match=r"^weights must not be negative, not -1\.0$"):
        squared_error([1.0, 2.0], DyBit(4), 1.0, weights=-1)
    with pytest.raises(ValueError, match=r"^weights must be finite, not nan at index \(1,\)$"):
        optimal_scale([1.0, 2.0], DyBit(4), weights=[0, np.nan])
    with pytest.raises(ValueError, match=r"^limits must not be empty$"):
        best_exponent_limit([1.0], 4, True, limits=[])
    with pytest.raises(ValueError, match=r"^max_exponent_bits must be 1 to 3 for 4 bits signed"):
        best_exponent_limit([1.0], 4, True, limits=[4])
    with pytest.raises(ValueError, match=r"^scale must be positive and finite, not 0\.0$"):
        squared_error([1.0], DyBit(4), 0.0)


@pytest.mark.parametrize(
    ("name", "bits", "signed", "limit", "sqnr"),
    [
        ("norm", 4, True, 2, 18.96),
        ("norm", 6, True, 2, 30.82),
        ("norm", 8, True, 2, 42.70),
        ("laplace", 4, True, 2, 17.33),
        ("laplace", 6, True, 2, 28.67),
        ("halfnorm", 4, False, 2, 24.88),
        ("halfnorm", 8, False, 2, 48.70),
    ],
)
def test_best_exponent_limit(name, bits, signed, limit, sqnr):
    """Figures of a random sample, so within 0.2 dB of these, which are quantiles."""
    x = getattr(stats, name).ppf((np.arange(50_000) + 0.5) / 50_000)
    fmt, scale = best_exponent_limit(x, bits, signed)
    assert fmt == DyBit(bits, signed, limit)
    noise = squared_error(x, fmt, scale)
    assert 10 * np.log10(np.square(x).sum() / noise) == pytest.approx(sqnr, abs=0.2)
    for other in range(1, DyBit(bits, signed).exponent_limit + 1):
        candidate = DyBit(bits, signed, other)
        rival = squared_error(x, candidate, optimal_scale(x, candidate))
        assert noise <= rival * (1 + TOLERANCE)


def test_equal_exponent_limits_give_the_larger():
    assert best_exponent_limit([0.5, -0.5], 8, True)[0] == DyBit(8)
    assert best_exponent_limit([0.5, 1.0], 8, True, limits=[2, 5, 1])[0] == DyBit(8, True, 5)
    # All limits but 1 and 2 err alike, up to rounding in the last bits of a double.
    seed = 3
    print(f"seed {seed}")
    x = np.append(np.random.default_rng(seed).laplace(size=200), 0)
    assert best_exponent_limit(x, 8, True)[0] == DyBit(8)
    assert best_exponent_limit([0.0], 4, False) == (DyBit(4, False), 1.0)


def test_sign_is_needed_where_an_element_is_negative():
    assert needs_sign([0.0, -1e-300])
    assert not needs_sign([0.0, -0.0, 5.0])
    with pytest.raises(ValueError, match=r"^x must be finite, not inf at index \(0,\)$"):
        needs_sign([np.inf])
