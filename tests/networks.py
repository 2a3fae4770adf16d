"""Small quantised networks with random weights, for tests of what stores and runs them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from dybit.quant.config import QuantConfig
from dybit.quant.formats import ESB, DyBit, NumberFormat
from dybit.quant.network import (
    INPUT,
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Float,
    Linear,
    MatMul,
    MaxPool2d,
    QuantNetwork,
    QuantTensor,
    View,
)
from dybit.quant.tensor import fixed_point

__all__ = [
    "esb_network",
    "graph_network",
    "on_array",
    "random_conv",
    "random_linear",
    "random_network",
]

CONFIG = {
    "name": "small",
    "array": {"rows": 4, "columns": 4, "max_reduction": 64, "accumulator_depth": 32},
    "default": {"weight_bits": 4, "activation_bits": 4},
    "layers": {"second": {"weight_bits": 8, "activation_bits": 8}},
}

GRAPH_CONFIG: dict[str, Any] = {
    "name": "graph",
    "array": {"rows": 4, "columns": 4, "max_reduction": 64, "accumulator_depth": 32},
    "default": {"weight_bits": 8, "activation_bits": 8},
    "layers": {
        "depthwise": {"weight_bits": 4, "activation_bits": 4},
        "point": {"weight_bits": 4, "activation_bits": 4},
    },
}


def random_conv(
    rng: np.random.Generator,
    before: str,
    name: str,
    size: tuple[int, int, int, int],
    fmt: NumberFormat,
    source: QuantTensor,
    target: QuantTensor | None,
    gain: float = 1.0,
    **options: object,
) -> Conv2d:
    """Return a convolution whose weights are `size`, (kh, kw, inputs, outputs)."""
    return Conv2d(**_fields(rng, before, name, size, fmt, source, target, gain), **options)


def random_linear(
    rng: np.random.Generator,
    before: str,
    name: str,
    size: tuple[int, int],
    fmt: NumberFormat,
    source: QuantTensor,
    target: QuantTensor | None,
) -> Linear:
    """Return a linear layer whose weights are `size`, (inputs, outputs)."""
    return Linear(**_fields(rng, before, name, size, fmt, source, target))


def random_network(seed: int = 1) -> QuantNetwork:
    """Return a network with a layer of every kind, in two precision modes."""
    image = QuantTensor(DyBit(4, False), 0.13)
    wide = QuantTensor(DyBit(8, True, 3), 0.07)
    pooled = QuantTensor(DyBit(4, True), 0.4)
    return _chain(CONFIG, (DyBit(4), DyBit(8, True, 2)), image, wide, pooled, seed)


def on_array(network: QuantNetwork, **fields: object) -> QuantNetwork:
    """Return a network for an array that differs in some fields."""
    config = network.config.to_dict()
    config |= {"array": config["array"] | fields}
    return replace(network, config=QuantConfig.from_dict(config))


def esb_network(k4: int, k8: int, seed: int = 1, **fields: object) -> QuantNetwork:
    """Return the layers of `random_network` in ESB of so many fraction bits.

    Further fields are those of the array.
    """
    family = {"family": "esb", "esb_k4": k4, "esb_k8": k8, "activations": "signed"}
    config = CONFIG | {"array": CONFIG["array"] | family | fields}
    narrow, eight = ESB(4, k4), ESB(8, k8)
    # So that neither much of a tensor is 0 nor much of it saturates, whatever the range.
    image, wide, pooled = (QuantTensor(fmt, 4 / fmt.max) for fmt in (narrow, eight, narrow))
    return _chain(config, (narrow, eight), image, wide, pooled, seed, gain=8.0)


def _chain(
    config: dict[str, object],
    weights: tuple[NumberFormat, NumberFormat],
    image: QuantTensor,
    wide: QuantTensor,
    pooled: QuantTensor,
    seed: int,
    gain: float | None = None,
) -> QuantNetwork:
    rng = np.random.default_rng(seed)
    window = {"stride": (1, 2), "padding": (1, 0)}
    narrow, eight = weights
    gains = [1.0 if gain is None else gain / fmt.max for fmt in weights]
    first = random_conv(rng, INPUT, "first", (3, 2, 2, 5), narrow, image, wide, gains[0], **window)
    second = random_conv(
        rng, "first", "second", (1, 1, 5, 6), eight, wide, wide, gains[1], relu=True
    )
    pool = {"kernel": (2, 2), "stride": (2, 2)}
    box = {"shape": (12,), "start": 0, "sizes": (12,), "strides": (1,)}
    return QuantNetwork(
        "small",
        QuantConfig.from_dict(config),
        image,
        (6, 8, 2),
        (
            first,
            second,
            MaxPool2d(name="max", inputs=("second",), input=wide, **pool),
            AvgPool2d(
                name="mean",
                inputs=("max",),
                kernel=(3, 1),
                stride=(1, 1),
                input=wide,
                output=pooled,
            ),
            View(name="flat", inputs=("mean",), input=pooled, **box),
            random_linear(rng, "flat", "head", (12, 3), narrow, pooled, None),
        ),
    )


def graph_network(seed: int = 1, uniform: bool = False) -> QuantNetwork:
    """Return a network that is no chain: groups, sums, joins, products of activations, floats.

    Parameters
    ----------
    seed : int
    uniform : bool
        An exponent limit of 1 in all formats.
    """
    rng = np.random.default_rng(seed)
    limits = dict.fromkeys((1, 2, 3, 4, 5), 1) if uniform else {n: n for n in (1, 2, 3, 4, 5)}
    image = QuantTensor(DyBit(8, True, limits[2]), 0.11)
    narrow = QuantTensor(DyBit(4, False, limits[4]), 0.17)
    wide = QuantTensor(DyBit(8, False, limits[3]), 0.09)
    joined = QuantTensor(DyBit(8, True, limits[5]), 0.03)
    one = {"stride": (1, 1), "padding": (1, 1)}
    eight, four = DyBit(8, True, limits[3]), DyBit(4, True, limits[3])
    array = GRAPH_CONFIG["array"] | (
        {"weight_exponent_limit": 1, "activation_exponent_limit": 1} if uniform else {}
    )
    pixels = {"shape": (4, 6), "start": 0, "sizes": (4, 6), "strides": (6, 1)}
    turned = {"shape": (6, 4), "start": 0, "sizes": (6, 4), "strides": (1, 6)}
    last = {"shape": (12,), "start": 23, "sizes": (2, 6), "strides": (-12, -1)}
    scale = np.linspace(-1, 1, 6)
    return QuantNetwork(
        "graph",
        QuantConfig.from_dict(GRAPH_CONFIG | {"array": array}),
        image,
        (4, 4, 4),
        (
            random_conv(rng, INPUT, "grouped", (3, 3, 2, 6), eight, image, narrow, groups=2, **one),
            random_conv(
                rng, "grouped", "depthwise", (3, 3, 1, 6), four, narrow, wide, groups=6, **one
            ),
            random_conv(rng, "grouped", "point", (1, 1, 6, 6), four, narrow, joined),
            Add(
                name="add",
                inputs=("depthwise", "point"),
                operands=(wide, joined),
                output=wide,
                relu=True,
            ),
            Concat(name="concat", inputs=("add", "depthwise"), input=wide, axis=2),
            MaxPool2d(name="max", inputs=("concat",), input=wide, kernel=(2, 2), stride=(2, 2)),
            random_conv(rng, "max", "narrowed", (1, 1, 12, 6), eight, wide, joined),
            View(name="tokens", inputs=("narrowed",), input=joined, **pixels),
            View(name="turned", inputs=("narrowed",), input=joined, **turned),
            MatMul(name="scores", inputs=("tokens", "turned"), operands=(joined, joined)),
            Float(
                name="soft",
                inputs=("scores",),
                operation="softmax",
                parameters={"axis": 1},
                output=narrow,
            ),
            MatMul(
                name="mixed", inputs=("soft", "tokens"), operands=(narrow, joined), output=joined
            ),
            Float(
                name="place",
                inputs=(),
                operation="constant",
                arrays={"value": rng.normal(size=(4, 6))},
                output=wide,
            ),
            Add(name="placed", inputs=("mixed", "place"), operands=(joined, wide), output=joined),
            random_linear(rng, "placed", "hidden", (6, 6), eight, joined, None),
            Float(name="gelu", inputs=("hidden",), operation="gelu", parameters={"tanh": False}),
            Float(
                name="scaled",
                inputs=("gelu",),
                operation="affine",
                arrays={"factor": scale, "offset": scale[::-1].copy()},
                output=joined,
            ),
            View(name="last", inputs=("scaled",), input=joined, **last),
            random_linear(rng, "last", "head", (12, 3), eight, joined, None),
        ),
    )


def _fields(
    rng: np.random.Generator,
    before: str,
    name: str,
    size: tuple[int, ...],
    fmt: NumberFormat,
    source: QuantTensor,
    target: QuantTensor | None,
    gain: float = 1.0,
) -> dict[str, object]:
    outputs = size[-1]
    scale = gain * rng.uniform(0.01, 0.1, outputs)
    multiplier, shift = np.zeros(outputs, np.uint16), np.zeros(outputs, np.uint8)
    if target is not None:
        multiplier, shift = fixed_point(source.unit * scale * fmt.unit / target.unit, name)
    return {
        "name": name,
        "inputs": (before,),
        "weights": rng.choice(fmt.sorted_codes, size),
        "weight_format": fmt,
        "weight_scale": scale,
        "bias": rng.integers(-50, 50, outputs),
        "multiplier": multiplier,
        "shift": shift,
        "input": source,
        "output": target,
    }
