"""Random layers on random accelerators, for the runtime and for the hardware alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from dybit.hw.descriptor import descriptor_table
from dybit.quant.config import ConfigError, QuantConfig
from dybit.quant.formats import DyBit, NumberFormat
from dybit.quant.network import INPUT, AvgPool2d, Layer, QuantNetwork, QuantTensor
from dybit.quant.precision import PrecisionMode
from dybit.sim.runtime import Plan
from tests.networks import random_conv, random_linear

__all__ = [
    "DEEP_ACCELERATOR",
    "ESB",
    "FAMILIES",
    "KINDS",
    "SMALL_ACCELERATORS",
    "draw_config",
    "draw_network",
    "manifest",
    "small_accelerator",
]

KINDS = ("conv", "grouped", "depthwise", "linear", "tokens", "average")
FAMILIES: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"weight_exponent_limit": 1, "activation_exponent_limit": 2, "activations": "signed"},
    {"run_time_limits": [1, 3]},
    {"family": "esb", "esb_k4": 1, "esb_k8": 4, "activations": "signed"},
    {"family": "esb", "esb_k4": 2, "esb_k8": 6, "activations": "signed"},
)


def small_accelerator(
    name: str,
    rows: int,
    columns: int,
    modes: list[str],
    kernel: int,
    accelerator: dict[str, int] | None = None,
    **array: Any,
) -> QuantConfig:
    """Return an accelerator with small memories, but for what `accelerator` says."""
    fields = {"rows": rows, "columns": columns, "modes": modes, "max_reduction": 4096, **array}
    memories = {"activation_words": 128, "output_words": 128, "weight_rows": 32}
    tables = {"parameter_groups": 64, "depthwise_width": 16, "depthwise_kernel": kernel}
    return QuantConfig.from_dict(
        {
            "name": name,
            "array": {"accumulator_depth": 32, **fields},
            "default": {"weight_bits": 8, "activation_bits": 8},
            "accelerator": memories | tables | (accelerator or {}),
        }
    )


EVERY = ["W8A8", "W8A4", "W4A8", "W4A4", "W2A4", "W4A2", "W2A2"]
ESB = {"family": "esb", "esb_k4": 1, "esb_k8": 4, "activations": "signed"}
SMALL_ACCELERATORS = [
    small_accelerator("every-mode", 4, 4, EVERY, 0),
    small_accelerator("tall", 8, 4, ["W8A8", "W4A4"], 3),
    small_accelerator("wide-esb", 4, 8, ["W8A8", "W4A4"], 0, **ESB),
]
"""Few, for each must be compiled: all modes, depthwise, more columns than rows."""

DEEP_ACCELERATOR = small_accelerator(
    *("deep", 8, 4, ["W8A8", "W4A4"], 3),
    {"activation_words": 1024, "output_words": 1024, "parameter_groups": 256},
    max_reduction=2304,
    accumulator_depth=256,
)
"""Room for tiles in which much is repeated, and for the layers of real networks."""


def manifest(plan: Plan) -> dict[str, Any]:
    """Return what a device without hardware needs to know of it."""
    return {"parameters": plan.parameters, "descriptor": descriptor_table()}


def draw_config(rng: np.random.Generator, family: dict[str, Any] | None = None) -> QuantConfig:
    """Return a small accelerator with memories so small that layers take several tiles."""
    family = FAMILIES[rng.integers(len(FAMILIES))] if family is None else family
    rows, columns = (int(side) for side in rng.choice((4, 8, 16), 2))
    narrow = ["W8A8", "W8A4", "W4A8", "W4A4"]
    array = {
        "rows": rows,
        "columns": columns,
        "modes": narrow if "family" in family else [*narrow, "W2A4", "W4A2", "W2A2"],
        "max_reduction": 4096,
        "accumulator_depth": 2 * rows * int(rng.choice((1, 2))),
        **family,
    }
    accelerator = {
        "activation_words": int(rng.choice((64, 128))),
        "output_words": int(rng.choice((64, 128))),
        "weight_rows": 2 * max(16, rows),
        "parameter_groups": 64,
        "depthwise_width": 16,
    }
    # The longest kernel that the array's partial sums have room for, or no unit.
    for kernel in (3, 2, 1, 0) if rng.random() < 0.6 else (0,):
        config = QuantConfig.from_dict(
            {
                "name": "drawn",
                "array": array,
                "default": {"weight_bits": 8, "activation_bits": 8},
                "accelerator": {**accelerator, "depthwise_kernel": kernel},
            }
        )
        try:
            config.accelerator.check_array(config.array)
            break
        except ConfigError:
            continue
    return config


def draw_network(
    rng: np.random.Generator, config: QuantConfig, kind: str | None = None
) -> QuantNetwork:
    """Return a network of a drawn layer and a linear one, whose accumulators are the result."""
    kind = str(rng.choice(KINDS)) if kind is None else kind
    array = config.array
    mode = array.modes[rng.integers(len(array.modes))]
    fmt = _activations(rng, config, mode.activation_bits)
    image = QuantTensor(fmt, 2 / fmt.max)
    # The modes of the second layer are those that take what the first one makes.
    second = array.modes[rng.integers(len(array.modes))]
    target = _activations(rng, config, second.activation_bits)
    middle = QuantTensor(target, 4 / target.max)
    weights = array.weight_format(mode.weight_bits, int(rng.integers(1, 8)))
    groups = 1
    if kind == "grouped" and weights.has_zero:
        groups = int(rng.choice((2, 3, 4)))
    channels = groups * int(rng.integers(1, 30 // groups))
    outputs = groups * int(rng.integers(1, 40 // groups))
    if kind == "depthwise" and weights.has_zero:
        channels = outputs = groups = int(rng.integers(1, 40))
    kernel = tuple(int(side) for side in rng.integers(1, 4, 2))
    stride = tuple(int(step) for step in rng.integers(1, 4, 2))
    padding = tuple(int(rng.integers(0, side)) for side in kernel)
    shape: tuple[int, ...] = (*(int(side) for side in rng.integers(3, 10, 2)), channels)
    layers: list[Layer] = []
    if kind in ("linear", "tokens"):
        shape = shape[2:] if kind == "linear" else (shape[0], channels)
        size = (channels, outputs)
        layers.append(random_linear(rng, INPUT, "drawn", size, weights, image, middle))
    else:
        # Average pooling runs on the accelerator where that made its input.
        point = kind == "average"
        options: dict[str, Any] = {"stride": stride, "padding": padding, "groups": groups}
        if rng.random() < 0.5:
            options |= {"relu": True}
        if rng.random() < 0.5:
            options |= {"max_code": int(target.sorted_codes[-int(rng.integers(1, 3))])}
        window = (*((1, 1) if point else kernel), channels // groups, outputs)
        options = {} if point else options
        layers.append(
            random_conv(rng, INPUT, "drawn", window, weights, image, middle, 4.0, **options)
        )
    if kind == "average":
        layers.append(
            AvgPool2d(
                name="mean",
                inputs=("drawn",),
                kernel=kernel,
                stride=stride,
                input=middle,
                output=middle,
            )
        )
    fmt = array.weight_format(second.weight_bits, int(rng.integers(1, 8)))
    last, count = layers[-1].name, int(rng.integers(1, 20))
    size = (outputs, count)
    layers.append(random_linear(rng, last, "last", size, fmt, middle, None))
    return QuantNetwork(
        "drawn", _told(config, {"drawn": mode, "last": second}), image, shape, tuple(layers)
    )


def _activations(rng: np.random.Generator, config: QuantConfig, bits: int) -> NumberFormat:
    array = config.array
    signed = bool(rng.choice(array.signednesses))
    limit = int(rng.integers(1, 4 if bits == 4 else 9 - signed))
    fmt = array.activation_format(bits, signed, limit)
    if isinstance(fmt, DyBit):
        built = array.activation_format(bits, signed, min(limit, fmt.magnitude_bits))
        assert array.decoded_activation_format(built) == built
        return built
    return fmt


def _told(config: QuantConfig, modes: dict[str, PrecisionMode]) -> QuantConfig:
    """Return the config with the modes that layers run in."""
    widths = {
        name: {"weight_bits": mode.weight_bits, "activation_bits": mode.activation_bits}
        for name, mode in modes.items()
    }
    return QuantConfig.from_dict(config.to_dict() | {"layers": widths})
