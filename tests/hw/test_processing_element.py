"""The processing element, cycle by cycle: weights loaded and swapped, sums lane by lane."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from dybit.hw.mode import mode_shape
from dybit.hw.operand import Signedness, activation_operand, limit_shape
from dybit.hw.processing_element import ProcessingElement
from dybit.quant.array_config import ArrayConfig
from tests.hw.array_vectors import (
    Setting,
    any_setting,
    array_config,
    code_integers,
    pack,
    settings,
    split_lanes,
)
from tests.hw.players import Cycles, play

ALL_MODES = "W8A8 W8A4 W4A8 W4A4 W2A4 W4A2 W2A2"
ARRAYS = {
    "W4A4": array_config(4, 1, "W4A4", "signed"),
    "W8A8-W4A4": array_config(4, 1, "W8A8 W4A4", "both"),
    "W4A4-W2A2": array_config(4, 1, "W4A4 W2A2", "unsigned"),
    "all": array_config(4, 1, ALL_MODES, "both"),
    "all-lut": array_config(4, 1, ALL_MODES, "both", multiplier="lut"),
    "W8A8": array_config(4, 1, "W8A8", "signed"),
    "shared": array_config(4, 1, "W8A8 W4A4 W2A2", "signed", run_time_limits=[1, 2, 3]),
    "per-operand": array_config(
        4, 1, "W4A8 W4A4", "both", run_time_limits=[2, 3], limits_per_operand=True
    ),
}

pytestmark = pytest.mark.rtl


def lane_word(
    array: ArrayConfig, integers: list[int], bits: int, signedness: Signedness, limit: int
) -> int:
    """Return the operand lanes of integers, written by hand from `hw.operand`'s layout."""
    magnitude_bits = signedness.magnitude_bits(bits)
    if bits == 8 and array.multiplier == "dsp":
        return pack(integers, 2 * magnitude_bits)
    if bits == 8:
        (integer,) = integers
        exponent = max(0, abs(integer).bit_length() - magnitude_bits)
        significand = abs(integer) >> exponent
        assert significand << exponent == abs(integer)
        tripled = 3 * significand << 1 + magnitude_bits
        return (integer < 0) | significand << 1 | tripled | exponent << 3 + 2 * magnitude_bits
    if bits == 4 and array.limits_per_operand:
        magnitude_bits = limit = 4
    table = code_integers(magnitude_bits, False, limit)
    lanes = [(integer < 0) | table.index(abs(integer)) << 1 for integer in integers]
    return pack(lanes, 1 + magnitude_bits)


class Model:
    """What an element must do, a cycle a call, on integers instead of operands."""

    def __init__(self, array: ArrayConfig, latency: int, offset: Callable[..., int]) -> None:
        self.array = array
        self.offset = offset
        self.shadow: list[list[int]] = []
        self.active: list[list[int]] = []  # registers start as the value 0
        self.shadow_word = 0
        self.loaded = 0
        self.pipeline: list[tuple[int, list[int]] | None] = [None] * latency
        self.flow = 0
        self.psum: int | None = None  # unknown until an operand gets there

    def outputs(self) -> dict[str, int | None]:
        return {
            "flow_o": self.flow,
            "psum_o": self.psum,
            "weights_o": self.shadow_word,
            "loaded": self.loaded,
        }

    def step(
        self,
        flow: int,
        swap: bool,
        setting: Setting,
        activations: list[int],
        psum: int,
        weights: list[list[int]],
        weights_word: int,
        enable: bool,
        load: bool,
    ) -> None:
        if (leaving := self.pipeline.pop()) is not None:
            mode, sums = self.array.modes[leaving[0]], leaving[1]
            bits = self.array.partial_sum_lane_bits(mode)
            lanes = split_lanes(psum, mode.lanes, bits)
            offset = self.offset(mode)
            self.psum = pack([a + b + offset for a, b in zip(lanes, sums, strict=True)], bits)
        if swap:
            self.active = self.shadow
        sums = [0] * setting.mode.lanes
        if self.active:
            for k in range(setting.mode.channels):
                for lane in range(setting.mode.lanes):
                    sums[lane] += activations[k] * self.active[k][lane]
        self.pipeline.insert(0, (setting.index, sums))
        if enable:
            self.loaded = int(load)
            if load:
                self.shadow, self.shadow_word = weights, weights_word
        self.flow = flow


