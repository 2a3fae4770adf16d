"""The emitted requantizer in Verilator and Icarus: see `cocotb_benches.requantizer_tests`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from dybit.hw.requantizer import Requantizer
from tests.hw.cocotb_runner import run_bench
from tests.hw.encoder_vectors import FORMATS, Output
from tests.hw.encoders import encoder_of

pytestmark = [pytest.mark.rtl, pytest.mark.cocotb]

NARROW = [output for output in FORMATS if output.bits < 8]
ESB = [Output(4, True, 0, k=2), Output(8, True, 0, k=4)]


@pytest.mark.parametrize(
    ("bits", "built"), [(48, FORMATS), (22, NARROW), (32, ESB)], ids=["48", "22", "32-esb"]
)
def test_requantizer(
    bits: int,
    built: list[Output],
    simulator: str,
    tmp_path: Path,
    vectors: Callable[[str, int], None],
) -> None:
    count = run_bench(
        Requantizer(bits, bits, encoder_of(built)),
        f"requantizer_{bits}",
        "requantizer_tests",
        tmp_path,
        simulator=simulator,
        parameters={
            "accumulator_bits": bits,
            "sum_bits": bits,
            "formats": [asdict(output) for output in built],
            "latency": Requantizer.LATENCY,
        },
    )
    vectors(f"requantizer {bits} bits, cocotb, {simulator}", count)
