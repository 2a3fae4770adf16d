"""Calibration and conversion: the integer network does what the fake-quantised model does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dybit.quant.config import QuantConfig
from dybit.quant.format_choice import rate_sample
from dybit.quant.format_rules import FamilyFormats
from dybit.quant.formats import DyBit
from dybit.quant.network import AvgPool2d, Conv2d, Linear, NetworkError, QuantNetwork
from dybit.quant.scale import optimal_scale, squared_error
from dybit.quant.tensor import fixed_point
from dybit.quant.torch import PreparedModel, agreement, calibrate, convert, prepare
from dybit.sim.executor import Trace, run


def config(bits: int = 8, layers: dict[str, Any] | None = None, **array: Any) -> QuantConfig:
    return QuantConfig.from_dict(
        {
            "name": "test",
            "array": {"rows": 4, "columns": 4, "max_reduction": 512, "accumulator_depth": 64}
            | array,
            "default": {"weight_bits": bits, "activation_bits": bits},
            "layers": layers or {},
        }
    )


def model(seed: int = 0) -> nn.Module:
    """A network of every supported layer with parameters of trained sizes."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 12, 3, stride=(2, 1), padding=(1, 0), bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(12, 16, 3, padding=1),
        nn.ReLU6(),
        nn.Conv2d(16, 8, 1),
        nn.AvgPool2d((2, 1)),
        nn.Flatten(),
        nn.Linear(80, 24),
        nn.ReLU(),
        nn.Linear(24, 5),
    )
    with torch.no_grad():
        net[1].running_mean.normal_(0, 0.2)
        net[1].running_var.uniform_(0.2, 1.0)
        net[1].weight.uniform_(0.5, 1.5)
        net[4].weight.mul_(4)  # so that ReLU6 has something to cut
        net[4].bias.add_(1)
    return net.eval()


def inputs(count: int, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, 15, 12, generator=torch.Generator().manual_seed(seed))


def quantised(net: nn.Module, conf: QuantConfig, x: Tensor) -> tuple[PreparedModel, QuantNetwork]:
    prepared = prepare(net, conf, x[:1])
    assert calibrate(prepared, x.split(16)) is prepared
    return prepared, convert(prepared)


def golden(network: QuantNetwork, x: Tensor) -> Trace:
    return run(network, x.movedim(1, -1).numpy())


MIXED = {
    "0": {"weight_bits": 8, "activation_bits": 8},
    "6": {"weight_bits": 2, "activation_bits": 4},
    "9": {"weight_bits": 4, "activation_bits": 8},
}


@pytest.mark.parametrize(
    ("conf", "least"),
    [
        (config(8), 0.9998),
        (config(4), 0.9998),
        (config(2), 0.9998),
        (config(4, MIXED), 0.9998),
        (config(8, activations="signed"), 0.9998),
        (config(4, MIXED, weight_exponent_limit=1, activation_exponent_limit=2), 0.9998),
    ],
    ids=["W8A8", "W4A4", "W2A2", "mixed", "signed", "limits"],
)
def test_the_network_agrees_with_the_model(conf: QuantConfig, least: float) -> None:
    """Not all codes: float32 sums may round the other way next to a threshold."""
    prepared, network = quantised(model(), conf, inputs(64))
    x = inputs(200, seed=2)
    found = agreement(prepared, x, golden(network, x))
    assert list(found.layers) == ["input", "0", "3", "4", "6", "7", "9"]
    assert found.layers["input"] == 1
    assert found.codes >= least
    assert found.predictions >= 0.99
    with torch.no_grad():
        logits = prepared(x).numpy()
    assert np.mean(np.abs(logits - golden(network, x).logits) < 1e-4 * np.abs(logits).max()) > 0.9