def vectors_of(
    dut: ProcessingElement, tiles: int, seed: int
) -> tuple[Cycles, list[dict[str, int | None]]]:
    """Return inputs and what the outputs must be in each cycle."""
    rng = random.Random(seed)
    array = dut.array
    operand_bits = activation_operand(array).layout().size
    mode_bits = mode_shape(array).width
    limit_bits = limit_shape(array).width
    inputs: Cycles = {port: [] for port in ("flow_i", "psum_i", "weights_i", "enable", "load")}
    model = Model(array, dut.latency - 1, dut.offset)
    expected = []
    built = settings(array)
    # Weights are those of a mode: they are loaded for the setting they are then used with.
    current = upcoming = any_setting(rng, built)
    pending = False
    for _ in range(tiles):
        for _ in range(rng.randrange(2, 8)):
            enable, load = rng.random() < 0.5, rng.random() < 0.5
            swap = pending and rng.random() < 0.4
            if swap:
                current, pending = upcoming, False
            fresh = any_setting(rng, built)
            weights = [
                [rng.choice(fresh.weights) for _ in range(fresh.mode.lanes)]
                for _ in range(fresh.mode.channels)
            ]
            weights_word = offset = 0
            for k in range(array.word_bytes):
                if k < fresh.mode.channels:
                    lanes = lane_word(
                        array,
                        weights[k],
                        fresh.mode.weight_bits,
                        Signedness.SIGNED,
                        fresh.weight_limit,
                    )
                    weights_word |= lanes << offset
                offset += byte_bits(array, k)
            activations = [rng.choice(current.activations) for _ in range(current.mode.channels)]
            operand = lane_word(
                array,
                activations,
                current.mode.activation_bits,
                Signedness(array.activations),
                # Where both signednesses meet, lanes are those of the unsigned format.
                array.activation_exponent_limit
                if array.activations == "both"
                else current.activation_limit,
            )
            limit = current.shared_limit(array)
            flow = operand | current.index << operand_bits | limit << operand_bits + mode_bits
            flow |= swap << operand_bits + mode_bits + limit_bits
            psum = rng.getrandbits(array.partial_sum_bits)
            expected.append(model.outputs())
            model.step(flow, swap, current, activations, psum, weights, weights_word, enable, load)
            if enable and load:
                upcoming, pending = fresh, True
            values = (flow, psum, weights_word, enable, load)
            for port, value in zip(inputs, values, strict=True):
                inputs[port].append(int(value))
    return inputs, expected


def byte_bits(array: ArrayConfig, byte: int) -> int:
    """Return the width of a decoded weight byte: an 8-bit lane, or narrow ones with a sign each."""
    widths = {mode.weight_bits for mode in array.modes if mode.channels > byte}
    if 8 in widths:
        return 14 if array.multiplier == "dsp" else 20
    return 10 if 4 in widths and array.limits_per_operand else 8


def run(
    array: ArrayConfig,
    player: str,
    tiles: int,
    directory: Path,
    vectors: Callable[[str, int], None],
) -> None:
    dut = ProcessingElement(array)
    inputs, expected = vectors_of(dut, tiles, seed=5)
    outputs = play(dut, "processing_element", inputs, player, directory)
    compared = 0
    for cycle, values in enumerate(expected):
        for port, value in values.items():
            if value is None:
                continue
            got = outputs[port][cycle]
            assert got == value, f"cycle {cycle}: {port} is {got:#x}, not {value:#x}"
            compared += 1
    vectors(f"processing element, {player}", compared)


@pytest.mark.parametrize("name", ARRAYS)
def test_in_amaranth(name: str, tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    run(ARRAYS[name], "amaranth", 300, tmp_path, vectors)


@pytest.mark.cocotb
@pytest.mark.parametrize("name", ["W8A8-W4A4", "all"])
def test_in_cocotb(
    name: str, simulator: str, tmp_path: Path, vectors: Callable[[str, int], None]
) -> None:
    run(ARRAYS[name], simulator, 800, tmp_path, vectors)
