"""Numbers for a single multiplier: every code of every width against the integer it stands for."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from dybit.hw.depthwise_tap import activation_number, weight_number
from dybit.hw.number_decoder import NumberDecoder, number_layout
from dybit.quant.array_config import ArrayConfig
from tests.hw.array_vectors import array_config, esb_arrays, settings
from tests.hw.players import Cycles, play

ALL_MODES = "W8A8 W8A4 W4A8 W4A4 W2A4 W4A2 W2A2"
ARRAYS = {
    "all": array_config(1, 1, ALL_MODES),
    "all-lut": array_config(1, 1, ALL_MODES, multiplier="lut"),
    "unsigned-8-bits-lut": array_config(1, 1, "W8A8", "unsigned", multiplier="lut"),
    "signed-narrow": array_config(1, 1, "W4A4 W2A2", "signed", weight_exponent_limit=2),
    "narrow-lut": array_config(1, 1, "W4A2", "both", multiplier="lut"),
    "run-time": array_config(1, 1, "W8A8 W4A4", run_time_limits=[1, 2, 3]),
    "run-time-lut": array_config(1, 1, "W4A4", run_time_limits=[1, 3], multiplier="lut"),
    **esb_arrays(1, 1),
}
SEED = 3

pytestmark = pytest.mark.rtl


def vectors_of(array: ArrayConfig, weights: bool) -> tuple[Cycles, list[int]]:
    """Return inputs, and the integer of each."""
    rng = random.Random(SEED)
    inputs: Cycles = {port: [] for port in ("code", "keep", "width", "is_signed", "exponent_limit")}
    expected = []
    seen = set()
    for setting in settings(array):
        bits = setting.mode.weight_bits if weights else setting.mode.activation_bits
        limit = setting.weight_limit if weights else setting.activation_limit
        integers = setting.weights if weights else setting.activations
        # Modes share widths.
        if (bits, weights or setting.signed, limit) in seen:
            continue
        seen.add((bits, weights or setting.signed, limit))
        for code, integer in enumerate(integers):
            for keep in (1,) if weights else (0, 1):
                inputs["code"].append(code | rng.getrandbits(8 - bits) << bits)
                inputs["keep"].append(keep)
                inputs["width"].append({2: 0, 4: 1, 8: 2}[bits])
                inputs["is_signed"].append(int(weights or setting.signed))
                inputs["exponent_limit"].append(limit)
                expected.append(integer * keep)
    for values in inputs.values():
        values += values[-1:] * NumberDecoder.LATENCY
    return inputs, expected


@pytest.mark.parametrize("weights", [False, True], ids=["activations", "weights"])
@pytest.mark.parametrize("name", ARRAYS)
def test_in_amaranth(
    name: str, weights: bool, tmp_path: Path, vectors: Callable[[str, int], None]
) -> None:
    number_of = weight_number if weights else activation_number
    spec, largest = number_of(ARRAYS[name])
    inputs, expected = vectors_of(ARRAYS[name], weights)
    outputs = play(NumberDecoder(spec, largest), "number_decoder", inputs, "amaranth", tmp_path)
    numbers = outputs["number"][NumberDecoder.LATENCY :]
    layout = number_layout(spec, largest)
    for index, (word, integer) in enumerate(zip(numbers, expected, strict=True)):
        number = layout.from_bits(word)
        if ARRAYS[name].multiplier == "dsp":
            got = number.integer
        else:
            got = (-1) ** number.sign * number.significand << number.exponent
        assert got == integer, f"{ {port: values[index] for port, values in inputs.items()} }"
    vectors("number decoder, amaranth", len(expected))
