"""Passes of a depthwise convolution, cycle by cycle, and the sums they must give."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth.lib import data

from dybit.hw.pixel_walker import Vector
from dybit.hw.weight_loader import WeightRow
from dybit.quant.accelerator_config import AcceleratorConfig
from dybit.quant.array_config import ArrayConfig
from tests.hw.array_vectors import Setting, any_setting, pack, settings, split_lanes
from tests.hw.players import Cycles

__all__ = ["DepthwiseGroup", "DepthwiseTraffic"]

Integers = npt.NDArray[np.int64]


@dataclass
class DepthwiseGroup:
    """What C channels need of one pass.

    Attributes
    ----------
    setting : Setting
    kernel, stride, size : tuple of int
        Rows and columns of the kernel, its steps, and output pixels.
    part, address : int
    words : (pixels, R) bytes
        Activation words of the padded rectangle, row by row.
    keep : (pixels, R, channels of a row) bits
    weights : (kernel rows, kernel columns, C, bytes)
    """

    setting: Setting
    kernel: tuple[int, int]
    stride: tuple[int, int]
    size: tuple[int, int]
    part: int
    address: int
    words: npt.NDArray[np.uint8]
    keep: npt.NDArray[np.bool_]
    weights: npt.NDArray[np.uint8]

    @property
    def height(self) -> int:
        return (self.size[0] - 1) * self.stride[0] + self.kernel[0]

    @property
    def width(self) -> int:
        return (self.size[1] - 1) * self.stride[1] + self.kernel[1]

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    def activations(self, columns: int) -> Integers:
        """Return the integers of the group's channels, (rows, columns, C)."""
        bits = self.setting.mode.activation_bits
        per_byte = 8 // bits
        result = np.zeros((len(self.words), columns), np.int64)
        for c in range(columns):
            row, place = divmod(self.part * columns + c, per_byte)
            codes = self.words[:, row] >> place * bits & (1 << bits) - 1
            result[:, c] = np.array(self.setting.activations)[codes] * self.keep[:, row, place]
        return result.reshape(self.height, self.width, columns)

    def sums(self, columns: int) -> Integers:
        """Return the convolution, (output pixels, C)."""
        pixels = self.activations(columns)
        codes = self.weights[..., 0] & (1 << self.setting.mode.weight_bits) - 1
        weights = np.array(self.setting.weights)[codes]
        total = np.zeros((*self.size, columns), np.int64)
        for y, x in np.ndindex(self.size):
            top, left = y * self.stride[0], x * self.stride[1]
            window = pixels[top : top + self.kernel[0], left : left + self.kernel[1]]
            total[y, x] = (window * weights).sum((0, 1))
        return total.reshape(-1, columns)


