"""The emitted requantizer in Verilator and Icarus: see `cocotb_benches.requantizer_tests`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dybit.hw.requantizer import Requantizer
from tests.hw.cocotb_runner import run_bench

pytestmark = [pytest.mark.rtl, pytest.mark.cocotb]


@pytest.mark.parametrize(
    ("accumulator_bits", "sum_bits", "widths"), [(48, 48, (2, 4, 8)), (22, 22, (2, 4))], ids=str
)
def test_requantizer(
    accumulator_bits: int,
    sum_bits: int,
    widths: tuple[int, ...],
    simulator: str,
    tmp_path: Path,
    vectors: Callable[[str, int], None],
) -> None:
    count = run_bench(
        Requantizer(accumulator_bits, sum_bits, widths),
        f"requantizer_{accumulator_bits}",
        "requantizer_tests",
        tmp_path,
        simulator=simulator,
        parameters={
            "accumulator_bits": accumulator_bits,
            "sum_bits": sum_bits,
            "widths": widths,
            "latency": Requantizer.LATENCY,
        },
    )
    vectors(f"requantizer {accumulator_bits} bits, cocotb, {simulator}", count)
