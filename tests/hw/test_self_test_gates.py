"""The self-test as the netlist that synthesis made of it: cells of ECP5, simulated."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pyosys
import pytest

from dybit.hw.platforms.part import LFE5U_85F
from dybit.hw.self_test import SelfTest
from dybit.hw.self_test_plan import SelfTestPlan
from dybit.hw.verilog import emit
from dybit.hw.yosys import run_yosys
from dybit.quant.array_config import ArrayConfig
from dybit.quant.config import QuantConfig
from dybit.scripts.self_test import expected_signatures
from dybit.sim.library import Effort
from dybit.sim.verilated import CompiledModel
from tests.hw.self_tests import TINY, serial_text

CELLS = Path(pyosys.__file__).parent / "share" / "ecp5"
DIVISOR = 2

# As the board's image is synthesised.
SCRIPT = """
read_verilog {files}
synth_ecp5 -noflatten -top {top}
flatten
clean
delete t:$scopeinfo
stat -json
write_verilog -noattr "{netlist}"
"""


# Yosys has no model of it. By Lattice FPGA-TN-02205, without registers, as Yosys uses it.
MULTIPLIER = """
module MULT18X18D(
  input {a}, {b}, {c},
  input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
  output {p}
);
  wire signed [18:0] a = {{SIGNEDA & A17, {a}}};
  wire signed [18:0] b = {{SIGNEDB & B17, {b}}};
  wire signed [37:0] product = a * b;
  assign {{{p}}} = product[35:0];
endmodule
"""


def multiplier_model() -> str:
    def wires(letter: str, count: int) -> str:
        return ", ".join(f"{letter}{bit}" for bit in reversed(range(count)))

    return MULTIPLIER.format(a=wires("A", 18), b=wires("B", 18), c=wires("C", 18), p=wires("P", 36))


def cell_models() -> str:
    """Return simulation models of the cells, all but one of them Yosys', as one file."""
    text = (CELLS / "cells_sim.v").read_text()
    while "`include" in text:
        text = re.sub(
            r'`include "(.*?)"', lambda match: (CELLS / Path(match[1]).name).read_text(), text
        )
    # Verilator knows no delays.
    text = re.sub(r"^\s*specify$.*?^\s*endspecify$", "", text, flags=re.DOTALL | re.MULTILINE)
    return text + multiplier_model()


def netlist(array: ArrayConfig, rounds: int, directory: Path) -> CompiledModel:
    """Return the self-test of an array as the netlist that synthesis makes of it, compiled."""
    plan = SelfTestPlan(array, rounds=rounds)
    design = SelfTest(plan, expected_signatures(plan), DIVISOR, 20, LFE5U_85F.factor_bits)
    manifest = emit(design, "self_test", directory / "rtl")
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
        "CCU2C", "L6MUX21", "LUT4", "MULT18X18D", "PFUMX", "TRELLIS_DPR16X4", "TRELLIS_FF",
    }  # fmt: skip
    return CompiledModel(directory, effort=Effort.LOW)


def check(model: CompiledModel, modes: int, cycles: int) -> None:
    """Run it as it is, and with one wrong bit a mode."""
    verdicts = {}
    for inject in (0, 1):
        model.reset()
        stimulus = model.stimulus(cycles)
        stimulus.set("inject", inject)
        trace = model.play(stimulus)
        text = serial_text(model.read(trace, "tx"), DIVISOR)
        verdicts[inject] = re.findall(r" (FAIL|pass)\r\n", text)[: modes + 1]
        shown = [bool(model.read(trace, name).any()) for name in ("passed", "failed")]
        assert shown == [inject == 0, inject == 1]
    assert verdicts == {0: ["pass"] * (modes + 1), 1: ["FAIL"] * (modes + 1)}
    assert np.unique(model.read(trace, "running")).size == 2


@pytest.mark.rtl
def test_the_netlist_passes_and_fails_as_the_design_does(tmp_path: Path) -> None:
    with netlist(TINY, 4, tmp_path) as model:
        check(model, 2, 6000)


@pytest.mark.full
def test_the_netlist_of_the_board_does_too(tmp_path: Path) -> None:
    board = QuantConfig.load(Path(__file__).parents[2] / "configs/ulx3s.toml")
    with netlist(board.array, SelfTestPlan(board.array).rounds, tmp_path) as model:
        check(model, 3, 60000)
