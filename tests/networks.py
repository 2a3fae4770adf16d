"""Small quantised networks with random weights, for tests of what stores and runs them."""

from __future__ import annotations

import numpy as np

from dybit.quant.config import QuantConfig
from dybit.quant.formats import DyBit, NumberFormat
from dybit.quant.network import (
    AvgPool2d,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    QuantNetwork,
    QuantTensor,
)
from dybit.quant.tensor import fixed_point

__all__ = ["random_conv", "random_linear", "random_network"]

CONFIG = {
    "name": "small",
    "array": {"rows": 4, "columns": 4, "max_reduction": 64, "accumulator_depth": 32},
    "default": {"weight_bits": 4, "activation_bits": 4},
    "layers": {"second": {"weight_bits": 8, "activation_bits": 8}},
}


def random_conv(
    rng: np.random.Generator,
    name: str,
    size: tuple[int, int, int, int],
    fmt: NumberFormat,
    source: QuantTensor,
    target: QuantTensor | None,
    **options: object,
) -> Conv2d:
    """Return a convolution whose weights are `size`, (kh, kw, inputs, outputs)."""
    return Conv2d(**_fields(rng, name, size, fmt, source, target), **options)  # type: ignore[arg-type]


def random_linear(
    rng: np.random.Generator,
    name: str,
    size: tuple[int, int],
    fmt: NumberFormat,
    source: QuantTensor,
    target: QuantTensor | None,
) -> Linear:
    """Return a linear layer whose weights are `size`, (inputs, outputs)."""
    return Linear(**_fields(rng, name, size, fmt, source, target))  # type: ignore[arg-type]


def random_network(seed: int = 1) -> QuantNetwork:
    """Return a network with a layer of every kind, in two precision modes."""
    rng = np.random.default_rng(seed)
    image = QuantTensor(DyBit(4, False), 0.13)
    wide = QuantTensor(DyBit(8, True, 3), 0.07)
    pooled = QuantTensor(DyBit(4, True), 0.4)
    first = random_conv(
        rng, "first", (3, 2, 2, 5), DyBit(4), image, wide, stride=(1, 2), padding=(1, 0)
    )
    second = random_conv(rng, "second", (1, 1, 5, 6), DyBit(8, True, 2), wide, wide, relu=True)
    return QuantNetwork(
        "small",
        QuantConfig.from_dict(CONFIG),
        image,
        (6, 8, 2),
        (
            first,
            second,
            MaxPool2d(name="max", kernel=(2, 2), stride=(2, 2), input=wide),
            AvgPool2d(name="mean", kernel=(3, 1), stride=(1, 1), input=wide, output=pooled),
            Flatten(name="flat", input=pooled),
            random_linear(rng, "head", (12, 3), DyBit(4), pooled, None),
        ),
    )


def _fields(
    rng: np.random.Generator,
    name: str,
    size: tuple[int, ...],
    fmt: NumberFormat,
    source: QuantTensor,
    target: QuantTensor | None,
) -> dict[str, object]:
    outputs = size[-1]
    scale = rng.uniform(0.01, 0.1, outputs)
    multiplier, shift = np.zeros(outputs, np.uint16), np.zeros(outputs, np.uint8)
    if target is not None:
        multiplier, shift = fixed_point(source.unit * scale * fmt.unit / target.unit, name)
    return {
        "name": name,
        "weights": rng.choice(fmt.sorted_codes, size),
        "weight_format": fmt,
        "weight_scale": scale,
        "bias": rng.integers(-50, 50, outputs),
        "multiplier": multiplier,
        "shift": shift,
        "input": source,
        "output": target,
    }
