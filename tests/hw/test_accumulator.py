"""The accumulator: additions and reads at random, each as soon as it may be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dybit.hw.accumulator import Accumulator
from tests.hw.accumulator_vectors import run
from tests.hw.array_vectors import array_config
from tests.hw.players import Cycles, play

ALL_MODES = "W8A8 W8A4 W4A8 W4A4 W2A4 W4A2 W2A2"
ARRAYS = {
    "W8A8": array_config(4, 1, "W8A8", accumulator_depth=1),
    "W4A4-W2A2": array_config(4, 1, "W4A4 W2A2", accumulator_depth=12),
    "all": array_config(4, 1, ALL_MODES, accumulator_depth=16),
}

pytestmark = pytest.mark.rtl


@pytest.mark.parametrize("name", ARRAYS)
def test_in_amaranth(name: str, tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    run(ARRAYS[name], "amaranth", 3000, tmp_path, vectors)


@pytest.mark.parametrize("name", ARRAYS)
def test_compiled(name: str, tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    run(ARRAYS[name], "compiled", 20000, tmp_path, vectors)


@pytest.mark.parametrize("distance", [Accumulator.REVISIT - 1, Accumulator.REVISIT])
def test_a_word_may_be_used_again_from_revisit_on_and_not_before(
    distance: int, tmp_path: Path
) -> None:
    cycles = 2 * Accumulator.REVISIT + Accumulator.READ_LATENCY + 1
    ports = ("valid", "sums", "mode", "address", "first", "read_address", "read_lane", "read_mode")
    inputs: Cycles = {port: [0] * cycles for port in ports}
    for cycle, value in ((0, 5), (distance, 7)):
        inputs["valid"][cycle], inputs["sums"][cycle] = 1, value
    inputs["first"][0] = 1
    lane = play(Accumulator(ARRAYS["W8A8"]), "accumulator", inputs, "amaranth", tmp_path)["lane"]
    late_enough = distance == Accumulator.REVISIT
    assert lane[distance + Accumulator.READ_LATENCY] == (5 if late_enough else 0)
    assert lane[-1] == (12 if late_enough else 7)


@pytest.mark.cocotb
@pytest.mark.parametrize("name", ["W4A4-W2A2", "all"])
def test_in_cocotb(
    name: str, simulator: str, tmp_path: Path, vectors: Callable[[str, int], None]
) -> None:
    run(ARRAYS[name], simulator, 3000, tmp_path, vectors)
