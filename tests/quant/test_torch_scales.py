"""Scales that training changes: gradients by another route, running estimates by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dybit.quant.format_rules import FamilyFormats
from dybit.quant.formats import ESB, DyBit, Integer, Minifloat, NumberFormat
from dybit.quant.scale import esb_alpha, optimal_scale
from dybit.quant.tensor import NetworkError
from dybit.quant.torch import fake_quantize, prepare
from dybit.quant.torch.distribution_aligner import DistributionAligner
from dybit.quant.torch.learned_scale import LearnedScale, learned_quantize, slope_factors
from dybit.quant.torch.trained_scales import attach, detach, settle
from tests.quant.training_model import calibrated, config, float_model, task

UNIFORM = [DyBit(4, True, 1), DyBit(4, False, 1), ESB(4, 2), Integer(8), DyBit(2)]
TAPERED = [DyBit(4), DyBit(4, False), DyBit(8), DyBit(4, True, 2), Minifloat(2, 1), ESB(4, 0)]


def surrogate(x: Tensor, fmt: NumberFormat, scale: Tensor) -> Tensor:
    """The same function, with what is not to be derived cut out: autograd does the rest."""
    y = x / scale
    inside = y.clamp(float(fmt.values[0]), fmt.max)
    q = torch.tensor(fmt.decode(fmt.encode(y.detach().numpy())), dtype=x.dtype)
    return scale * (inside + (q - inside).detach())


@pytest.mark.parametrize("fmt", UNIFORM, ids=str)
@pytest.mark.parametrize("shape", [(), (5, 1), (1, 7)])
def test_gradients_on_uniform_grids_are_those_of_lsq(
    fmt: NumberFormat, shape: tuple[int, ...]
) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(5, 7, generator=generator, dtype=torch.float64) * fmt.max
    weights = torch.randn(5, 7, generator=generator, dtype=torch.float64)
    size = torch.rand(shape, generator=generator, dtype=torch.float64) + 0.5
    found = []
    for function in (surrogate, learned_quantize):
        inputs = x.clone().requires_grad_(), size.clone().requires_grad_()
        result = function(inputs[0], fmt, inputs[1])
        (result * weights).sum().backward()
        found.append((result.detach(), inputs[0].grad, inputs[1].grad))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
    outside = (x / size > fmt.max) | (x / size < fmt.values[0])
    assert outside.any()
    assert not found[1][1][outside].any()


@pytest.mark.parametrize("fmt", TAPERED, ids=str)
def test_gradients_on_other_grids_point_to_the_least_error(fmt: NumberFormat) -> None:
    """The derivative of the squared error is known: values that change over are equally far."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(1 << 16, generator=generator)
    x = x if fmt.signed else x.abs()
    best = optimal_scale(x.numpy(), fmt)
    ours, lsq = [], []
    for factor in (0.6, 0.75, 0.9, 1.0, 1.1, 1.3, 1.6):
        scale = torch.tensor(best * factor)
        y = (x / scale).double()
        q = torch.tensor(fmt.decode(fmt.encode(y.numpy())))
        error = q - y
        exact = float((error * q).mean())
        gradients = []
        for function in (surrogate, learned_quantize):
            given = scale.double().requires_grad_()
            (function(x.double(), fmt, given) - x).square().mean().backward()
            gradients.append(float(given.grad) / (2 * float(scale)))
        lsq.append(abs(gradients[0] - exact))
        ours.append(abs(gradients[1] - exact))
    print(f"seed 2: {fmt}: mean error {np.mean(ours):.4f}, by plain LSQ {np.mean(lsq):.4f}")
    assert np.mean(ours) < 0.6 * np.mean(lsq)


@pytest.mark.parametrize("fmt", TAPERED, ids=str)
def test_each_value_has_the_factor_of_its_binade(fmt: NumberFormat) -> None:
    lowest, factors = slope_factors(fmt)
    for scale in (0.3, 0.7, 1.0, 1.9):
        for value in fmt.values[1:-1].tolist():
            y = value * 1.001 + 1e-4
            given = torch.tensor(scale, requires_grad=True)
            learned_quantize(torch.tensor(y) * given.detach(), fmt, given).backward()
            binade = lowest if value == 0 else math.floor(math.log2(abs(value)))
            expected = factors[binade - lowest] * (value - y)
            assert float(given.grad) == pytest.approx(expected, rel=1e-2, abs=1e-6)


def test_factors_are_those_of_the_step() -> None:
    """1 where the step is the same, about 0 where it grows as the magnitude does."""
    for fmt in UNIFORM:
        assert (slope_factors(fmt)[1] == 1).all()
    lowest, factors = slope_factors(Minifloat(4, 3))
    assert lowest == -9
    assert factors[:2].tolist() == [1, 1]
    assert np.abs(factors[5:-1]).max() < 0.25
    lowest, factors = slope_factors(DyBit(8, True))
    assert lowest == -6
    assert factors[:5].tolist() == [1] * 5
    # The step of DyBit quadruples with each power of two.
    assert (factors[6:11] < -0.25).all()


def test_a_gradient_scale_multiplies_the_scale_alone() -> None:
    x = torch.linspace(-3, 3, 31)
    grads = []
    for factor in (1.0, 0.25):
        scale, inputs = torch.tensor(0.4, requires_grad=True), x.clone().requires_grad_()
        learned_quantize(inputs, DyBit(4), scale, factor).square().sum().backward()
        grads.append((scale.grad, inputs.grad))
    assert grads[1][0] == grads[0][0] * 0.25 != 0
    assert torch.equal(grads[0][1], grads[1][1])


