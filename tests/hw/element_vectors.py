"""What an element is given and must show, cycle by cycle, for every way to play it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dybit.hw.mode import mode_shape
from dybit.hw.operand import Signedness, activation_operand
from dybit.hw.processing_element import ProcessingElement
from dybit.quant.array_config import ArrayConfig
from tests.hw.array_vectors import (
    Setting,
    any_setting,
    code_integers,
    floating_code,
    pack,
    settings,
    split_lanes,
)
from tests.hw.players import Cycles, play
from tests.oracles import ESB_4_BITS

__all__ = ["compare", "run", "vectors_of"]

ESB_8_BITS = {3: (4, 4, 19), 4: (5, 3, 12), 5: (6, 2, 9), 6: (8, 0, 9)}
"""Bits of significand, exponent and signed integer of 8-bit ESB, by fraction bits."""


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
    if bits == 4 and array.run_time_limits:
        odd_bits = 2 if signedness is not Signedness.SIGNED or 1 in array.run_time_limits else 1
        codes = [(x < 0) | floating_code(abs(x), odd_bits) << 1 for x in integers]
        return pack(codes, 4 + odd_bits)
    table = code_integers(magnitude_bits, False, limit)
    lanes = [(integer < 0) | table.index(abs(integer)) << 1 for integer in integers]
    return pack(lanes, 1 + magnitude_bits)


def esb_lane_word(array: ArrayConfig, integers: list[int], bits: int, padded: bool) -> int:
    """Return the operand lanes of integers of ESB, written by hand from `hw.operand_layout`."""
    if bits == 4:
        table = list(ESB_4_BITS[array.esb_k4])
        # On the grid without a zero, the codes of activations begin with those of 0.
        missing = 8 if array.esb_k4 == 2 and padded else 0
        codes = [0 if x == 0 and missing else table.index(abs(x)) + missing for x in integers]
        lanes = [(x < 0) | code << 1 for x, code in zip(integers, codes, strict=True)]
        return pack(lanes, 5 if missing else 4)
    size, exponent_bits, integer_bits = ESB_8_BITS[array.esb_k8]
    if array.multiplier == "dsp":
        return pack(integers, integer_bits)
    (integer,) = integers
    exponent = max(0, abs(integer).bit_length() - size)
    significand = abs(integer) >> exponent
    assert significand << exponent == abs(integer)
    assert exponent < 1 << exponent_bits
    tripled = 3 * significand << 1 + size
    return (integer < 0) | significand << 1 | tripled | exponent << 3 + 2 * size


class Model:
    """What an element must do, a cycle a call, on integers instead of operands."""

    def __init__(self, array: ArrayConfig, latency: int, offset: Callable[..., int]) -> None:
        self.array = array
        self.offset = offset
        self.no_zero = array.family == "esb" and array.esb_k4 == 2
        self.shadow: list[list[int]] = []
        self.active: list[list[int]] = []
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
        mode = setting.mode
        # Registers start as code 0: the value 0, or on the grid without a zero the smallest.
        first = int(self.no_zero and mode.weight_bits == 4)
        active = self.active or [[first] * mode.lanes] * mode.channels
        sums = [
            sum(activations[k] * active[k][lane] for k in range(mode.channels))
            for lane in range(mode.lanes)
        ]
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
                if k < fresh.mode.channels and array.family == "esb":
                    bits = fresh.mode.weight_bits
                    weights_word |= esb_lane_word(array, weights[k], bits, False) << offset
                elif k < fresh.mode.channels:
                    lanes = lane_word(
                        array,
                        weights[k],
                        fresh.mode.weight_bits,
                        Signedness.SIGNED,
                        fresh.weight_limit,
                    )
                    weights_word |= lanes << offset
                offset += byte_bits(array, k)
            # What is padding is 0 whether the format has it or not.
            values = [*current.activations, 0]
            activations = [rng.choice(values) for _ in range(current.mode.channels)]
            if array.family == "esb":
                operand = esb_lane_word(array, activations, current.mode.activation_bits, True)
            else:
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
            flow = operand | current.index << operand_bits | swap << operand_bits + mode_bits
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
    if 8 in widths and array.family == "esb":
        size, exponent_bits, integer_bits = ESB_8_BITS[array.esb_k8]
        return integer_bits if array.multiplier == "dsp" else 3 + 2 * size + exponent_bits
    if 8 in widths:
        return 14 if array.multiplier == "dsp" else 20
    return (
        2 * (6 if 1 in array.run_time_limits else 5) if 4 in widths and array.run_time_limits else 8
    )


def compare(outputs: Mapping[str, Sequence[int]], expected: list[dict[str, int | None]]) -> int:
    """Compare what the ports showed with what they must, where it is known; return how much."""
    compared = 0
    for cycle, values in enumerate(expected):
        for port, value in values.items():
            if value is None:
                continue
            got = int(outputs[port][cycle])
            assert got == value, f"cycle {cycle}: {port} is {got:#x}, not {value:#x}"
            compared += 1
    return compared


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
    vectors(f"processing element, {player}", compare(outputs, expected))
