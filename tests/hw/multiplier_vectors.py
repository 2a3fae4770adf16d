# amaranth: UnusedElaboratable=no
"""What the multiplier is given and must compute: every pair of codes, and modes at random."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dybit.hw.verilog import emit
from dybit.quant.array_config import ArrayConfig
from dybit.sim.verilated import CompiledModel, Stimulus
from tests.hw.array_vectors import Setting, any_setting, dot, pack, settings, split_lanes
from tests.hw.decoded_multiplier import DecodedMultiplier
from tests.hw.players import Cycles, play

__all__ = ["every_pair", "exhaustive", "expected_lanes", "pairs", "run"]

Integers = npt.NDArray[np.int64]


def exhaustive(setting: Setting, seed: int) -> Iterator[tuple[Integers, Integers]]:
    """Yield, lane by lane, words and weight bytes with every pair of codes in that lane.

    Words are (n,), weight bytes (n, channels); the other lanes are random.
    """
    mode, rng = setting.mode, np.random.default_rng(seed)
    a_bits, w_bits = mode.activation_bits, mode.weight_bits
    a, w = (grid.ravel() for grid in np.meshgrid(np.arange(1 << a_bits), np.arange(1 << w_bits)))
    for k in range(mode.channels):
        for lane in range(mode.lanes):
            words = rng.integers(0, 256, len(a))
            words = words & ~(((1 << a_bits) - 1) << a_bits * k) | a << a_bits * k
            weights = rng.integers(0, 256, (len(a), mode.channels))
            cleared = weights[:, k] & ~(((1 << w_bits) - 1) << w_bits * lane)
            weights[:, k] = cleared | w << w_bits * lane
            yield words, weights


def expected_lanes(setting: Setting, words: Integers, weights: Integers) -> Integers:
    """Return the sums (n, lanes)."""
    mode = setting.mode
    a_table, w_table = np.array(setting.activations), np.array(setting.weights)
    sums = np.zeros((len(words), mode.lanes), np.int64)
    for k in range(mode.channels):
        a = a_table[words >> mode.activation_bits * k & (1 << mode.activation_bits) - 1]
        for lane in range(mode.lanes):
            code = weights[:, k] >> mode.weight_bits * lane & (1 << mode.weight_bits) - 1
            sums[:, lane] += a * w_table[code]
    return sums


def pairs(
    model: CompiledModel,
    dut: DecodedMultiplier,
    setting: Setting,
    words: Integers,
    weights: Integers,
) -> Stimulus:
    """Return a stimulus of one word and its weights a cycle, and cycles until the last shows."""
    stimulus = model.stimulus(len(words) + dut.latency)
    data = slice(0, len(words))
    stimulus.set("word", words, data)
    stimulus.set_lanes("weights", weights, 8, data)
    stimulus.set("keep", (1 << dut.array.max_channels) - 1)
    stimulus.set("mode", setting.index)
    stimulus.set("is_signed", setting.signed)
    stimulus.set("activation_limit", setting.activation_limit)
    stimulus.set("weight_limit", setting.weight_limit)
    return stimulus


def every_pair(array: ArrayConfig, directory: Path, vectors: Callable[[str, int], None]) -> None:
    dut = DecodedMultiplier(array)
    latency = dut.latency
    emit(dut, "multiplier", directory)
    compared = 0
    with CompiledModel(directory) as model:
        model.reset()
        for setting in settings(array):
            for words, weights in exhaustive(setting, seed=7):
                expected = expected_lanes(setting, words, weights)
                stimulus = pairs(model, dut, setting, words, weights)
                trace = model.play(stimulus)[latency:]
                bits = array.partial_sum_lane_bits(setting.mode)
                lanes = model.read_lanes(trace, "sums", bits, signed=True)
                wrong = np.argwhere(lanes[:, : setting.mode.lanes] != expected)
                assert not len(wrong), (
                    f"{setting}: word {words[wrong[0, 0]]:#04x}, weights {weights[wrong[0, 0]]} "
                    f"gave {lanes[wrong[0, 0]]}, not {expected[wrong[0, 0]]}"
                )
                compared += expected.size
    vectors("multiplier, every pair, compiled", compared)


def random_vectors(array: ArrayConfig, count: int, seed: int) -> tuple[Cycles, list[list[int]]]:
    """Return inputs that change mode every cycle, and the lanes of each cycle's sums."""
    rng = random.Random(seed)
    inputs: Cycles = {}
    expected = []
    built = settings(array)
    for _ in range(count):
        setting = any_setting(rng, built)
        word, keep = rng.randrange(256), rng.randrange(1 << array.max_channels)
        weights = [rng.randrange(256) for _ in range(array.word_bytes)]
        cycle = {
            "word": word,
            "keep": keep,
            "weights": pack(weights, 8),
            "mode": setting.index,
            "is_signed": int(setting.signed),
            "activation_limit": setting.activation_limit,
            "weight_limit": setting.weight_limit,
        }
        for port, value in cycle.items():
            inputs.setdefault(port, []).append(value)
        expected.append([setting.index, *dot(setting, word, keep, weights)])
    return inputs, expected


def run(
    array: ArrayConfig,
    player: str,
    count: int,
    directory: Path,
    vectors: Callable[[str, int], None],
) -> None:
    dut = DecodedMultiplier(array)
    latency = dut.latency
    inputs, expected = random_vectors(array, count, seed=11)
    padded = {port: values + [0] * latency for port, values in inputs.items()}
    outputs = play(dut, "multiplier", padded, player, directory)
    for cycle, (index, *lanes) in enumerate(expected):
        bits = array.partial_sum_lane_bits(array.modes[index])
        got = split_lanes(outputs["sums"][cycle + latency], len(lanes), bits)
        assert got == lanes, f"cycle {cycle}, {array.modes[index]}: {got}, not {lanes}"
    vectors(f"multiplier, {player}", sum(len(lanes) - 1 for lanes in expected))
