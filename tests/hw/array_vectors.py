"""Vectors for the blocks of the array, with what they must give by `tests.oracles`."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from dybit.quant.array_config import ArrayConfig
from dybit.quant.precision import PrecisionMode
from tests.oracles import dybit_integers, esb_integers

__all__ = [
    "ArrayTraffic",
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


class ArrayTraffic:
    """Random tiles streamed through a systolic array, cycle by cycle, with stalls and resets.

    Parameters
    ----------
    array : ArrayConfig
    latency : int
        Cycles from a vector to its sums.
    tiles : int
        Tiles of weights to use.
    seed : int
    dense : bool
        R vectors a tile, no idle port and no reset: the most the array can bear.

    Notes
    -----
    Each tile has its own probability, from none to most, that a port idles in a cycle in which it
    need not. The second half of the tiles sees resets at random moments: what is in flight is
    lost, and a new tile is loaded.

    Attributes
    ----------
    inputs : dict of str to list of int
        Value of each input port in each cycle.
    outputs : dict of int to tuple
        By cycle: mode, tag and for each column the lanes of the sums.
    ready : list of int
        What ``weights__ready`` must show.
    """

    def __init__(
        self,
        array: ArrayConfig,
        latency: int,
        tiles: int,
        seed: int,
        *,
        dense: bool = False,
    ) -> None:
        self.array = array
        self.dense = dense
        self.latency = latency
        self.random = random.Random(seed)
        self.settings = settings(array)
        self.inputs: dict[str, list[int]] = {}
        self.outputs: dict[int, tuple[int, int, list[list[int]]]] = {}
        self.ready: list[int] = []
        self._generate(tiles)

    def _tile(self) -> tuple[Setting, list[list[list[int]]], int]:
        """Return a setting, weights (rows, columns, bytes) and a number of vectors."""
        rng = self.random
        weights = [
            [
                [rng.randrange(256) for _ in range(self.array.word_bytes)]
                for _ in range(self.array.columns)
            ]
            for _ in range(self.array.rows)
        ]
        vectors = self.array.rows if self.dense else rng.randrange(1, 2 * self.array.rows + 3)
        return any_setting(rng, self.settings), weights, vectors

    def _generate(self, tiles: int) -> None:
        rng, rows = self.random, self.array.rows
        half, stall = tiles // 2, 0.0
        active = loading = None
        vectors_left = loaded = tag = 0
        while tiles > 0 or vectors_left or loading is not None:
            cycle = len(self.ready)
            entry: dict[str, int] = {}
            if not self.dense and tiles < half and rng.random() < 0.01:
                # Whatever else the ports show in this cycle is lost too.
                self._idle(entry, loading)
                self.outputs = {at: out for at, out in self.outputs.items() if at <= cycle}
                self._add(entry | {"rst": 1}, loaded < rows)
                active = loading = None
                vectors_left = loaded = 0
                continue
            swap = False
            if not vectors_left and loaded == rows and rng.random() >= stall:
                active, swap = loading, True
                assert active is not None
                vectors_left = active[2]
            if vectors_left and (swap or rng.random() >= stall):
                assert active is not None
                tag = (tag + 1) % 256
                self._vector(entry, active, swap, tag, cycle)
                vectors_left -= 1
            else:
                self._idle(entry, loading)
            ready = loaded < rows or swap
            if swap:
                loaded, loading = 0, None
            if loading is None and tiles > 0:
                loading, tiles = self._tile(), tiles - 1
                stall = 0.0 if self.dense else rng.choice([0.0, 0.25, 0.7])
            if loading is not None and rng.random() >= stall:
                setting, weights, _ = loading
                row = weights[rows - 1 - loaded] if loaded < rows else weights[0]
                entry |= {
                    "weights__valid": 1,
                    "weights__word": pack([byte for column in row for byte in column], 8),
                    "weights__mode": setting.index,
                    "weights__exponent_limit": setting.weight_limit,
                }
                loaded += ready
            self._add(entry, ready)
        for _ in range(self.latency + 1):
            self._add({}, loaded < rows)

    def _vector(self, entry: dict[str, int], tile: Any, swap: bool, tag: int, cycle: int) -> None:
        rng, array = self.random, self.array
        setting, weights, _ = tile
        full = (1 << array.max_channels) - 1
        words = [rng.randrange(256) for _ in range(array.rows)]
        keeps = [rng.choice([full, rng.randrange(full + 1)]) for _ in range(array.rows)]
        entry |= {
            "activations__valid": 1,
            "activations__word": pack(words, 8),
            "activations__keep": pack(keeps, array.max_channels),
            "activations__mode": setting.index,
            "activations__signed": setting.signed,
            "activations__exponent_limit": setting.activation_limit,
            "activations__swap": swap,
            "activations__tag": tag,
        }
        sums = [[0] * setting.mode.lanes for _ in range(array.columns)]
        for word, keep, row in zip(words, keeps, weights, strict=True):
            for total, column in zip(sums, row, strict=True):
                for lane, value in enumerate(dot(setting, word, keep, column)):
                    total[lane] += value
        self.outputs[cycle + self.latency] = (setting.index, tag, sums)

    def _idle(self, entry: dict[str, int], loading: Any) -> None:
        """Fill the activations with noise; without `valid` none of it may matter."""
        entry |= {
            "activations__word": self.random.getrandbits(8 * self.array.rows),
            "activations__swap": self.random.randrange(2),
        }

    def _add(self, entry: dict[str, int], ready: bool) -> None:
        for port in entry:
            self.inputs.setdefault(port, [0] * len(self.ready))
        for port, values in self.inputs.items():
            values.append(int(entry.get(port, 0)))
        self.ready.append(int(ready))

    def check(self, outputs: dict[str, list[int]]) -> int:
        """Compare every cycle of the outputs; return the number of lanes compared."""
        compared = 0
        assert outputs["weights__ready"] == self.ready
        bits = self.array.partial_sum_bits
        for cycle, valid in enumerate(outputs["partial_sums__valid"]):
            assert valid == (cycle in self.outputs), f"cycle {cycle}: valid is {valid}"
            if not valid:
                continue
            index, tag, sums = self.outputs[cycle]
            mode = self.array.modes[index]
            assert outputs["partial_sums__mode"][cycle] == index
            assert outputs["partial_sums__tag"][cycle] == tag
            word = outputs["partial_sums__sums"][cycle]
            for column, lanes in enumerate(sums):
                got = split_lanes(word >> (bits * column), mode.lanes, bits // mode.lanes)
                assert got == lanes, f"cycle {cycle}, {mode}, column {column}: {got}, not {lanes}"
                compared += len(lanes)
        return compared