def test_agreement_counts_what_differs() -> None:
    prepared, network = quantised(model(), config(4), inputs(32))
    x = inputs(10, seed=3)
    trace = golden(network, x)
    trace.layers["9"].codes[0, :5] ^= 1
    trace.logits[:4] *= -1
    found = agreement(prepared, x, trace)
    assert found.layers["9"] == pytest.approx(1 - 5 / 240)
    assert found.predictions == pytest.approx(0.6)
    total = sum(t.codes.size for n, t in trace.layers.items() if t.codes is not None and n != "8")
    assert found.codes == pytest.approx(1 - 5 / (total + trace.input.size))


def test_eight_bits_are_close_to_float() -> None:
    net = model()
    x = inputs(100, seed=2)
    with torch.no_grad():
        real = net(x).numpy()
    noise = {}
    for bits in (2, 4, 8):
        _, network = quantised(net, config(bits), inputs(64))
        logits = golden(network, x).logits
        noise[bits] = 10 * np.log10(np.square(real).sum() / np.square(real - logits).sum())
    assert noise[8] > 32
    assert noise[4] > 9
    assert noise[2] > 0


def test_every_channel_has_its_best_scale() -> None:
    prepared, network = quantised(model(), config(4), inputs(32))
    conv = network.layer("4")
    assert isinstance(conv, Conv2d)
    weights = prepared.compute_stages[1].weight.detach().numpy()
    assert conv.weight_format == DyBit(4)
    best = optimal_scale(weights, DyBit(4), axis=0)
    # Moved to where multiplier and shift are exact.
    np.testing.assert_allclose(conv.weight_scale, best, rtol=2**-15)
    codes = DyBit(4).encode(weights / best[:, None, None, None].astype(np.float32))
    assert np.mean(conv.weights == codes.transpose(2, 3, 1, 0)) > 0.999


def test_multiplier_and_shift_are_exact() -> None:
    for bits in (4, 8):
        _, network = quantised(model(), config(bits), inputs(32))
        for layer in network.compute_layers:
            if layer.output is not None:
                ratio = layer.accumulator_scale / layer.output.unit
                got = layer.multiplier / 2.0**layer.shift
                np.testing.assert_allclose(got, ratio, rtol=1e-15)
                assert layer.multiplier.min() >= 2**15
                assert [a.tolist() for a in fixed_point(ratio, "")] == [
                    layer.multiplier.tolist(),
                    layer.shift.tolist(),
                ]


def test_exponent_limits_follow_the_data_or_the_config() -> None:
    x = inputs(32)
    prepared, network = quantised(model(), config(8), x)
    best = rate_sample(x.numpy(), [DyBit(8, True, limit) for limit in range(7, 0, -1)]).best()
    assert network.input.format == best.format
    assert network.input.scale == pytest.approx(best.scale, rel=1e-6)
    head = network.compute_layers[-1]
    weights = prepared.compute_stages[-1].weight.detach().numpy()
    errors = {}
    for limit in range(1, 8):
        candidate = DyBit(8, True, limit)
        scales = optimal_scale(weights, candidate, axis=0)
        errors[limit] = squared_error(weights, candidate, scales[:, None])
    assert head.weight_format == DyBit(8, True, min(errors, key=lambda limit: errors[limit]))

    fixed = {"weight_max_exponent_bits": 6, "activation_max_exponent_bits": 7}
    _, network = quantised(model(), config(8, {"4": fixed}), x)
    conv = network.layer("4")
    assert isinstance(conv, Conv2d)
    assert (conv.weight_format, conv.input.format) == (DyBit(8, True, 6), DyBit(8, False, 7))


