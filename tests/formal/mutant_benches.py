# amaranth: UnusedElaboratable=no
"""The vectors of the suite for each block of the datapath, to be played on its mutants."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from dybit.hw.edge_decoder import EdgeDecoder
from dybit.hw.encoder import Encoder
from dybit.hw.operand import Operand
from dybit.hw.processing_element import ProcessingElement
from dybit.sim.verilated import CompiledModel
from tests.formal.vector_bench import Rows, VectorBench, stimulus_of
from tests.hw import element_vectors, mp_decoder_vectors, multiplier_vectors
from tests.hw.array_vectors import Setting, settings, split_lanes
from tests.hw.decoded_multiplier import DecodedMultiplier
from tests.hw.encoder_vectors import Output, pack_number, random_cases
from tests.oracles import nearest_codes

__all__ = [
    "decoder_bench",
    "element_bench",
    "every_pair",
    "exhaustive_encoder",
    "multiplier_bench",
    "random_encoder",
]

Cycles = npt.NDArray[np.intp]


def _value(model: CompiledModel, row: Rows, name: str) -> int:
    port = model.outputs[name]
    return int.from_bytes(row[port.offset : port.offset + port.words].tobytes(), "little")


def decoder_bench(model: CompiledModel, spec: Operand, count: int | None = None) -> VectorBench:
    """Return what `mp_decoder_vectors.run` plays and compares, or `count` of its vectors."""
    inputs, expected = mp_decoder_vectors.stimulus(spec)
    inputs = {port: values[:count] + [0] * EdgeDecoder.LATENCY for port, values in inputs.items()}
    expected = expected[:count]

    def wrong(cycles: Cycles, rows: Rows) -> bool:
        seen = set()
        for cycle, row in zip(cycles - EdgeDecoder.LATENCY, rows, strict=True):
            if cycle < 0:
                continue
            bits, values = expected[cycle]
            key = (_value(model, row, "operand"), bits, *values)
            if key not in seen:
                seen.add(key)
                try:
                    got = mp_decoder_vectors.operand_integers(key[0], bits, spec)
                except AssertionError:  # which tells of a field that does not go with another
                    return True
                if got != values:
                    return True
        return False

    return VectorBench(model, stimulus_of(model, inputs), wrong)


def element_bench(model: CompiledModel, dut: ProcessingElement, tiles: int) -> VectorBench:
    """Return what `element_vectors.run` plays and compares."""
    inputs, expected = element_vectors.vectors_of(dut, tiles, seed=5)

    def wrong(cycles: Cycles, rows: Rows) -> bool:
        return any(
            value is not None and _value(model, row, port) != value
            for cycle, row in zip(cycles, rows, strict=True)
            for port, value in expected[cycle].items()
        )

    return VectorBench(model, stimulus_of(model, inputs), wrong)


def multiplier_bench(model: CompiledModel, dut: DecodedMultiplier, count: int) -> VectorBench:
    """Return what `multiplier_vectors.run` plays and compares."""
    array, latency = dut.array, dut.latency
    inputs, expected = multiplier_vectors.random_vectors(array, count, seed=11)
    padded = {port: values + [0] * latency for port, values in inputs.items()}

    def wrong(cycles: Cycles, rows: Rows) -> bool:
        for cycle, row in zip(cycles - latency, rows, strict=True):
            if cycle >= 0:
                index, *lanes = expected[cycle]
                bits = array.partial_sum_lane_bits(array.modes[index])
                if split_lanes(_value(model, row, "sums"), len(lanes), bits) != lanes:
                    return True
        return False

    return VectorBench(model, stimulus_of(model, padded), wrong)


def every_pair(model: CompiledModel, dut: DecodedMultiplier) -> Iterator[VectorBench]:
    """Yield what `multiplier_vectors.every_pair` plays and compares, for the largest limits."""
    for setting in settings(dut.array):
        mode = setting.mode
        widest = setting.activation_limit >= 8 - setting.signed or mode.activation_bits < 8
        if not widest or (mode.weight_bits == 8 and setting.weight_limit < 7):
            continue
        for words, weights in multiplier_vectors.exhaustive(setting, seed=7):
            yield _pairs(model, dut, setting, words, weights)


def _pairs(
    model: CompiledModel,
    dut: DecodedMultiplier,
    setting: Setting,
    words: npt.NDArray[np.int64],
    weights: npt.NDArray[np.int64],
) -> VectorBench:
    array, latency = dut.array, dut.latency
    expected = multiplier_vectors.expected_lanes(setting, words, weights)
    stimulus = multiplier_vectors.pairs(model, dut, setting, words, weights)
    bits = array.partial_sum_lane_bits(setting.mode)

    def wrong(cycles: Cycles, rows: Rows) -> bool:
        late = cycles >= latency
        lanes = model.read_lanes(rows[late], "sums", bits, signed=True)[:, : setting.mode.lanes]
        return bool((lanes != expected[cycles[late] - latency]).any())

    return VectorBench(model, stimulus, wrong)


def exhaustive_encoder(model: CompiledModel, output: Output, count: int) -> VectorBench:
    """Return what `test_encoder_exhaustive` plays and compares, or `count` of its vectors."""
    magnitude_bits = Encoder().magnitude_bits
    bits = magnitude_bits + 3
    words = np.arange(1 << bits)
    if count < words.size:
        words = np.random.default_rng(3).choice(words, count, replace=False)
    magnitude = words >> 1 & (1 << magnitude_bits) - 1
    half, sticky = words >> bits - 2 & 1, words >> bits - 1 & 1
    quarters = magnitude * 4 + half * 2 + sticky
    expected = nearest_codes(np.where(words & 1, -quarters, quarters), output.integers)
    return _codes(model, words | output.word << bits, expected)


def random_encoder(model: CompiledModel, count: int) -> VectorBench:
    """Return numbers of every size with rectified and clamped formats among theirs."""
    cases = list(random_cases(count, seed=7))
    words = np.array([pack_number(quarters, output) for quarters, output in cases])
    return _codes(model, words, np.array([output.code(q, 4) for q, output in cases]))


def _codes(
    model: CompiledModel, words: npt.NDArray[np.int64], expected: npt.NDArray[np.int64]
) -> VectorBench:
    stimulus = model.stimulus(words.size + Encoder.LATENCY)
    stimulus.set("i__valid", 1, at=slice(0, words.size))
    stimulus.set("i__payload", words, at=slice(0, words.size))
    stimulus.set("o__ready", 1)

    def wrong(cycles: Cycles, rows: Rows) -> bool:
        late = cycles >= Encoder.LATENCY
        valid = model.read(rows[late], "o__valid")
        codes = model.read(rows[late], "o__payload")
        return not valid.all() or bool((codes != expected[cycles[late] - Encoder.LATENCY]).any())

    return VectorBench(model, stimulus, wrong)
