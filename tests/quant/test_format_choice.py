"""Choosing formats: ratings against the slow way, and choices on data they were not made on."""

import numpy as np
import pytest
import torch

from dybit.quant.array_config import ArrayConfig
from dybit.quant.config_errors import ConfigError
from dybit.quant.format_choice import (
    Rating,
    Ratings,
    decoded_formats,
    output_error,
    rate_channels,
    rate_formats,
    rate_sample,
    summarise,
)
from dybit.quant.formats import ESB, DyBit, Integer, Minifloat, NormalFloat
from dybit.quant.scale import best_exponent_limit, optimal_scale, squared_error
from dybit.quant.scale_groups import Grouping
from dybit.quant.scale_methods import ScaleRule, fit_scale
from dybit.quant.sqnr import sqnr
from dybit.scripts import digits

ARRAY = {"rows": 4, "columns": 4, "max_reduction": 64, "accumulator_depth": 16}
FORMATS = [DyBit(4), DyBit(4, True, 2), DyBit(4, True, 1), ESB(4, 2), Integer(4), NormalFloat(4)]


def limits(bits, signed):
    return [DyBit(bits, signed, r) for r in range(bits - signed, 0, -1)]


@pytest.fixture
def x():
    seed = 51
    print(f"seed {seed}")
    return np.random.default_rng(seed).laplace(size=(6, 5, 30)).astype(np.float32)


@pytest.mark.parametrize("options", [{}, {"axis": 1}, {"axis": 2, "group": 8}])
@pytest.mark.parametrize("weighted", [False, True])
def test_ratings_are_errors_at_optimal_scales(x, options, weighted):
    weights = np.arange(30) if weighted else None
    ratings = rate_formats(x, FORMATS, weights=weights, **options)
    assert list(ratings.by_format) == FORMATS
    for fmt, rating in ratings.by_format.items():
        scale = Grouping(x.shape, **options).spread(rating.scale)
        assert rating.error == pytest.approx(squared_error(x, fmt, scale, weights=weights))
        if not options:
            assert rating.scale == optimal_scale(x, fmt, weights=weights)
        assert ratings.sqnr([fmt]) == pytest.approx(10 * np.log10(ratings.power / rating.error))
    counted = np.square(x.astype(np.float64)) * (1 if weights is None else weights)
    assert ratings.power == pytest.approx(counted.sum())
    assert ratings.best().error == min(rating.error for rating in ratings.by_format.values())


@pytest.mark.parametrize("options", [{"method": "max"}, {"power_of_two": True}])
def test_scales_by_another_rule(x, options):
    ratings = rate_formats(x, FORMATS, axis=1, rule=ScaleRule(**options))
    for fmt, found in ratings.by_format.items():
        np.testing.assert_array_equal(found.scale, fit_scale(x, fmt, axis=1, **options))
        assert found.error == pytest.approx(squared_error(x, fmt, found.scale[:, None]))


@pytest.mark.parametrize("bits", [4, 8])
def test_agrees_with_the_search_for_a_limit(x, bits):
    best = rate_formats(x, limits(bits, True)).best()
    fmt, scale = best_exponent_limit(x, bits, True)
    assert best.format == fmt
    assert best.scale == pytest.approx(scale)


def rating(fmt, error):
    return Rating(fmt, np.array(1.0), error)


def test_of_equals_the_first_wins():
    a, b, c = DyBit(4), DyBit(4, True, 2), Integer(4)
    ratings = Ratings({a: rating(a, 1.00009), b: rating(b, 1.0), c: rating(c, 5.0)}, 100.0)
    assert ratings.best().format == a
    assert ratings.best([b, a]).format == b
    assert ratings.best([c]).format == c
    # Formats nobody rated, here an unsigned one, do not count.
    assert ratings.best([DyBit(4, False), c]).format == c
    with pytest.raises(ValueError, match=r"^formats must have one that was rated$"):
        ratings.best([DyBit(8)])
    assert ratings.gain([b], [c]) == pytest.approx(10 * np.log10(5))
    assert ratings.gain([c], [b]) == pytest.approx(-10 * np.log10(5))


