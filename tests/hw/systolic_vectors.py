"""Traffic at random for the systolic array, and what must come of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dybit.hw.systolic_array import SystolicArray
from dybit.quant.array_config import ArrayConfig
from tests.hw.array_vectors import Setting, any_setting, dot, pack, settings, split_lanes
from tests.hw.players import play

__all__ = ["ArrayTraffic", "run"]


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


def run(
    array: ArrayConfig,
    player: str,
    tiles: int,
    directory: Path,
    vectors: Callable[[str, int], None],
) -> None:
    dut = SystolicArray(array, 8)
    traffic = ArrayTraffic(array, dut.latency, tiles, seed=1)
    outputs = play(dut, "systolic_array", traffic.inputs, player, directory)
    vectors(f"systolic array, {player}", traffic.check(outputs))