@pytest.mark.parametrize("per_input", [True, False])
def test_the_gradient_of_a_learned_scale_is_scaled_as_in_lsq(per_input: bool) -> None:
    fmt, x = Integer(4), torch.randn(6, 10, generator=torch.Generator().manual_seed(2))
    scale = torch.tensor(0.3) if per_input else torch.full((6, 1), 0.3)
    module = LearnedScale(scale, per_input)
    module(x, fmt, 1.0).square().sum().backward()
    plain = scale.clone().requires_grad_()
    surrogate(x, fmt, plain).square().sum().backward()
    # Ten elements share a scale: one input of the batch, or one channel of the weight.
    expected = plain.grad * scale / math.sqrt(10 * 7)
    torch.testing.assert_close(module.log_scale.grad, expected)
    assert torch.equal(module(x, fmt, 1.0), fake_quantize(x, fmt, module.scale.detach()))


def test_the_aligner_follows_the_standard_deviation() -> None:
    fmt, alpha = ESB(4, 1), esb_alpha(4, 1)
    aligner = DistributionAligner(alpha, torch.tensor(2.0), centred=True, momentum=0.25)
    rng = np.random.default_rng(3)
    deviation = 2.0
    for _ in range(5):
        x = (rng.standard_normal(100) * 3 + 1).astype(np.float32)
        deviation += 0.25 * (float(x.astype(np.float64).std()) - deviation)
        given = torch.from_numpy(x).requires_grad_()
        rounded = aligner(given, fmt, 1.0)
        scale = np.float32(alpha * deviation)
        y = (x - np.float32(x.astype(np.float64).mean())) / scale
        np.testing.assert_allclose(rounded.detach(), fmt.decode(fmt.encode(y)) * scale, rtol=1e-6)
        (rounded * torch.arange(100)).sum().backward()
        np.testing.assert_array_equal(given.grad, np.where(np.abs(y) <= fmt.max, np.arange(100), 0))
    assert float(aligner.deviation) == pytest.approx(deviation, rel=1e-12)

    aligner.eval()
    x = torch.randn(50) + 2
    assert torch.equal(aligner(x, fmt, 1.0), fake_quantize(x, fmt, aligner.scale))
    assert float(aligner.deviation) == pytest.approx(deviation, rel=1e-12)


def test_a_constant_has_a_scale_all_the_same() -> None:
    aligner = DistributionAligner(0.5, torch.tensor(0.0), centred=True, momentum=1.0)
    assert not aligner(torch.full((4,), 3.0), ESB(4, 1), 1.0).any()


@pytest.mark.parametrize("scales", ["learned", "aligned"])
def test_settled_scales_are_those_of_training(scales: str) -> None:
    family = FamilyFormats("esb")
    prepared = calibrated(float_model(), 4, family)
    x = task(40, 5).tensors[0]
    before = prepared(x).detach()
    attach(prepared, scales)
    if scales == "learned":
        torch.testing.assert_close(prepared(x), before, rtol=1e-4, atol=1e-4)
    optimizer = torch.optim.SGD(prepared.parameters(), 0.05)
    prepared.train()
    for _ in range(3):
        optimizer.zero_grad()
        prepared(x).square().mean().backward()
        optimizer.step()
        settle(prepared)
    prepared.eval()
    trained = prepared(x).detach()
    old = [quantizer.tensor for quantizer in prepared.quantizers]
    assert not torch.equal(trained, before)
    detach(prepared)
    assert all(stage.rounding is fake_quantize for stage in prepared.compute_stages)
    assert [quantizer.tensor for quantizer in prepared.quantizers] == old
    # Weight scales are moved by 2^-16 at most.
    torch.testing.assert_close(prepared(x), trained, rtol=1e-3, atol=1e-3)
    if scales == "aligned":
        for stage in prepared.compute_stages:
            weight = stage.weight.detach().double()
            assert abs(float(weight.mean())) < 1e-7
            assert stage.weight_format is not None
            alpha = esb_alpha(stage.weight_format.bits, stage.weight_format.k)
            expected = alpha * weight.std(correction=0)
            torch.testing.assert_close(
                stage.weight_scale, expected.expand(len(weight)), rtol=1e-4, atol=0
            )


def test_training_computes_what_is_deployed() -> None:
    """With the mean removed in training only: settling makes both the same."""
    prepared = calibrated(float_model(), 4, FamilyFormats("esb"))
    attach(prepared, "aligned")
    stage = prepared.compute_stages[1]
    with torch.no_grad():
        stage.weight += 0.05
    weight, fmt = stage.weight, ESB(4, 1)
    stage.rounding.train()
    training = stage.rounding(weight, fmt, 1.0)
    stage.rounding.eval()
    assert not torch.allclose(stage.rounding(weight, fmt, 1.0), training, atol=1e-3)
    settle(prepared)
    torch.testing.assert_close(stage.rounding(weight, fmt, 1.0), training, rtol=1e-5, atol=1e-6)


def test_refusals() -> None:
    net = float_model()
    x = task(4).tensors[0]
    with pytest.raises(NetworkError, match=r"^input: must be calibrated first; call calibrate on"):
        attach(prepare(net, config(), x), "learned")
    with pytest.raises(NetworkError, match=r"^input: must be in an ESB format .* not dybit4u"):
        attach(calibrated(net), "aligned")