def test_gains_over_no_error_are_finite():
    ratings = rate_formats([0.5, -0.5], [DyBit(4), Integer(4)])
    assert ratings.gain([DyBit(4)], [Integer(4)]) == 0
    assert rate_formats([0.0], [DyBit(4), Integer(4)]).gain([DyBit(4)], [Integer(4)]) == 0
    assert ratings.sqnr() == np.inf


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_groups_of_channels_choose_alone(x, axis, channels):
    channels = min(channels, x.shape[axis])
    weights = np.arange(30)
    groups = rate_channels(x, FORMATS, axis, channels, weights=weights)
    assert len(groups) == -(-x.shape[axis] // channels)
    for place, ratings in enumerate(groups):
        chosen = np.arange(place * channels, min((place + 1) * channels, x.shape[axis]))
        part, counted = (
            v.take(chosen, axis) for v in (x, np.broadcast_to(weights, x.shape).astype(float))
        )
        alone = rate_formats(part, FORMATS, axis=axis, weights=counted)
        assert ratings.power == pytest.approx(alone.power)
        assert ratings.best().format == alone.best().format
        for fmt, found in ratings.by_format.items():
            np.testing.assert_array_equal(found.scale, alone.by_format[fmt].scale)
            assert found.error == pytest.approx(alone.by_format[fmt].error)


def test_a_choice_for_each_channel_errs_less(x):
    spread = x * np.array([1, 1, 8, 1, 20])[:, None] ** (np.arange(30) % 3)
    whole = rate_formats(spread, FORMATS, axis=1)
    parts = rate_channels(spread, FORMATS, 1)
    assert len({ratings.best().format for ratings in parts}) > 1
    assert sum(ratings.best().error for ratings in parts) < whole.best().error


def test_output_error_is_that_of_the_outputs():
    seed = 52
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((200, 12)) * np.logspace(0, 2, 12)
    weights = rng.laplace(size=(7, 3, 4))
    error = output_error(weights, inputs.T @ inputs)
    ratings = rate_formats(weights, FORMATS, axis=0, error=error)
    exact = inputs @ weights.reshape(7, 12).T
    for fmt, found in ratings.by_format.items():
        scale = found.scale[:, None, None]
        rounded = fmt.decode(fmt.encode(weights / scale)) * scale
        outputs = inputs @ rounded.reshape(7, 12).T
        assert found.error == pytest.approx(np.square(outputs - exact).sum())
    assert ratings.power == pytest.approx(np.square(exact).sum())
    # What errs least in the weights need not err least in the outputs.
    plain = rate_formats(weights, FORMATS, axis=0)
    best = min(ratings.by_format.values(), key=lambda each: each.error)
    assert ratings.best().format == best.format
    assert ratings.by_format[plain.best().format].error >= ratings.best().error
    # Weights by the inputs' powers are the part of it that scales can go by.
    powers = np.square(inputs).sum(axis=0).reshape(3, 4)
    weighted = rate_formats(weights, FORMATS, axis=0, weights=powers, error=error)
    assert weighted.best().error < ratings.best().error
    with pytest.raises(ValueError, match=r"^gram must have shape \(12, 12\) for weights of shape"):
        output_error(weights, np.eye(7))


def array(**fields):
    modes = fields.pop("modes", ["W8A8", "W4A4", "W2A2"])
    return ArrayConfig.model_validate(ARRAY | {"modes": modes} | fields)


@pytest.mark.parametrize(
    ("fields", "operand", "bits", "signed", "expected"),
    [
        ({}, "weight", 8, True, limits(8, True)),
        ({}, "weight", 4, True, [DyBit(4)]),
        ({}, "weight", 2, True, [DyBit(2)]),
        ({}, "activation", 8, False, limits(8, False)),
        ({}, "activation", 4, False, [DyBit(4, False)]),
        ({"weight_exponent_limit": 2}, "weight", 4, True, [DyBit(4, True, 2)]),
        ({"activation_exponent_limit": 2}, "activation", 4, False, [DyBit(4, False, 2)]),
        ({"run_time_limits": [1, 2, 3]}, "weight", 4, True, limits(4, True)),
        ({"run_time_limits": [1, 2]}, "activation", 4, True, limits(4, True)[1:]),
        ({"run_time_limits": [1, 2]}, "activation", 4, False, [DyBit(4, False)]),
        (
            {"family": "esb", "activations": "signed", "modes": ["W8A8", "W4A4"]},
            "weight",
            4,
            True,
            [ESB(4, 1)],
        ),
    ],
)
def test_formats_an_array_decodes(fields, operand, bits, signed, expected):
    assert decoded_formats(array(**fields), operand, bits, signed) == expected


def test_formats_an_array_does_not_decode():
    with pytest.raises(ConfigError) as caught:
        decoded_formats(array(modes=["W8A4"]), "weight", 4)
    assert str(caught.value) == "array.modes: no weight of 4 bits; must be one of 8"
    with pytest.raises(ConfigError) as caught:
        decoded_formats(array(activations="signed"), "activation", 4, False)
    assert str(caught.value) == "array.activations: no unsigned ones; must be unsigned or both"


def test_summary_counts_wins_and_gains(x):
    rng = np.random.default_rng(3)
    tensors = [rng.uniform(-1, 1, 500), rng.standard_normal(500), rng.standard_t(2, 500)]
    family, rivals = limits(4, True), {"int": [Integer(4)], "e2m1": [Minifloat(2, 1)]}
    ratings = [rate_formats(each, [*family, Integer(4), Minifloat(2, 1)]) for each in tensors]
    summary = summarise(ratings, family, rivals)
    assert summary.wins == {"dybit4r1": 1, "dybit4r2": 1, "dybit4": 1}
    assert list(summary.gains) == ["int", "e2m1"]
    # The uniform grid and E2M1 are members: nothing is lost to either.
    assert (np.concatenate(list(summary.gains.values())) > -0.001).all()
    for place, each in enumerate(tensors):
        best = max(sqnr(each, fmt) for fmt in family)
        assert summary.gains["int"][place] == pytest.approx(best - sqnr(each, Integer(4)), abs=1e-3)


@pytest.fixture(scope="module")
def activations():
    """Inputs of each layer of a trained network, of calibration and of held-out images."""
    model, _ = digits.train(epochs=4)
    data = digits.load()
    return [layer_inputs(model, images) for images in (data.train_x[:256], data.test_x)]


def layer_inputs(model, images):
    """Return what each layer of the model reads."""
    inputs = {}
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, given, name=name: inputs.update({name: given[0].detach().numpy()})
        )
        for name, layer in model.named_children()
    ]
    with torch.no_grad():
        model(torch.from_numpy(images))
    for hook in hooks:
        hook.remove()
    return inputs


