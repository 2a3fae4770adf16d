"""What tests of the self-test share: arrays, and a serial line read back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tests.hw.array_vectors import array_config

__all__ = ["SMALL", "TINY", "serial_text"]

SMALL = array_config(2, 2, "W8A8 W4A4 W2A2", max_reduction=16, accumulator_depth=8)
TINY = array_config(1, 1, "W4A4 W2A2", "signed", max_reduction=8, accumulator_depth=8)


def serial_text(tx: npt.NDArray[Any], divisor: int) -> str:
    """Return what a line says, sampled once a cycle: 8 data bits, the stop bit checked."""
    text, at = "", 0
    while True:
        starts = np.flatnonzero(tx[at:] == 0)
        if not starts.size:
            return text
        first = at + int(starts[0]) + divisor // 2
        bits = tx[first : first + 10 * divisor : divisor]
        if len(bits) < 10:
            return text
        assert bits[0] == 0, f"a start bit is too short at cycle {first}"
        assert bits[9] == 1, f"no stop bit at cycle {first}"
        text += chr(sum(int(bit) << place for place, bit in enumerate(bits[1:9])))
        at = first + 9 * divisor
