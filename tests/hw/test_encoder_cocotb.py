"""The emitted encoder in Verilator and Icarus: see `cocotb_benches.encoder_tests`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dybit.hw.encoder import Encoder
from tests.hw.cocotb_runner import run_bench

pytestmark = [pytest.mark.rtl, pytest.mark.cocotb]


@pytest.mark.parametrize("widths", [(2, 4, 8), (2, 4), (2,)], ids=str)
def test_encoder(
    widths: tuple[int, ...],
    simulator: str,
    tmp_path: Path,
    vectors: Callable[[str, int], None],
) -> None:
    name = f"encoder_{''.join(map(str, widths))}"
    parameters = {"widths": widths, "latency": Encoder.LATENCY}
    count = run_bench(
        Encoder(widths), name, "encoder_tests", tmp_path, simulator=simulator, parameters=parameters
    )
    vectors(f"encoder {widths}, cocotb, {simulator}", count)