def gap(ratings, held_out):
    """Return by how many decibels another limit would have suited the held-out data better."""
    ratios = {f: sqnr(held_out, f, each.scale) for f, each in ratings.by_format.items()}
    best, picked = max(ratios.values()), ratios[ratings.best().format]
    return 0.0 if best == picked else best - picked


@pytest.mark.parametrize("bits", range(2, 9))
def test_the_limit_picked_is_the_best_on_held_out_activations(activations, bits):
    calibration, held_out = activations
    for name, x in calibration.items():
        signed = bool(x.min() < 0)
        assert gap(rate_sample(x, limits(bits, signed)), held_out[name]) < 0.05, name


@pytest.mark.parametrize(
    ("name", "bits"),
    [("standard_normal", 4), ("standard_normal", 8), ("laplace", 4), ("laplace", 6)],
)
def test_the_limit_picked_is_the_best_on_held_out_samples(name, bits):
    seed = 53
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    x, held_out = getattr(rng, name)(size=50_000), getattr(rng, name)(size=200_000)
    assert gap(rate_sample(x, limits(bits, True)), held_out) < 0.05


def test_heavy_tails_do_not_fool_the_choice():
    """Where a sample's best limit loses 10 dB and more on the rest of the tensor."""
    seed = 54
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    plain, extended = [], []
    for _ in range(5):
        x, held_out = rng.standard_t(4, size=5000), rng.standard_t(4, size=100_000)
        for gaps, rate in ((plain, rate_formats), (extended, rate_sample)):
            gaps.append(gap(rate(x, limits(8, True)), held_out))
    assert max(plain) > 5
    assert np.mean(extended) < 1
