"""The self-test as the netlist that synthesis made of it: cells of ECP5, simulated."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pyosys
import pytest

from dybit.hw.self_test import SelfTest
from dybit.hw.self_test_plan import SelfTestPlan
from dybit.hw.verilog import emit
from dybit.hw.yosys import run_yosys
from dybit.scripts.self_test import expected_signatures
from dybit.sim.verilated import CompiledModel
from tests.hw.self_tests import TINY, serial_text

CELLS = Path(pyosys.__file__).parent / "share" / "ecp5"
DIVISOR = 2

# Block RAMs and multipliers have no model among Yosys' cells: memories and products are of LUTs.
SCRIPT = """
read_verilog {files}
synth_ecp5 -noflatten -nobram -nodsp -top {top}
flatten
clean
delete t:$scopeinfo
stat -json
write_verilog -noattr "{netlist}"
"""


def cell_models() -> str:
    """Return Yosys' simulation models of the cells, as one file."""
    text = (CELLS / "cells_sim.v").read_text()
    while "`include" in text:
        text = re.sub(
            r'`include "(.*?)"', lambda match: (CELLS / Path(match[1]).name).read_text(), text
        )
    # Verilator knows no delays.
    return re.sub(r"^\s*specify$.*?^\s*endspecify$", "", text, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def netlist(tmp_path_factory: pytest.TempPathFactory) -> CompiledModel:
    directory = tmp_path_factory.mktemp("gates")
    plan = SelfTestPlan(TINY, rounds=4)
    manifest = emit(
        SelfTest(plan, expected_signatures(plan), DIVISOR, 20), "self_test", directory / "rtl"
    )
    script = SCRIPT.format(
        files=" ".join(manifest["verilog"]), top="self_test", netlist=directory / "netlist.v"
    )
    run_yosys(script, directory / "rtl")
    (directory / "cells.v").write_text(cell_models())
    manifest["verilog"] = ["netlist.v", "cells.v"]
    content = b"".join((directory / name).read_bytes() for name in manifest["verilog"])
    manifest["content_hash"] = f"sha256:{hashlib.sha256(content).hexdigest()}"
    (directory / "manifest.json").write_text(json.dumps(manifest))
    text = (directory / "netlist.v").read_text()
    assert set(re.findall(r"^  ([A-Z]\w+) [#\\\w(]", text, re.MULTILINE)) == {
        "CCU2C", "L6MUX21", "LUT4", "PFUMX", "TRELLIS_DPR16X4", "TRELLIS_FF",
    }  # fmt: skip
    return CompiledModel(directory)


@pytest.mark.rtl
def test_the_netlist_passes_and_fails_as_the_design_does(netlist: CompiledModel) -> None:
    verdicts = {}
    for inject in (0, 1):
        netlist.reset()
        stimulus = netlist.stimulus(6000)
        stimulus.set("inject", inject)
        trace = netlist.play(stimulus)
        text = serial_text(netlist.read(trace, "tx"), DIVISOR)
        verdicts[inject] = re.findall(r" (FAIL|pass)\r\n", text)[:3]
        shown = [bool(netlist.read(trace, name).any()) for name in ("passed", "failed")]
        assert shown == [inject == 0, inject == 1]
    assert verdicts == {0: ["pass"] * 3, 1: ["FAIL"] * 3}
    assert np.unique(netlist.read(trace, "running")).size == 2
