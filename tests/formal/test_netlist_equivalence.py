# amaranth: UnusedElaboratable=no
"""Netlists synthesised for UltraScale+ equal the Verilog, whatever goes in, for ever."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dybit.hw.encoder import Encoder
from dybit.hw.mantissa_multiplier import MantissaMultiplier
from dybit.hw.mp_decoder import MPDecoder
from dybit.hw.operand import Operand, Signedness
from dybit.hw.processing_element import ProcessingElement
from tests.formal.conftest import Proved
from tests.formal.netlists import Netlist
from tests.hw.array_vectors import array_config

ALL_MODES = "W8A8 W8A4 W4A8 W4A4 W2A4 W4A2 W2A2"
BLOCKS: dict[str, Callable[[], Any]] = {
    "decoder": lambda: MPDecoder(Operand((2, 4, 8), Signedness.BOTH)),
    "encoder": Encoder,
    "multiplier lanes": lambda: MantissaMultiplier(
        array_config(4, 1, ALL_MODES, "both", multiplier="lut")
    ),
    "element": lambda: ProcessingElement(array_config(4, 1, "W8A8 W4A4", "both", multiplier="lut")),
}
"""Built from LUTs, 8-bit products included."""

WITH_DSP = array_config(4, 1, "W8A8 W4A4", "both")
METHOD = "signal correspondence (ABC)"


def name_of(block: str) -> str:
    return block.replace(" ", "_")


def test_narrow_element(tmp_path: Path, proved: Proved) -> None:
    netlist = Netlist(ProcessingElement(array_config(4, 1, "W4A4", "signed")), "element", tmp_path)
    assert netlist.equals_its_verilog()
    proved("element W4A4", "its netlist equals its Verilog", METHOD, "none")
    netlist.flip("LUT6", 3)
    assert not netlist.equals_its_verilog()


@pytest.mark.prove
@pytest.mark.parametrize("block", BLOCKS)
def test_netlist(block: str, tmp_path: Path, proved: Proved) -> None:
    netlist = Netlist(BLOCKS[block](), name_of(block), tmp_path)
    assert not netlist.cells["DSP48E2"]
    assert netlist.cells["LUT6"] > 20
    assert netlist.equals_its_verilog()
    proved(f"{block}, netlist", "equals its Verilog", METHOD, "none; products in LUTs")


@pytest.mark.prove
@pytest.mark.parametrize("block", BLOCKS)
def test_netlist_fails_on_a_flipped_bit(block: str, tmp_path: Path) -> None:
    netlist = Netlist(BLOCKS[block](), name_of(block), tmp_path)
    cell = netlist.flip("LUT6", 3)
    assert not netlist.equals_its_verilog(), cell


@pytest.mark.prove
def test_element_with_a_dsp_block(tmp_path: Path, proved: Proved) -> None:
    netlist = Netlist(ProcessingElement(WITH_DSP), "element", tmp_path, dsp=True)
    assert netlist.cells["DSP48E2"] == 1
    assert netlist.equals_its_verilog()
    proved(
        "element with a DSP block, netlist",
        "equals its Verilog",
        METHOD,
        "the W8A8 product is cut; every pair of its factors is simulated",
    )


@pytest.mark.prove
@pytest.mark.parametrize("bug", ["LUT", "operation of the block"])
def test_element_with_a_dsp_block_fails_on(bug: str, tmp_path: Path) -> None:
    netlist = Netlist(ProcessingElement(WITH_DSP), "element", tmp_path, dsp=True)
    if bug == "LUT":
        netlist.flip("LUT6", 3)
    else:
        (block,) = (c for c in netlist.module["cells"].values() if c["type"] == "DSP48E2")
        registers = block["parameters"]["MREG"]
        assert int(registers, 2) in (0, 1)
        block["parameters"]["MREG"] = f"{int(registers, 2) ^ 1:032b}"
    assert not netlist.equals_its_verilog()
