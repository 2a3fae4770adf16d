"""Vectors for the blocks of the array, with what they must give by `tests.oracles`."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from dybit.quant.array_config import ArrayConfig
from dybit.quant.precision import PrecisionMode
from tests.oracles import dybit_integers, esb_integers

__all__ = [
    "Setting",
    "any_setting",
    "array_config",
    "code_integers",
    "dot",
    "esb_arrays",
    "esb_code_integers",
    "floating_code",
    "pack",
    "settings",
    "split_lanes",
]


def array_config(
    rows: int, columns: int, modes: str, activations: str = "both", **fields: Any
) -> ArrayConfig:
    """Return an array of modes given as ``"W8A8 W4A4"``."""
    defaults = {"max_reduction": 64 * rows, "accumulator_depth": 16}
    values = {"rows": rows, "columns": columns, "modes": modes.split(), "activations": activations}
    return ArrayConfig.model_validate({**values, **defaults, **fields})


def esb_arrays(rows: int, columns: int) -> dict[str, ArrayConfig]:
    """Return arrays of ESB: each 4-bit format alone, and with 8-bit ones by both multipliers."""
    family = {"family": "esb", "activations": "signed"}
    narrow = {
        f"esb-k{k}": array_config(rows, columns, "W4A4", esb_k4=k, **family) for k in range(3)
    }
    mixed = {
        f"esb-k{k4}-k{k8}-{multiplier}": array_config(
            rows,
            columns,
            "W8A8 W8A4 W4A8 W4A4",
            esb_k4=k4,
            esb_k8=k8,
            multiplier=multiplier,
            **family,
        )
        for k4, k8, multiplier in (
            (0, 3, "dsp"),
            (1, 4, "lut"),
            (2, 5, "dsp"),
            (2, 6, "lut"),
        )
    }
    return narrow | mixed


def code_integers(bits: int, signed: bool, limit: int) -> list[int]:
    """Return the integer of every code of a width, negative zero as 0."""
    integers = dybit_integers(bits, signed, min(limit, bits - signed))
    return [integers.get(code, 0) for code in range(2**bits)]


def esb_code_integers(array: ArrayConfig, bits: int) -> list[int]:
    """Return the integer of every code of an ESB array's width, negative zero as 0."""
    integers = esb_integers(bits, {4: array.esb_k4, 8: array.esb_k8}[bits])
    return [integers.get(code, 0) for code in range(2**bits)]


def pack(values: list[int], bits: int) -> int:
    """Pack integers into a word, element 0 in the least significant bits."""
    return sum((value & ((1 << bits) - 1)) << (bits * index) for index, value in enumerate(values))


def floating_code(integer: int, odd_bits: int) -> int:
    """Return the lane code, as `hw.floating_product` has it, of an integer from 0."""
    exponent = (integer & -integer).bit_length()  # one more than the exponent, 0 for 0
    odd = integer >> exponent - 1 if integer else 1
    return odd >> 1 | exponent << odd_bits


def split_lanes(word: int, lanes: int, bits: int) -> list[int]:
    """Return the signed lanes of a word."""
    values = [(word >> (bits * lane)) & ((1 << bits) - 1) for lane in range(lanes)]
    return [value - (1 << bits) if value >> (bits - 1) else value for value in values]


@dataclass(frozen=True)
class Setting:
    """A mode of an array with signedness and exponent limits of its operands."""

    mode: PrecisionMode
    index: int
    signed: bool
    activation_limit: int
    weight_limit: int
    activations: list[int] = field(repr=False)
    weights: list[int] = field(repr=False)


def settings(array: ArrayConfig) -> list[Setting]:
    """Return every mode of an array with every signedness and every exponent limit built."""
    if array.family == "esb":
        tables = {bits: esb_code_integers(array, bits) for bits in (4, 8)}
        return [
            Setting(mode, index, True, 0, 0, tables[mode.activation_bits], tables[mode.weight_bits])
            for index, mode in enumerate(array.modes)
        ]
    return [
        Setting(
            mode,
            index,
            signed,
            activation_limit,
            weight_limit,
            code_integers(mode.activation_bits, signed, activation_limit),
            code_integers(mode.weight_bits, True, weight_limit),
        )
        for index, mode in enumerate(array.modes)
        for signed in array.signednesses
        for activation_limit in _limits(
            array, mode.activation_bits, signed, array.activation_exponent_limit
        )
        for weight_limit in _limits(array, mode.weight_bits, True, array.weight_exponent_limit)
    ]


def any_setting(rng: random.Random, built: list[Setting]) -> Setting:
    """Return a random setting, every mode as likely as another however many limits it has."""
    index = rng.choice(sorted({setting.index for setting in built}))
    return rng.choice([setting for setting in built if setting.index == index])


def _limits(array: ArrayConfig, bits: int, signed: bool, fixed: int) -> list[int]:
    if bits == 8:
        return list(range(1, 9 - signed))
    if bits == 4 and signed and array.run_time_limits:
        return list(array.run_time_limits)
    return [min(fixed, 4 - signed)] if bits == 4 else [2 - signed]


def dot(setting: Setting, word: int, keep: int, weights: list[int]) -> list[int]:
    """Return the output lanes of one element: activation word times weight bytes."""
    mode = setting.mode
    a_mask, w_mask = (1 << mode.activation_bits) - 1, (1 << mode.weight_bits) - 1
    lanes = [0] * mode.lanes
    for k in range(mode.channels):
        if keep >> k & 1:
            activation = setting.activations[word >> (mode.activation_bits * k) & a_mask]
            for lane in range(mode.lanes):
                code = weights[k] >> (mode.weight_bits * lane) & w_mask
                lanes[lane] += activation * setting.weights[code]
    return lanes
