"""The whole accelerator, emitted, behind cocotbext-axi's models of memory and host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dybit.hw.accelerator import Accelerator
from dybit.hw.descriptor_check import CHECKS
from dybit.hw.registers import REGISTERS
from dybit.quant.accelerator_config import AcceleratorConfig
from tests.hw.array_vectors import array_config
from tests.hw.cocotb_runner import run_bench

MEMORIES = {
    "activation_words": 256,
    "output_words": 1024,
    "parameter_groups": 16,
    "weight_rows": 32,
    "depthwise_width": 16,
}
DESIGNS = {
    "4x4": (
        array_config(4, 4, "W8A8 W4A4 W2A2", accumulator_depth=128),
        AcceleratorConfig(**MEMORIES),
    ),
    "8x4": (
        array_config(8, 4, "W8A8 W4A4 W2A2", "signed", accumulator_depth=128),
        AcceleratorConfig(**MEMORIES, depthwise_kernel=3),
    ),
}
RUNS = "accelerator_tests"
ALL = (RUNS, "accelerator_length_tests", "accelerator_error_tests")

pytestmark = [pytest.mark.rtl, pytest.mark.cocotb]


def run(
    design: str,
    benches: str | tuple[str, ...],
    folder: Path,
    simulator: str,
    seed: int,
    scale: int,
    resets: int = 6,
) -> int:
    """Run benches on a design, each `scale` times as long; return the bytes they compared."""
    print(f"seed {seed}")
    array, accelerator = DESIGNS[design]
    return run_bench(
        Accelerator(array, accelerator),
        "accelerator",
        benches,
        folder,
        simulator=simulator,
        seed=seed,
        parameters={
            "array": array.model_dump(mode="json"),
            "accelerator": accelerator.model_dump(mode="json"),
            "offsets": {register.name: register.offset for register in REGISTERS},
            "rules": list(CHECKS),
            "scale": scale,
            "resets": resets,
        },
    )


@pytest.mark.long
def test_verilator(tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    vectors("accelerator 8x4, cocotb, verilator", run("8x4", ALL, tmp_path, "verilator", 1, 1))


@pytest.mark.long
def test_icarus(
    tmp_path: Path, vectors: Callable[[str, int], None], debian_tool: Callable[[str], str]
) -> None:
    debian_tool("iverilog")
    count = run("4x4", RUNS, tmp_path, "icarus", 2, 1, resets=2)
    vectors("accelerator 4x4, cocotb, icarus", count)


@pytest.mark.full
@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("seed", range(3, 7))
def test_at_length(
    design: str, seed: int, tmp_path: Path, vectors: Callable[[str, int], None]
) -> None:
    count = run(design, ALL, tmp_path, "verilator", seed, 25)
    vectors(f"accelerator {design}, cocotb, at length", count)


@pytest.mark.full
@pytest.mark.parametrize("design", DESIGNS)
def test_all_with_icarus(
    design: str,
    tmp_path: Path,
    vectors: Callable[[str, int], None],
    debian_tool: Callable[[str], str],
) -> None:
    debian_tool("iverilog")
    vectors(f"accelerator {design}, cocotb, icarus", run(design, ALL, tmp_path, "icarus", 8, 2))
