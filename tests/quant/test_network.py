"""Quantised networks: what their layers are, and what is refused of them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dybit.quant.config import ConfigError, QuantConfig
from dybit.quant.formats import ESB, DyBit, Integer, NumberFormat
from dybit.quant.network import (
    Add,
    AvgPool2d,
    ComputeLayer,
    Conv2d,
    Layer,
    Linear,
    MaxPool2d,
    NetworkError,
    QuantNetwork,
    QuantTensor,
    View,
)
from dybit.quant.tensor import fixed_point
from tests.networks import (
    CONFIG,
    esb_network,
    graph_network,
    random_conv,
    random_linear,
    random_network,
)

NETWORK = random_network()
IMAGE = NETWORK.input
RNG = np.random.default_rng(0)


def with_layer(name: str, /, **changes: Any) -> QuantNetwork:
    """The network with fields of one layer changed."""
    layers = [
        dataclasses.replace(layer, **changes) if layer.name == name else layer
        for layer in NETWORK.layers
    ]
    return dataclasses.replace(NETWORK, layers=tuple(layers))


def with_array(**changes: Any) -> QuantNetwork:
    """The network under a config with fields of its array changed."""
    config = QuantConfig.from_dict(CONFIG | {"array": CONFIG["array"] | changes})
    return dataclasses.replace(NETWORK, config=config)


def test_layers_must_fit_each_other() -> None:
    tensor = QuantTensor(DyBit(4), 0.4)
    with pytest.raises(NetworkError, match=r"flat: input must be dybit4 x 0.4, .*, not .* 0.5"):
        with_layer("flat", input=QuantTensor(DyBit(4), 0.5))
    with pytest.raises(NetworkError, match=r"head: input must have shape \(..., 11\), not \(12,\)"):
        with_layer("head", weights=np.zeros((11, 3), np.uint8))
    with pytest.raises(NetworkError, match=r"second: input must have shape \(H, W, 4\), not"):
        with_layer("second", weights=np.zeros((1, 1, 4, 6), np.uint8))
    with pytest.raises(NetworkError, match=r"max: input must be real numbers, what second gives,"):
        with_layer("second", output=None, relu=False)
    with pytest.raises(NetworkError, match=r"second: relu must be false where the accumulators"):
        with_layer("second", output=None)
    with pytest.raises(NetworkError, match=r"head: output of the last layer must be real numbers"):
        with_layer("head", output=tensor)
    with pytest.raises(NetworkError, match=r"layer names must differ, but max is used twice"):
        with_layer("flat", name="max")
    with pytest.raises(NetworkError, match=r"layer names must differ, but input is used twice"):
        with_layer("flat", name="input")
    with pytest.raises(NetworkError, match=r"flat: inputs must be made by layers before it, not"):
        with_layer("flat", inputs=("head",))
    graph = graph_network()
    layers = [
        dataclasses.replace(layer, inputs=("mixed", "mixed"), operands=layer.operands[:1] * 2)
        if isinstance(layer, Add) and layer.name == "placed"
        else layer
        for layer in graph.layers
    ]
    with pytest.raises(NetworkError, match=r"place: output must be read by a layer"):
        dataclasses.replace(graph, layers=tuple(layers))
    with pytest.raises(NetworkError, match=r"layers of small must not be empty"):
        dataclasses.replace(NETWORK, layers=())
    mean = NETWORK.layer("mean")
    with pytest.raises(NetworkError, match=r"mean: input must have shape \(H, W, C\), not \(8,\)"):
        mean.output_shape((8,))


def test_formats_must_be_what_the_array_is_built_for() -> None:
    head = NETWORK.layer("head")
    assert isinstance(head, Linear)
    with pytest.raises(NetworkError, match=r"weights must be DyBit of 4 bits, .*, not dybit2"):
        with_layer("head", weights=head.weights % 4, weight_format=DyBit(2))
    with pytest.raises(NetworkError, match=r"head: weights must be DyBit of 4 bits, .*, not int4"):
        with_layer("head", weight_format=Integer(4))
    with pytest.raises(NetworkError, match=r"first: weights must be dybit4r2, as the array is .*"):
        with_array(weight_exponent_limit=2)
    with pytest.raises(NetworkError, match=r"first: activations must be dybit4ur3, as the array"):
        with_array(activation_exponent_limit=3)
    with pytest.raises(NetworkError, match=r"first: activations must be signed, .*, not dybit4u"):
        with_array(activations="signed")
    with pytest.raises(NetworkError, match=r"second: activations must be unsigned, .*, not dybit8"):
        with_array(activations="unsigned")


@pytest.mark.parametrize("fmt", [DyBit(2), Integer(8)], ids=str)
def test_outputs_must_have_a_width_the_array_is_built_for(fmt: NumberFormat) -> None:
    tensor = QuantTensor(fmt, 0.1)
    changes: dict[str, dict[str, Any]] = {
        "second": {"output": tensor},
        "max": {"input": tensor},
        "mean": {"input": tensor},
    }
    layers = tuple(
        dataclasses.replace(layer, **changes.get(layer.name, {})) for layer in NETWORK.layers
    )
    with pytest.raises(NetworkError, match=rf"^second: output must be .* 4 or 8 bits, .* {fmt}$"):
        dataclasses.replace(NETWORK, layers=layers)


def test_esb_networks_have_the_formats_of_their_array(tmp_path: Path) -> None:
    network = esb_network(1, 4)
    network.save(tmp_path)
    loaded = QuantNetwork.load(tmp_path)
    assert loaded.config == network.config
    formats = [(layer.weight_format, layer.input.format) for layer in loaded.compute_layers]
    assert formats == [(ESB(4, 1), ESB(4, 1)), (ESB(8, 4), ESB(8, 4)), (ESB(4, 1), ESB(4, 1))]
    other = esb_network(2, 5).config
    with pytest.raises(NetworkError, match=r"first: weights must be esb4k2, .*, not esb4k1$"):
        dataclasses.replace(network, config=other)
    with pytest.raises(
        NetworkError, match=r"first: weights must be ESB of 4 bits, .*, not dybit4$"
    ):
        dataclasses.replace(NETWORK, config=other)
    tensor = QuantTensor(ESB(4, 2), 0.1)
    layers = list(network.layers)
    layers[3] = dataclasses.replace(network.layer("mean"), output=tensor)
    layers[4] = dataclasses.replace(network.layer("flat"), input=tensor)
    layers[5] = dataclasses.replace(network.layer("head"), input=tensor)
    with pytest.raises(NetworkError, match=r"^mean: output must be esb4k1 or esb8k4, .* esb4k2$"):
        dataclasses.replace(network, layers=tuple(layers))


def test_an_accumulator_that_could_overflow_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"layers.first: a reduction of 12 is not allowed"):
        with_array(max_reduction=11)
    with pytest.raises(ConfigError, match=r"layers.head: an accumulator of up to \d+ is not allow"):
        with_layer("head", bias=np.array([0, -(2**40), 0]))


def test_fields_of_layers_are_checked() -> None:
    conv = NETWORK.layer("first")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"weights": conv.weights.astype(np.int8)}, "weights must be an array of uint8, not int8"),
        ({"weights": conv.weights[0]}, "weights must have 4 axes, none empty, not shape (2, 2, 5)"),
        ({"weights": conv.weights[:0]}, "weights must have 4 axes, none empty, not shape (0, 2, 2"),
        ({"weights": [1]}, "weights must be an array of uint8, not list"),
        ({"weight_scale": -conv.weight_scale}, "weight_scale must be positive and finite, not -0"),
        ({"bias": conv.bias.astype(np.int32)}, "bias must be an array of int64, not int32"),
        ({"multiplier": conv.multiplier[1:]}, "multiplier must have shape (5,), not (4,)"),
        ({"shift": np.full(5, 64, np.uint8)}, "shift must be 0 to 63, not 64"),
        ({"max_code": 128}, "max_code must be the code of a value of dybit8r3 that is not negati"),
        ({"stride": (0, 1)}, "stride must be two integers of at least 1, not (0, 1)"),
        ({"padding": (1,)}, "padding must be two integers of at least 0, not (1,)"),
    ]
    for changes, message in cases:
        with pytest.raises(NetworkError, match=re.escape(f"first: {message}")):
            dataclasses.replace(conv, **changes)
    with pytest.raises(NetworkError, match=r"max: padding must be at most half of kernel \(2, 2\)"):
        MaxPool2d(
            name="max", inputs=("input",), kernel=(2, 2), stride=(2, 2), padding=(2, 0), input=IMAGE
        )
    with pytest.raises(NetworkError, match=r"layer must be one of first, .*, not 'third'"):
        NETWORK.layer("third")


def test_properties_of_layers() -> None:
    conv = random_conv(RNG, "input", "c", (3, 2, 4, 5), DyBit(8, True, 2), IMAGE, None)
    assert (conv.kernel, conv.reduction, conv.outputs, conv.mode.name) == ((3, 2), 24, 5, "W8A4")
    assert conv.matrix.shape == (24, 5)
    assert conv.matrix[(1 * 2 + 1) * 4 + 3, 2] == conv.weights[1, 1, 3, 2]
    # 0.13 x 1/8 and the scale x 1/64: the units of the formats' integers.
    np.testing.assert_allclose(conv.accumulator_scale, 0.13 / 8 * conv.weight_scale / 64)
    assert NETWORK.compute_layers == (NETWORK.layers[0], NETWORK.layers[1], NETWORK.layers[5])
    assert [shape for _, _, shape in NETWORK.shapes()] == [
        (6, 4, 5),
        (6, 4, 6),
        (3, 2, 6),
        (1, 2, 6),
        (12,),
        (3,),
    ]
    assert isinstance(random_linear(RNG, "input", "l", (3, 2), DyBit(4), IMAGE, None), ComputeLayer)
    layer: Layer = NETWORK.layers[4]
    assert isinstance(layer, View)
    assert (layer.reads, layer.makes) == ((layer.input,), layer.input)
    assert isinstance(NETWORK.layers[0], Conv2d)


def test_average_pooling_folds_its_count() -> None:
    pool = NETWORK.layer("mean")
    assert isinstance(pool, AvgPool2d)
    # Units: 0.07/64 into 0.4/4 over three elements.
    want = 0.07 / 64 / (0.4 / 4) / 3
    assert 2**15 <= pool.multiplier < 2**16
    assert pool.multiplier / 2**pool.shift == pytest.approx(want, rel=2**-16)


def test_fixed_point() -> None:
    rng = np.random.default_rng(3)
    ratios = np.concatenate(
        [2.0 ** rng.uniform(-47, 15.99, 2000), [65535.0, 65535.4, 1.0, 0.5, 2.0**-48]]
    )
    ratios = np.concatenate([ratios, np.nextafter(2.0 ** np.arange(-40, 15), 0)])
    multiplier, shift = fixed_point(ratios, "x")
    assert multiplier.dtype == np.uint16
    assert shift.dtype == np.uint8
    assert multiplier.min() >= 2**15
    assert shift.max() <= 63
    np.testing.assert_allclose(multiplier / 2.0**shift, ratios, rtol=2**-16)
    # Below, precision ends with the shift.
    multiplier, shift = fixed_point([3 * 2.0**-63, 2.0**-70], "x")
    assert (multiplier.tolist(), shift.tolist()) == ([3, 0], [63, 63])
    with pytest.raises(NetworkError, match=r"x: output units must be at least 1/65535 .*1/65536"):
        fixed_point([1.0, 65536.0], "x")


def test_padding_of_half_a_kernel_and_outputs_of_one_pixel_are_allowed() -> None:
    window: dict[str, Any] = {"kernel": (2, 4), "stride": (2, 2), "padding": (1, 2)}
    pool = MaxPool2d(name="p", inputs=("input",), input=IMAGE, **window)
    assert pool.output_shape((1, 1, 3)) == (1, 1, 3)
    with pytest.raises(NetworkError, match=r"p: padding must be at most half of kernel \(2, 3\)"):
        dataclasses.replace(pool, kernel=(2, 3))
