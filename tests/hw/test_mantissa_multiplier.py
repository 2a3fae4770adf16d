# amaranth: UnusedElaboratable=no
"""The multiplier: every pair of codes in every lane of every mode, signedness and limit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dybit.hw.product_table import ProductTable
from tests.hw.array_vectors import array_config, esb_arrays, settings, split_lanes
from tests.hw.decoded_multiplier import DecodedMultiplier
from tests.hw.multiplier_vectors import every_pair, exhaustive, expected_lanes, run
from tests.hw.players import play

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


@pytest.mark.parametrize("name", [name for name in ARRAYS if name not in SIMULATED])
def test_every_pair(name: str, tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    every_pair(ARRAYS[name], tmp_path, vectors)


@pytest.mark.parametrize("name", ["all-both", "narrow-r2", "narrow-r1", *SIMULATED])
def test_in_amaranth(name: str, tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    run(ARRAYS[name], "amaranth", 1500, tmp_path, vectors)


@pytest.mark.cocotb
@pytest.mark.parametrize("name", ["all-both", "narrow-r2", "esb-k2-k6-lut"])
def test_in_cocotb(
    name: str, simulator: str, tmp_path: Path, vectors: Callable[[str, int], None]
) -> None:
    run(ARRAYS[name], simulator, 3000, tmp_path, vectors)


# Icarus plays modes and codes at random above; all pairs take it longer than all else here.
@pytest.mark.cocotb
@pytest.mark.parametrize(
    "simulator",
    ["verilator", pytest.param("icarus", marks=pytest.mark.full)],
    indirect=True,
)
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
