"""Both DMAs and the registers, emitted, behind cocotbext-axi's models of memory and host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dybit.hw.registers import REGISTERS, Access
from dybit.hw.verilog import emit
from tests.hw.bus_designs import Copier
from tests.hw.cocotb_runner import run_bench
from tests.hw.verilog_checks import check_with_icarus, check_with_verilator, check_with_yosys

OFFSETS = {register.name: register.offset for register in REGISTERS}
CONSTANTS = {
    register.name: 0x89AB_0000 + 0x1101 * register.offset
    for register in REGISTERS
    if register.access == Access.CONSTANT
}


@pytest.mark.rtl
@pytest.mark.cocotb
@pytest.mark.parametrize("bench", ["copy_tests", "csr_tests"])
def test_bus(
    bench: str, simulator: str, tmp_path: Path, vectors: Callable[[str, int], None]
) -> None:
    # Icarus is many times slower.
    scale = 2 if simulator == "verilator" else 1
    count = run_bench(
        Copier(CONSTANTS),
        "copier",
        bench,
        tmp_path,
        simulator=simulator,
        parameters={"scale": scale, "offsets": OFFSETS, "constants": CONSTANTS},
    )
    vectors(f"bus, {bench}, cocotb, {simulator}", count)


@pytest.mark.parametrize("alignment", [1, 8, 16])
def test_tools_accept_the_verilog(
    alignment: int, tmp_path: Path, debian_tool: Callable[[str], str]
) -> None:
    manifest = emit(Copier(CONSTANTS, alignment), "copier", tmp_path)
    check_with_verilator(tmp_path, manifest, tmp_path / "verilator.log")
    check_with_yosys(tmp_path, manifest)
    debian_tool("iverilog")
    check_with_icarus(tmp_path, manifest, tmp_path / "icarus.log")


def test_ports_are_those_of_vivado(tmp_path: Path) -> None:
    manifest = emit(Copier(CONSTANTS), "copier", tmp_path)
    ports = {port["name"]: (port["direction"], port["width"]) for port in manifest["ports"]}
    assert ports["m_axi_gmem_araddr"] == ("output", 40)
    assert ports["m_axi_gmem_rdata"] == ("input", 128)
    assert ports["m_axi_gmem_wstrb"] == ("output", 16)
    assert ports["m_axi_gmem_bready"] == ("output", 1)
    assert ports["s_axi_control_awaddr"] == ("input", 12)
    assert ports["s_axi_control_rdata"] == ("output", 32)
    assert ports["interrupt"] == ("output", 1)