class DepthwiseTraffic:
    """Random groups streamed through a depthwise unit, with pauses, resets and none of them.

    Parameters
    ----------
    array : ArrayConfig
    accelerator : AcceleratorConfig
    latency : int
        Cycles from the last vector of a window to its sums.
    groups : int
    seed : int
    dense : bool
        No idle cycle and no reset: pass upon pass, weights as soon as they are taken.

    Notes
    -----
    The second half of the groups sees resets, by `rst` and by `clear`, at random moments: what is
    under way is lost, and a new group is loaded.

    Attributes
    ----------
    inputs : dict of str to list of int
        Value of each input port in each cycle.
    idle : int
        Cycles between the first vector and the last that have none.
    modes : set of int
        Modes that were used.
    """

    def __init__(
        self,
        array: ArrayConfig,
        accelerator: AcceleratorConfig,
        latency: int,
        groups: int,
        seed: int,
        *,
        dense: bool = False,
    ) -> None:
        self.array = array
        self.accelerator = accelerator
        self.dense = dense
        self.latency = latency
        self.random = random.Random(seed)
        self.settings = settings(array)
        self.inputs: Cycles = {}
        self.idle = 0
        self.modes: set[int] = set()
        self._sums: dict[int, tuple[int, int, Integers]] = {}
        self._ready: list[int] = []
        self._loaded: list[int] = []
        self._vector = Vector(array)
        self._row = WeightRow(array, accelerator)
        self._generate(groups)

    def _group(self, least: int) -> DepthwiseGroup:
        """Return a group of at most so many taps as vectors it follows, if that is said."""
        rng, array = self.random, self.array
        numbers = np.random.default_rng(rng.getrandbits(32))
        setting = any_setting(rng, self.settings)
        most = self.accelerator.depthwise_kernel
        while True:
            kernel = rng.randint(1, most), rng.randint(1, most)
            stride = rng.randint(1, 3), rng.randint(1, 3)
            size = rng.randint(1, 4), rng.randint(1, 4)
            if not least or kernel[0] * kernel[1] <= least:
                break
        channels = array.rows * setting.mode.channels
        pixels = ((size[0] - 1) * stride[0] + kernel[0]) * ((size[1] - 1) * stride[1] + kernel[1])
        keep = numbers.random((pixels, array.rows, array.max_channels)) < rng.choice([0.7, 1.1])
        weights = numbers.integers(0, 256, (*kernel, array.columns, array.word_bytes), np.uint8)
        return DepthwiseGroup(
            setting,
            kernel,
            stride,
            size,
            rng.randrange(channels // array.columns),
            rng.randrange(array.accumulator_depth - size[0] * size[1] + 1),
            numbers.integers(0, 256, (pixels, array.rows), np.uint8),
            keep,
            weights,
        )

    def _generate(self, groups: int) -> None:
        rng, half, stall = self.random, groups // 2, 0.0
        active: DepthwiseGroup | None = None
        loading: DepthwiseGroup | None = None
        at = loaded = 0
        while groups or active is not None or loading is not None:
            cycle = len(self._ready)
            entry = {
                "word": rng.getrandbits(8 * self.array.rows),
                "vector": rng.getrandbits(self._vector.size)
                & ~_packed(self._vector, {"unit_valid": 1}),
                "weights__payload": rng.getrandbits(self._row.size),
            }
            if not self.dense and groups < half and rng.random() < 0.03:
                entry[rng.choice(["rst", "clear"])] = 1
                complete = loading is not None and loaded == loading.taps
                if active is not None:
                    self._issue(entry, active, at, cycle)
                self._add(entry, int(not complete), 0)
                self._sums = {at: sums for at, sums in self._sums.items() if at <= cycle}
                active = loading = None
                at = loaded = 0
                continue
            complete = loading is not None and loaded == loading.taps
            swap = complete and active is None and rng.random() >= stall
            ready = swap or not complete
            if swap:
                active, loading, at, loaded = loading, None, 0, 0
            started = bool(self.modes)
            self.idle += started and active is None and (groups > 0 or loading is not None)
            if active is not None:
                self.modes.add(active.setting.index)
                self._issue(entry, active, at, cycle)
                at += 1
                if at == len(active.words):
                    active = None
            if loading is None and groups:
                vectors = len(active.words) if self.dense and active is not None else 0
                loading, groups = self._group(vectors), groups - 1
                stall = 0.0 if self.dense else rng.choice([0.0, 0.25, 0.7])
            finished = 0
            if loading is not None and rng.random() >= stall:
                entry |= {"weights__valid": 1}
                if loaded < loading.taps:
                    entry["weights__payload"] = self._weights(loading, loaded)
                    loaded += 1
                    finished = int(loaded == loading.taps)
            self._add(entry, int(ready), finished)
        for _ in range(self.latency + 1):
            self._add({}, 1, 0)

    def _issue(self, entry: dict[str, int], group: DepthwiseGroup, at: int, cycle: int) -> None:
        """Show vector `at` of a group; schedule the sums of the window that ends with it."""
        setting = group.setting
        keep = [pack([int(bit) for bit in row], 1) for row in group.keep[at]]
        fields = {
            "valid": self.random.randrange(2),
            "unit_valid": 1,
            "keep": pack(keep, self.array.max_channels),
            "mode": setting.index,
            "signed": int(setting.signed),
            "exponent_limit": setting.activation_limit,
            "swap": int(at == 0),
            # Only the first address means something.
            "address": group.address if at == 0 else self.random.randrange(1 << 4),
            "first": self.random.randrange(2),
            "part": group.part,
            "kernel_height": group.kernel[0],
            "kernel_width": group.kernel[1],
            "stride_y": group.stride[0],
            "stride_x": group.stride[1],
            "width": group.width,
        }
        entry["vector"] = _packed(self._vector, fields)
        entry["word"] = pack(group.words[at].tolist(), 8)
        y, x = divmod(at, group.width)
        (row, rest_y), (column, rest_x) = (
            divmod(position - size + 1, step)
            for position, size, step in zip((y, x), group.kernel, group.stride, strict=True)
        )
        if row >= 0 and column >= 0 and rest_y == rest_x == 0:
            index = row * group.size[1] + column
            sums = group.sums(self.array.columns)[index]
            self._sums[cycle + self.latency] = (setting.index, group.address + index, sums)

    def _weights(self, group: DepthwiseGroup, tap: int) -> int:
        """Return the row of weights of a tap."""
        y, x = divmod(tap, group.kernel[1])
        word = group.weights[y, x].reshape(-1)
        row = group.taps if group.width == 1 else group.kernel[1]
        fields = {
            "word": int.from_bytes(word.tobytes(), "little"),
            "mode": group.setting.index,
            "exponent_limit": group.setting.weight_limit,
            "depthwise": 1,
            "ends_row": int((tap + 1) % row == 0),
            "last": int(tap + 1 == group.taps),
        }
        return _packed(self._row, fields)

    def _add(self, entry: dict[str, int], ready: int, finished: int) -> None:
        for port in entry:
            self.inputs.setdefault(port, [0] * len(self._ready))
        for port, values in self.inputs.items():
            values.append(entry.get(port, 0))
        self._ready.append(ready)
        self._loaded.append(finished)

    def check(self, outputs: Cycles) -> int:
        """Compare every cycle of the outputs; return the number of sums compared."""
        compared = 0
        assert outputs["weights__ready"] == self._ready
        assert outputs["taps_loaded"] == self._loaded
        bits = self.array.partial_sum_bits
        for cycle, valid in enumerate(outputs["partial_sums__valid"]):
            assert valid == (cycle in self._sums), f"cycle {cycle}: valid is {valid}"
            if not valid:
                continue
            index, address, sums = self._sums[cycle]
            mode = self.array.modes[index]
            assert outputs["partial_sums__mode"][cycle] == index
            first = self.array.accumulator_depth - 1
            tag = address | 1 << first.bit_length()
            assert outputs["partial_sums__tag"][cycle] == tag
            word = outputs["partial_sums__sums"][cycle]
            for c, total in enumerate(sums.tolist()):
                got = split_lanes(word >> bits * c, mode.lanes, bits // mode.lanes)
                expected = [total] + [0] * (mode.lanes - 1)
                assert got == expected, f"cycle {cycle}, {mode}, column {c}: {got}, not {expected}"
                compared += 1
        return compared


def _packed(layout: data.Layout, fields: dict[str, Any]) -> int:
    """Return a word of a layout, the fields not named 0."""
    return sum(value << layout[name].offset for name, value in fields.items())