def test_activations_are_unsigned_where_they_can_be() -> None:
    _, network = quantised(model(), config(8), inputs(32))
    assert [layer.input.format.signed for layer in network.layers] == [
        *[True, False, False, False, True, True, True, False, False],
    ][: len(network.layers)]
    relus = {layer.name: layer.relu for layer in network.compute_layers}
    assert relus == {"0": True, "4": True, "6": False, "9": True, "11": False}
    _, network = quantised(model(), config(8), inputs(32).abs())
    assert not network.input.format.signed
    _, network = quantised(model(), config(8, activations="signed"), inputs(32).abs())
    assert all(layer.input.format.signed for layer in network.layers)
    with pytest.raises(NetworkError, match=r"input: activations must not be negative .*, not -\d"):
        quantised(model(), config(8, activations="unsigned"), inputs(32))


def test_relu6_is_a_largest_code() -> None:
    for bits in (4, 8):
        prepared, network = quantised(model(), config(bits), inputs(64))
        conv = network.layer("4")
        assert isinstance(conv, Conv2d)
        assert conv.output is not None
        assert conv.max_code == conv.output.format.encode(6 / conv.output.scale)
        codes = golden(network, inputs(64, 2)).layers["4"].codes
        assert codes is not None
        assert codes.max() == conv.max_code
        assert prepared.compute_stages[1].ceiling == 6


def test_linear_weights_follow_the_layout() -> None:
    """Flattened (C, H, W) in torch, (H, W, C) in the network."""
    prepared, network = quantised(model(), config(8), inputs(32))
    linear = network.layer("9")
    assert isinstance(linear, Linear)
    stage = prepared.compute_stages[3]
    values = linear.weight_format.decode(linear.weights) * linear.weight_scale
    got = values.reshape(2, 5, 8, 24).transpose(3, 2, 0, 1).reshape(24, 80)
    want = stage.weight.detach().numpy()
    assert np.abs(got - want).max() < 0.03 * np.abs(want).max()


def test_average_pooling_carries_its_own_scale() -> None:
    prepared, network = quantised(model(), config(4), inputs(32))
    pool = network.layer("7")
    assert isinstance(pool, AvgPool2d)
    assert pool.kernel == pool.stride == (2, 1)
    assert pool.output != pool.input
    assert pool.output == prepared.quantizers[4].tensor


def test_biases_make_up_for_rounding() -> None:
    net, x = model(), inputs(256)
    prepared, _ = quantised(net, config(4), x)
    with torch.no_grad():
        real = net(x)
        corrected = (prepared(x) - real).mean(0).abs().max()
        for stage in prepared.compute_stages:
            assert stage.correction is not None
            stage.correction.zero_()
        plain = (prepared(x) - real).mean(0).abs().max()
    assert corrected < 1e-3 < plain


def test_calibration_is_deterministic(tmp_path: Path) -> None:
    net, x = model(), inputs(200)  # more activations than a sample holds
    prepared, network = quantised(net, config(4), x)
    network.save(tmp_path / "first")
    convert(prepared).save(tmp_path / "again")
    calibrate(prepared, inputs(20, 5).split(8))  # forgotten by the next one
    calibrate(prepared, ((part, None) for part in x.split(16)))
    convert(prepared).save(tmp_path / "recalibrated")
    for other in ("again", "recalibrated"):
        for name in ("network.toml", "network.safetensors"):
            assert (tmp_path / "first" / name).read_bytes() == (
                tmp_path / other / name
            ).read_bytes()
    assert QuantNetwork.load(tmp_path / "first").name == "test"
    assert convert(prepared, "other").name == "other"


def test_gradients_reach_the_weights() -> None:
    prepared, _ = quantised(model(), config(4), inputs(32))
    prepared(inputs(8)).square().sum().backward()
    for stage in prepared.compute_stages:
        for parameter in stage.parameters(recurse=False):
            assert parameter.grad is not None
            assert parameter.grad.abs().max() > 0


