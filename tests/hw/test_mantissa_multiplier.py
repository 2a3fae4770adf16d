# amaranth: UnusedElaboratable=no
"""The multiplier: every pair of codes in every lane of every mode, signedness and limit."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from dybit.hw.product_table import ProductTable
from dybit.hw.verilog import emit
from dybit.quant.array_config import ArrayConfig
from dybit.sim.verilated import CompiledModel
from tests.hw.array_vectors import (
    Setting,
    any_setting,
    array_config,
    dot,
    esb_arrays,
    pack,
    settings,
    split_lanes,
)
from tests.hw.decoded_multiplier import DecodedMultiplier
from tests.hw.players import Cycles, play

Integers = npt.NDArray[np.int64]

ALL_MODES = "W8A8 W8A4 W4A8 W4A4 W2A4 W4A2 W2A2"
ARRAYS = {
    "all-both": array_config(4, 1, ALL_MODES, "both"),
    "all-signed": array_config(4, 1, ALL_MODES, "signed"),
    "all-unsigned": array_config(4, 1, ALL_MODES, "unsigned"),
    "narrow-r3": array_config(
        2, 1, "W4A4 W2A4 W4A2 W2A2", activation_exponent_limit=3, weight_exponent_limit=3
    ),
    "narrow-r2": array_config(
        2, 1, "W8A4 W4A8 W4A4", activation_exponent_limit=2, weight_exponent_limit=2
    ),
    "narrow-r1": array_config(
        2, 1, "W4A4 W2A4 W4A2", "signed", activation_exponent_limit=1, weight_exponent_limit=1
    ),
    "mixed-limits": array_config(
        2, 1, "W4A4 W8A4", activation_exponent_limit=4, weight_exponent_limit=1
    ),
    "all-both-lut": array_config(4, 1, ALL_MODES, "both", multiplier="lut"),
    "all-signed-lut": array_config(4, 1, ALL_MODES, "signed", multiplier="lut"),
    "limits-signed": array_config(2, 1, ALL_MODES, "signed", run_time_limits=[1, 2, 3]),
    "limits-both": array_config(2, 1, "W4A4 W2A4 W8A4", "both", run_time_limits=[2, 3]),
    "limits-lut": array_config(
        2, 1, "W8A4 W4A8 W4A4", "signed", run_time_limits=[2, 3], multiplier="lut"
    ),
    "W8A8-W4A4-lut": array_config(4, 1, "W8A8 W4A4", "unsigned", multiplier="lut"),
    **esb_arrays(2, 1),
}

SIMULATED = ["esb-k0", "esb-k1", "esb-k2", "esb-k2-k5-dsp"]
"""Arrays that are compiled as parts of others, or whose like is."""

pytestmark = pytest.mark.rtl


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
                stimulus = model.stimulus(len(words) + latency)
                data = slice(0, len(words))
                stimulus.set("word", words, data)
                stimulus.set_lanes("weights", weights, 8, data)
                stimulus.set("keep", (1 << array.max_channels) - 1)
                stimulus.set("mode", setting.index)
                stimulus.set("is_signed", setting.signed)
                stimulus.set("activation_limit", setting.activation_limit)
                stimulus.set("weight_limit", setting.weight_limit)
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


@pytest.mark.parametrize("name", [name for name in ARRAYS if name not in SIMULATED])
def test_every_pair(name: str, tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    every_pair(ARRAYS[name], tmp_path, vectors)


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


@pytest.mark.parametrize("name", ["all-both", "narrow-r2", "narrow-r1", *SIMULATED])
def test_in_amaranth(name: str, tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    run(ARRAYS[name], "amaranth", 3000, tmp_path, vectors)


@pytest.mark.cocotb
@pytest.mark.parametrize("name", ["all-both", "narrow-r2", "esb-k2-k6-lut"])
def test_in_cocotb(
    name: str, simulator: str, tmp_path: Path, vectors: Callable[[str, int], None]
) -> None:
    run(ARRAYS[name], simulator, 10000, tmp_path, vectors)


@pytest.mark.cocotb
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_every_w8a8_pair_in_cocotb(
    signed: bool, simulator: str, tmp_path: Path, vectors: Callable[[str, int], None]
) -> None:
    array = array_config(1, 1, "W8A8", "both")
    dut = DecodedMultiplier(array)
    latency = dut.latency
    setting = next(
        s
        for s in settings(array)
        if s.signed == signed and s.activation_limit == 8 - signed and s.weight_limit == 7
    )
    ((words, weights),) = exhaustive(setting, seed=7)
    expected = expected_lanes(setting, words, weights)[:, 0].tolist()
    inputs = {
        "word": [*words.tolist(), *[0] * latency],
        "weights": [*weights[:, 0].tolist(), *[0] * latency],
    }
    length = len(words) + latency
    constant = {
        "keep": 1,
        "is_signed": int(signed),
        "activation_limit": setting.activation_limit,
        "weight_limit": setting.weight_limit,
    }
    inputs |= {port: [value] * length for port, value in constant.items()}
    outputs = play(dut, "multiplier", inputs, simulator, tmp_path)
    bits = array.partial_sum_bits
    got = [split_lanes(word, 1, bits)[0] for word in outputs["sums"][latency:]]
    assert got == expected
    vectors(f"multiplier, every W8A8 pair, {simulator}", len(expected))


@pytest.mark.parametrize("integers", [[], [1], [1, 2, 3]])
def test_table_refuses_sizes(integers: list[int]) -> None:
    with pytest.raises(ValueError, match="a_integers must have a power of two of entries, not"):
        ProductTable(integers, [0, 1])
