"""The processing element, cycle by cycle: weights loaded and swapped, sums lane by lane."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hw.array_vectors import array_config, esb_arrays
from tests.hw.element_vectors import run

ALL_MODES = "W8A8 W8A4 W4A8 W4A4 W2A4 W4A2 W2A2"
ARRAYS = {
    "W4A4": array_config(4, 1, "W4A4", "signed"),
    "W8A8-W4A4": array_config(4, 1, "W8A8 W4A4", "both"),
    "W4A4-W2A2": array_config(4, 1, "W4A4 W2A2", "unsigned"),
    "all": array_config(4, 1, ALL_MODES, "both"),
    "all-lut": array_config(4, 1, ALL_MODES, "both", multiplier="lut"),
    "W8A8": array_config(4, 1, "W8A8", "signed"),
    "limits": array_config(4, 1, "W8A8 W4A4 W2A2", "signed", run_time_limits=[1, 2, 3]),
    "limits-both": array_config(4, 1, "W4A8 W4A4", "both", run_time_limits=[2, 3]),
    **esb_arrays(4, 1),
}

pytestmark = pytest.mark.rtl


@pytest.mark.parametrize("name", ARRAYS)
def test_in_amaranth(name: str, tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    run(ARRAYS[name], "amaranth", 300, tmp_path, vectors)


@pytest.mark.cocotb
@pytest.mark.parametrize("name", ["W8A8-W4A4", "all", "esb-k2-k5-dsp"])
def test_in_cocotb(
    name: str, simulator: str, tmp_path: Path, vectors: Callable[[str, int], None]
) -> None:
    run(ARRAYS[name], simulator, 800, tmp_path, vectors)
