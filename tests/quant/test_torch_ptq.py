"""GPTQ and adaptive rounding: against the definition, and against rounding to nearest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dybit.quant.config import QuantConfig
from dybit.quant.formats import ESB, DyBit, Integer, Minifloat, NumberFormat
from dybit.quant.scale import optimal_scale
from dybit.quant.tensor import NetworkError
from dybit.quant.torch import PreparedModel, agreement, calibrate, convert, prepare
from dybit.quant.torch.adaptive_rounding import (
    AdaptiveRounding,
    learn_rounding,
    neighbours,
    round_adaptively,
)
from dybit.quant.torch.gptq import gptq, gptq_rounding, hessians, operands
from dybit.sim.executor import run

FORMATS = [DyBit(4), DyBit(4, True, 2), ESB(4, 2), Integer(4), Minifloat(2, 1), DyBit(8), DyBit(2)]
SHORT = AdaptiveRounding(steps=100)


def config(bits: int = 4) -> QuantConfig:
    return QuantConfig.from_dict(
        {
            "array": {"rows": 4, "columns": 4, "max_reduction": 512, "accumulator_depth": 64},
            "default": {"weight_bits": bits, "activation_bits": 4 if bits == 2 else 8},
        }
    )


def model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, stride=(2, 1), padding=(1, 0)),
        nn.ReLU(),
        nn.Conv2d(8, 6, (3, 1), padding=1),
        nn.ReLU6(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 16),
        nn.ReLU(),
        nn.Linear(16, 5),
    ).eval()


def inputs(count: int, seed: int) -> Tensor:
    """Images that mix a few patterns, as real ones do: their pixels are correlated."""
    patterns = torch.randn(12, 2, 10, 7, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(count, 12, generator=generator) @ patterns.flatten(1)
    return (mixed / 3).view(count, *patterns.shape[1:])


def calibrated(net: nn.Module, x: Tensor, bits: int = 4) -> PreparedModel:
    return calibrate(prepare(net, config(bits), x[:1]), [x])


def noise(prepared: PreparedModel, net: nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        real = net(x)
        return float((prepared(x) - real).square().sum() / real.square().sum())


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_neighbours_are_those_of_the_format(fmt: NumberFormat) -> None:
    values = fmt.values.tolist()
    generator = torch.Generator().manual_seed(4)
    y = torch.cat([torch.randn(200, generator=generator) * fmt.max / 2, torch.tensor(values)])
    lower, upper = neighbours(y, fmt)
    for at, low, high in zip(y.tolist(), lower.tolist(), upper.tolist(), strict=True):
        below = [v for v in values if v <= at]
        above = [v for v in values if v > at]
        assert low == (below[-1] if below else values[0])
        assert high == (above[0] if above else values[-1])


def sequential(weight: np.ndarray, hessian: np.ndarray, fmt: NumberFormat, scale: np.ndarray):
    """GPTQ from its aim: columns in turn, the rest each time at the optimum, by a full solve."""
    order = np.argsort(-np.diag(hessian), kind="stable")
    w, h = weight[:, order], hessian[np.ix_(order, order)].copy()
    h += 0.01 * np.diag(h).mean() * np.eye(len(h))
    q = np.zeros_like(w)
    for k in range(len(h)):
        left = w.copy()
        if k:
            moved = (w[:, :k] - q[:, :k]) @ h[:k, k:]
            left[:, k:] += np.linalg.solve(h[k:, k:], moved.T).T
        q[:, k] = fmt.decode(fmt.encode(left[:, k] / scale)) * scale
    out = np.empty_like(q)
    out[:, order] = q
    return out


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_gptq_leaves_the_rest_at_their_optimum(fmt: NumberFormat) -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((60, 12)) @ rng.standard_normal((12, 12))
    weight, hessian = rng.standard_normal((7, 12)), x.T @ x
    scale = np.abs(weight).max(1) / fmt.max
    got = gptq_rounding(*map(torch.from_numpy, (weight, hessian)), fmt, torch.from_numpy(scale))
    np.testing.assert_allclose(got.numpy(), sequential(weight, hessian, fmt, scale), atol=1e-12)


def test_gptq_rounds_to_nearest_where_inputs_are_uncorrelated() -> None:
    rng = np.random.default_rng(6)
    weight, scale = rng.standard_normal((5, 9)), np.full(5, 0.3)
    for hessian in (np.diag(rng.uniform(1, 2, 9)), np.zeros((9, 9))):
        got = gptq_rounding(
            torch.from_numpy(weight), torch.from_numpy(hessian), DyBit(4), torch.from_numpy(scale)
        )
        fmt = DyBit(4)
        np.testing.assert_array_equal(got.numpy(), fmt.decode(fmt.encode(weight / 0.3)) * 0.3)


def test_operands_times_weights_are_the_sums() -> None:
    net, x = model(), inputs(70, 1)
    prepared = prepare(net, config(), x[:1])
    seen: list[str] = []
    for stage, layer in zip(prepared.compute_stages, (net[0], net[2], net[6]), strict=False):
        with torch.no_grad():
            y = x
            for module in net[: [m is layer for m in net].index(True)]:
                y = module(y)
            rows = operands(stage, y)
            sums = rows[0] @ stage.weight.flatten(1).T + stage.bias
            want = layer(y).movedim(1, -1).reshape(len(sums), -1)
            torch.testing.assert_close(sums, want, rtol=1e-4, atol=1e-5)
            got = hessians(stage, y)
            torch.testing.assert_close(
                got, (rows.double().mT @ rows.double()), rtol=1e-5, atol=1e-3
            )
        seen.append(stage.name)
    assert seen == ["0", "2", "6"]


class Grouped(nn.Module):
    """Two groups, then one for each channel, and a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 8, 3, padding=1)
        self.pairs = nn.Conv2d(8, 6, 3, stride=2, groups=2)
        self.each = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.head = nn.Linear(6 * 4 * 3, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pairs(self.first(x).relu()).relu()
        return self.head((x + self.each(x)).relu().flatten(1))


def grouped(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return Grouped().eval()


def test_groups_have_operands_and_hessians_of_their_own() -> None:
    net, x = grouped(), inputs(70, 1)
    prepared = prepare(net, config(), x[:1])
    stages = {stage.name: stage for stage in prepared.compute_stages}
    with torch.no_grad():
        first = net.first(x).relu()
        for name, source, groups in (("pairs", first, 2), ("each", net.pairs(first).relu(), 6)):
            rows = operands(stages[name], source)
            assert len(rows) == groups
            weights = stages[name].weight.flatten(1).chunk(groups)
            sums = torch.cat([part @ w.T for part, w in zip(rows, weights, strict=True)], dim=1)
            want = getattr(net, name)(source).movedim(1, -1).reshape(len(sums), -1)
            torch.testing.assert_close(sums + stages[name].bias, want, rtol=1e-4, atol=1e-5)
            expected = rows.double().mT @ rows.double()
            torch.testing.assert_close(
                hessians(stages[name], source), expected, rtol=1e-5, atol=1e-3
            )


def values_are_on_the_grid(prepared: PreparedModel) -> bool:
    found = []
    for stage in prepared.compute_stages:
        assert stage.weight_format is not None
        assert stage.weight_scale is not None
        y = stage.weight.detach().double() / stage.per_output(stage.weight_scale)
        grid = torch.tensor(stage.weight_format.values)
        found.append((y[..., None] - grid).abs().amin(-1).max() < 1e-5)
    return all(found)


METHODS: dict[str, Callable[[PreparedModel, Tensor], None]] = {
    "gptq": gptq,
    "adaptive": lambda prepared, x: round_adaptively(prepared, x, SHORT),
}


@pytest.mark.parametrize("fmt", [DyBit(4), Integer(4), Minifloat(2, 1), ESB(3, 0)], ids=str)
def test_gptq_on_correlated_inputs(fmt: NumberFormat) -> None:
    rng = np.random.default_rng(7)
    x = rng.standard_normal((500, 10)) @ rng.standard_normal((10, 40))
    x += 0.3 * rng.standard_normal(x.shape)
    weight = rng.standard_normal((30, 40))
    scale = optimal_scale(weight, fmt, axis=0)
    arrays = (weight, x.T @ x)
    got = gptq_rounding(*map(torch.from_numpy, arrays), fmt, torch.from_numpy(scale)).numpy()
    nearest = fmt.decode(fmt.encode(weight / scale[:, None])) * scale[:, None]
    noise = [np.square(x @ (w - weight).T).sum() for w in (nearest, got)]
    decibels = 10 * np.log10(noise[0] / noise[1])
    print(f"seed 7: {fmt}: {decibels:.1f} dB less noise")
    assert decibels > 3


@pytest.mark.parametrize(("method", "bits"), [("gptq", 4), ("adaptive", 4), ("adaptive", 2)])
def test_errors_get_smaller(method: str, bits: int) -> None:
    net, x, other = model(), inputs(256, 1), inputs(256, 2)
    prepared = calibrated(net, x, bits)
    nearest = noise(prepared, net, other)
    METHODS[method](prepared, x)
    decibels = 10 * np.log10(nearest / noise(prepared, net, other))
    print(f"seeds 0, 1, 2: {method} at {bits} bits: {decibels:.2f} dB less noise")
    assert decibels > 0.5
    assert values_are_on_the_grid(prepared)


@pytest.mark.parametrize("method", METHODS)
def test_groups_and_sums(method: str) -> None:
    net, x, other = grouped(), inputs(256, 1), inputs(256, 2)
    prepared = calibrated(net, x)
    nearest = noise(prepared, net, other)
    METHODS[method](prepared, x)
    assert noise(prepared, net, other) < 0.95 * nearest
    assert values_are_on_the_grid(prepared)


@pytest.mark.parametrize("method", METHODS)
def test_the_network_has_the_same_weights(method: str) -> None:
    net, x = model(), inputs(128, 1)
    prepared = calibrated(net, x)
    METHODS[method](prepared, x)
    trace = run(convert(prepared), x.movedim(1, -1).numpy())
    assert agreement(prepared, x, trace).codes > 0.999


@pytest.mark.parametrize("method", METHODS)
def test_outcomes_are_deterministic_and_progress_is_told(method: str) -> None:
    net, x = model(), inputs(64, 1)
    found = []
    for noise_seed in range(2):
        torch.manual_seed(noise_seed)
        prepared = calibrated(net, x)
        METHODS[method](prepared, x)
        found.append([stage.weight.detach().clone() for stage in prepared.compute_stages])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    ticks: list[int] = []
    prepared = calibrated(net, x)
    if method == "gptq":
        gptq(prepared, x, progress=lambda: ticks.append(1))
    else:
        round_adaptively(prepared, x, AdaptiveRounding(steps=2), lambda: ticks.append(1))
    assert len(ticks) == 4


def test_seeds_matter_and_ends_are_reached() -> None:
    """Each weight is at one of its two neighbours, not always the nearer one."""
    generator = torch.Generator().manual_seed(3)
    weight, x = torch.randn(6, 20, generator=generator), torch.randn(300, 20, generator=generator)
    x += x.roll(1, 1) * 2
    scale = weight.abs().amax(1, keepdim=True) / 16
    fmt = DyBit(4)

    def error(rounded: Tensor, batch: Tensor) -> Tensor:
        return (x[batch] @ (rounded - weight).T).square().mean()

    found = [
        learn_rounding(weight, fmt, scale, error, len(x), AdaptiveRounding(steps=300, seed=seed))
        for seed in (0, 0, 1)
    ]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    lower, upper = (values * scale for values in neighbours(weight / scale, fmt))
    at_lower, at_upper = found[0] == lower, found[0] == upper
    assert (at_lower | at_upper).all()
    nearer = (weight - lower) < (upper - weight)
    assert (at_lower != nearer)[lower != upper].any()


@pytest.mark.parametrize("method", METHODS)
def test_a_model_without_formats_is_refused(method: str) -> None:
    x = inputs(4, 1)
    prepared = prepare(model(), config(), x[:1])
    with pytest.raises(
        NetworkError, match=r"^input: must be calibrated first; call calibrate on the model$"
    ):
        METHODS[method](prepared, x)