def test_dead_channels_and_single_layers() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 1))
    with torch.no_grad():
        net[0].weight[1] = 0
        net[0].bias[1] = 0
    x = torch.randn(4, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    prepared, network = quantised(net, config(4), x)
    trace = golden(network, x)
    assert trace.logits.shape == (4, 5, 5, 2)
    assert agreement(prepared, x, trace).codes == 1
    _, network = quantised(nn.Sequential(nn.Linear(5, 3)), config(4), x.reshape(-1, 5))
    assert network.input_shape == (5,)
    assert run(network, np.zeros((2, 5), np.float32)).logits.shape == (2, 3)


def test_refusals() -> None:
    net, x = model(), inputs(4)
    prepared = prepare(net, config(8), x)
    with pytest.raises(NetworkError, match="input: must be calibrated first; call calibrate"):
        convert(prepared)

    def nothing() -> Iterator[Tensor]:
        yield from ()

    with pytest.raises(NetworkError, match="batches must hold at least one input"):
        calibrate(prepared, nothing())
    with pytest.raises(NetworkError, match="input: activations must be finite on the calibration"):
        calibrate(prepared, [torch.full_like(x, torch.nan)])
    prepared.compute_stages[0].weight.data.mul_(1e38)
    with pytest.raises(NetworkError, match="0: activations must be finite on the calibration data"):
        calibrate(prepared, [x * 100])
    with torch.no_grad():
        net[11].bias[2] = 1e20
    with pytest.raises(NetworkError, match=r"11: bias must be below 2\^47 accumulator units, not"):
        quantised(net, config(8), x)
    with torch.no_grad():
        net[11].bias[2] = torch.inf
    with pytest.raises(NetworkError, match="11: bias must be finite"):
        quantised(net, config(8), x)
    with torch.no_grad():
        net[11].weight[2, 1] = torch.inf
    with pytest.raises(NetworkError, match="11: weights must be finite"):
        quantised(net, config(8), x)
    ticks: list[int] = []
    calibrate(prepare(model(), config(8), x), x.split(1), lambda: ticks.append(1))
    assert len(ticks) == 4


@pytest.mark.parametrize("scales", ["max", "percentile"])
def test_scales_by_other_methods(scales: str) -> None:
    net, x = model(), inputs(64)
    prepared = calibrate(prepare(net, config(4), x[:1]), [x], scales=scales)
    tensor, stage = prepared.image.tensor, prepared.compute_stages[1]
    assert tensor is not None
    largest = float(x.abs().max())
    weights = stage.weight.detach().abs().flatten(1).double()
    assert stage.weight_scale is not None
    if scales == "max":
        assert tensor.scale * tensor.format.max == pytest.approx(largest)
        expected = weights.amax(1) / 4
        torch.testing.assert_close(stage.weight_scale, expected, rtol=2**-15, atol=0)
    else:
        assert tensor.scale * tensor.format.max < largest
    x = inputs(50, seed=2)
    assert agreement(prepared, x, golden(convert(prepared), x)).codes > 0.9998


def test_scales_that_are_powers_of_two() -> None:
    net, x = model(), inputs(64)
    prepared = calibrate(prepare(net, config(4), x[:1]), [x], power_of_two=True)
    scales = [quantizer.tensor.scale for quantizer in prepared.quantizers]
    for stage in prepared.compute_stages:
        assert stage.weight_scale is not None
        scales += stage.weight_scale.tolist()
    assert all(np.frexp(scale)[0] == 0.5 for scale in scales)
    assert len(set(scales)) > 2


@pytest.mark.parametrize("family", ["int", "esb", "minifloat", "dybit"])
def test_formats_that_the_array_lacks_are_refused(family: str) -> None:
    x = inputs(8)
    prepared = calibrate(prepare(model(), config(4), x), [x], formats=FamilyFormats(family))
    message = r"^0: weights must be of a format that the array decodes, not \w+; calibrate without"
    with pytest.raises(NetworkError, match=message):
        convert(prepared)
    prepared = calibrate(prepare(model(), config(4), x), [x], least_bits=6)
    with pytest.raises(NetworkError, match=r"^0: weights must be of .* not dybit6r?\d?; calibrate"):
        convert(prepared)
