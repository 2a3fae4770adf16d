"""The emitted encoder in Verilator and Icarus: see `cocotb_benches.encoder_tests`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path

import pytest

from tests.hw.cocotb_runner import run_bench
from tests.hw.encoder_vectors import FORMATS, Output
from tests.hw.encoders import encoder_of

pytestmark = [pytest.mark.rtl, pytest.mark.cocotb]

BUILDS = {
    "248": FORMATS,
    "24": [output for output in FORMATS if output.bits < 8],
    "2": [output for output in FORMATS if output.bits == 2],
    "esb_k0_k3": [Output(4, True, 0, k=0), Output(8, True, 0, k=3)],
    "esb_k2_k4": [Output(4, True, 0, k=2), Output(8, True, 0, k=4)],
}


# Icarus, many times slower, runs the largest build of each family.
@pytest.mark.parametrize(
    ("simulator", "name"),
    [*product(["verilator"], BUILDS), *product(["icarus"], ["248", "esb_k2_k4"])],
    indirect=["simulator"],
)
def test_encoder(
    name: str,
    simulator: str,
    tmp_path: Path,
    vectors: Callable[[str, int], None],
) -> None:
    built: Sequence[Output] = BUILDS[name]
    dut = encoder_of(built)
    parameters = {
        "formats": [asdict(output) for output in built],
        "magnitude_bits": dut.magnitude_bits,
        "latency": dut.LATENCY,
    }
    count = run_bench(
        dut,
        f"encoder_{name}",
        "encoder_tests",
        tmp_path,
        simulator=simulator,
        parameters=parameters,
    )
    vectors(f"encoder {name}, cocotb, {simulator}", count)
