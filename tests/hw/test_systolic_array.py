"""The systolic array against exact sums: geometries, modes, swaps, stalls and resets."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from dybit.hw.systolic_array import SystolicArray
from tests.hw.array_vectors import array_config, esb_arrays
from tests.hw.players import play
from tests.hw.systolic_vectors import ArrayTraffic, run

ALL_MODES = "W8A8 W8A4 W4A8 W4A4 W2A4 W4A2 W2A2"

ARRAYS = {
    "1x1-all": array_config(1, 1, ALL_MODES),
    "1x5-W4A4": array_config(1, 5, "W4A4", "signed"),
    "5x1-W8A8": array_config(5, 1, "W8A8", "both"),
    "2x3-all": array_config(2, 3, ALL_MODES, "both"),
    "4x3-W8A8-W4A4": array_config(4, 3, "W8A8 W4A4", "unsigned"),
    "3x4-W4A4-W2A2": array_config(3, 4, "W4A4 W2A2", "signed"),
    "8x8-W8A8-W4A4": array_config(8, 8, "W8A8 W4A4", "both"),
    "3x2-all": array_config(3, 2, ALL_MODES, "both"),
    "12x9-W4A4": array_config(12, 9, "W4A4", "both"),
}
ESB_ARRAYS = esb_arrays(3, 2)
SIMULATED = ["1x1-all", "5x1-W8A8", "2x3-all", "3x4-W4A4-W2A2", "esb-k0", "esb-k1", "esb-k2"]
COMPILED = list(ARRAYS)
COSIMULATED = ["1x5-W4A4", "2x3-all", "4x3-W8A8-W4A4", "esb-k2-k6-lut"]
LARGE = "8x8-W8A8-W4A4"
ARRAYS |= ESB_ARRAYS

pytestmark = pytest.mark.rtl


@pytest.mark.parametrize("case", SIMULATED)
def test_in_amaranth(case: str, tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    run(ARRAYS[case], "amaranth", 30, tmp_path, vectors)


@pytest.mark.parametrize("case", COMPILED)
def test_compiled(case: str, tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    run(ARRAYS[case], "compiled", 300, tmp_path, vectors)


# Icarus, many times slower, plays the large one in the full suite.
@pytest.mark.cocotb
@pytest.mark.parametrize(
    ("simulator", "case"),
    [
        *product(["verilator", "icarus"], COSIMULATED),
        ("verilator", LARGE),
        pytest.param("icarus", LARGE, marks=pytest.mark.full),
    ],
    indirect=["simulator"],
)
def test_in_cocotb(
    case: str, simulator: str, tmp_path: Path, vectors: Callable[[str, int], None]
) -> None:
    run(ARRAYS[case], simulator, 40, tmp_path, vectors)


@pytest.mark.parametrize("case", ["1x1-all", "2x3-all"])
def test_mode_changes_without_an_idle_cycle(
    case: str, tmp_path: Path, vectors: Callable[[str, int], None]
) -> None:
    array, tiles = ARRAYS[case], 50
    dut = SystolicArray(array, 8)
    traffic = ArrayTraffic(array, dut.latency, tiles, seed=2, dense=True)
    outputs = play(dut, "systolic_array", traffic.inputs, "compiled", tmp_path)
    valid = outputs["partial_sums__valid"]
    start = valid.index(1)
    assert valid[start : start + tiles * array.rows] == [1] * (tiles * array.rows)
    assert len(set(outputs["partial_sums__mode"][start:])) == len(array.modes)
    vectors("systolic array, no idle cycle", traffic.check(outputs))
