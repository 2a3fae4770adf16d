# amaranth: UnusedElaboratable=no
"""The depthwise unit against sums over windows: kernels, strides, modes, swaps and resets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Fragment

from dybit.hw.depthwise_unit import DepthwiseUnit
from dybit.hw.systolic_array import SystolicArray
from dybit.hw.verilog import emit
from dybit.quant.accelerator_config import AcceleratorConfig
from tests.hw.array_vectors import array_config
from tests.hw.depthwise_vectors import DepthwiseTraffic
from tests.hw.players import play
from tests.hw.verilog_checks import check_with_icarus, check_with_verilator, check_with_yosys

ALL_MODES = "W8A8 W8A4 W4A8 W4A4 W2A4 W4A2 W2A2"
LUT: dict[str, Any] = {"multiplier": "lut", "accumulator_depth": 64}
DSP: dict[str, Any] = {"multiplier": "dsp", "accumulator_depth": 64}
ESB: dict[str, Any] = {"family": "esb", "activations": "signed"}
SEED = 8

# The array, and the largest side of a kernel.
UNITS = {
    "4x4-W8A8-W4A4-W2A2": (array_config(4, 4, "W8A8 W4A4 W2A2", **DSP), 3),
    "8x4-all": (array_config(8, 4, ALL_MODES, **DSP), 3),
    "8x4-all-lut": (array_config(8, 4, ALL_MODES, **LUT), 3),
    "4x4-W4A4-lut": (array_config(4, 4, "W4A4", "signed", **LUT), 2),
    "8x8-W8A8": (array_config(8, 8, "W8A8", "unsigned", **DSP), 2),
    "4x4-run-time": (array_config(4, 4, "W8A8 W4A4", run_time_limits=[1, 2, 3], **DSP), 1),
    "8x4-esb": (array_config(8, 4, "W8A8 W8A4 W4A8 W4A4", esb_k4=2, esb_k8=6, **DSP, **ESB), 2),
    "8x4-esb-lut": (array_config(8, 4, "W8A8 W4A4", esb_k4=2, esb_k8=3, **LUT, **ESB), 3),
    "16x4-W8A8-W4A4-lut": (array_config(16, 4, "W8A8 W4A4", **LUT), 5),
    "16x4-W4A4-W2A2": (array_config(16, 4, "W4A4 W2A2", **DSP), 7),
}
pytestmark = pytest.mark.rtl


def unit(name: str) -> DepthwiseUnit:
    array, kernel = UNITS[name]
    accelerator = AcceleratorConfig(depthwise_kernel=kernel, depthwise_width=16)
    accelerator.check_array(array)
    return DepthwiseUnit(array, accelerator)


def run(
    name: str,
    player: str,
    groups: int,
    directory: Path,
    vectors: Callable[[str, int], None],
    *,
    dense: bool = False,
) -> DepthwiseTraffic:
    dut = unit(name)
    print(f"seed {SEED}")
    traffic = DepthwiseTraffic(dut.array, dut.accelerator, dut.latency, groups, SEED, dense=dense)
    outputs = play(dut, "depthwise_unit", traffic.inputs, player, directory)
    vectors(f"depthwise unit, {player}", traffic.check(outputs))
    return traffic


@pytest.mark.parametrize("name", UNITS)
def test_in_amaranth(name: str, tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    # Large kernels make for many cycles.
    groups = 36 // UNITS[name][1]
    run(name, "amaranth", groups, tmp_path, vectors)


def test_compiled(tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    run("8x4-all", "compiled", 200, tmp_path, vectors)


@pytest.mark.parametrize("name", ["4x4-W8A8-W4A4-W2A2", "8x4-esb-lut"])
def test_groups_follow_each_other_without_an_idle_cycle(
    name: str, tmp_path: Path, vectors: Callable[[str, int], None]
) -> None:
    traffic = run(name, "amaranth", 24, tmp_path, vectors, dense=True)
    assert traffic.idle == 0
    assert traffic.modes == set(range(len(traffic.array.modes)))


@pytest.mark.cocotb
def test_in_cocotb(simulator: str, tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    run("4x4-W8A8-W4A4-W2A2", simulator, 30, tmp_path, vectors)


@pytest.mark.parametrize("name", ["8x4-all", "8x4-all-lut", "4x4-run-time"])
def test_tools_accept_the_verilog(
    name: str, tmp_path: Path, debian_tool: Callable[[str], str]
) -> None:
    manifest = emit(unit(name), "depthwise_unit", tmp_path)
    check_with_verilator(tmp_path, manifest, tmp_path / "verilator.log")
    check_with_yosys(tmp_path, manifest)
    debian_tool("iverilog")
    check_with_icarus(tmp_path, manifest, tmp_path / "icarus.log")


@pytest.mark.parametrize(
    ("multiplier", "modes", "cycles"),
    [
        ("dsp", "W8A8", (7, 8, 9, 9, 10, 10, 10)),
        ("dsp", "W4A4", (7, 8, 9, 9, 10, 10, 10)),
        ("lut", "W8A8", (8, 9, 10, 10, 11, 11, 11)),
        ("lut", "W4A4", (8, 9, 10, 10, 11, 11, 11)),
    ],
)
def test_no_later_than_the_smallest_array(
    multiplier: str, modes: str, cycles: tuple[int, ...]
) -> None:
    # The walker and the drainer go by the array's latency.
    array = array_config(4, 4, modes, multiplier=multiplier)
    smallest = SystolicArray(array)
    Fragment.get(smallest, None)
    for kernel, latency in enumerate(cycles, 1):
        dut = DepthwiseUnit(array, AcceleratorConfig(depthwise_kernel=kernel))
        assert dut.latency == latency
        assert dut.latency <= smallest.latency
