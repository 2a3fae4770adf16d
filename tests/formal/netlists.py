"""Netlists of LUTs, carry chains and DSP blocks, to be proved equal to their Verilog.

Cells of the FPGA family are Yosys' own simulation models. A product made in a DSP block is cut: in
the netlist and in the Verilog alike its factors become outputs and the product an input, so that
what is proved is that the factors are equal, and that equal products have equal consequences.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from dybit.hw.synthesis import synthesise
from dybit.hw.verilog import emit
from dybit.hw.yosys import run_yosys
from tests.formal.equivalence import SHARE, Circuit, are_equal

__all__ = ["Netlist"]

# Yosys models the DSP48E1 alone: see `tests.hw.test_packed_netlist`.
_NETLIST = f"""
read_json netlist.json
delete t:$scopeinfo
chtype -set DSP48E1 t:DSP48E2
setparam -unset AMULTSEL -unset BMULTSEL t:DSP48E1
read_verilog {SHARE / "xilinx" / "cells_sim.v"}
"""

_FLATTEN = """
{read}
hierarchy -check -top {top}
proc -norom
flatten
wreduce t:$mul
opt_clean
write_rtlil {side}.il
"""

# A product of signed factors, as `write_rtlil` has it.
_PRODUCT = re.compile(
    r"  cell \$mul .*\n    parameter \\A_SIGNED 1\n    parameter \\B_SIGNED 1\n"
    r"    parameter \\A_WIDTH (?P<a_bits>\d+)\n    parameter \\B_WIDTH (?P<b_bits>\d+)\n"
    r"    parameter \\Y_WIDTH (?P<bits>\d+)\n"
    r"    connect \\A (?P<a>.*)\n    connect \\B (?P<b>.*)\n    connect \\Y (?P<y>.*)\n  end\n"
)

_FACTOR_BITS = 25
_FACTORS = [{"name": f"factor_{x}", "direction": "output", "width": _FACTOR_BITS} for x in "ab"]
_CUT_PORTS = [*_FACTORS, {"name": "product", "direction": "input", "width": 50}]


class Netlist:
    """A component, its Verilog and its netlist.

    Parameters
    ----------
    component, name
        What is emitted and synthesised.
    directory
    dsp
        The netlist makes its only product in a DSP block, where it is cut.

    Members
    -------
    module : dict
        The netlist, as ``write_json`` has it.
    """

    def __init__(self, component: Any, name: str, directory: Path, dsp: bool = False) -> None:
        self.directory = directory
        self.dsp = dsp
        self.manifest = emit(component, name, directory)
        (self.module,) = synthesise(directory, blocks=(), dsp=dsp).values()

    @property
    def cells(self) -> Counter[str]:
        """The cells by type."""
        return Counter(cell["type"] for cell in self.module["cells"].values())

    def equals_its_verilog(self) -> bool:
        """Return whether both are proved to show the same for ever."""
        top = self.manifest["top"]
        netlist = {"modules": {top: self.module}}
        (self.directory / "netlist.json").write_text(json.dumps(netlist))
        gold = Circuit(f"read_verilog {' '.join(self.manifest['verilog'])}", top)
        gate = Circuit(_NETLIST, top)
        ports = self.manifest["ports"]
        if self.dsp:
            gold, gate = self._cut(gold, "verilog"), self._cut(gate, "cells")
            ports = [*ports, *_CUT_PORTS]
        return are_equal(gold, gate, ports, self.directory)

    def flip(self, kind: str, number: int) -> str:
        """Plant a bug: invert an entry of the table of a cell; return the cell.

        Parameters
        ----------
        kind
            Type of the cell, such as ``LUT6``.
        number
            Of those cells, in the order of their names; the entry is the first whose value is 0.
        """
        names = sorted(n for n, cell in self.module["cells"].items() if cell["type"] == kind)
        name = names[number]
        parameters = self.module["cells"][name]["parameters"]
        table = parameters["INIT"]
        assert set(table) == {"0", "1"}, table
        at = table.rindex("0")
        parameters["INIT"] = f"{table[:at]}1{table[at + 1 :]}"
        return name

    def _cut(self, circuit: Circuit, side: str) -> Circuit:
        """Return a circuit with its product cut."""
        script = _FLATTEN.format(read=circuit.read, top=circuit.top, side=side)
        run_yosys(script, self.directory)
        file = self.directory / f"{side}.il"
        text = file.read_text()
        (product,) = _PRODUCT.finditer(text)
        parts = ["  wire width 50 input 1000 \\product\n"]
        for number, factor in enumerate("ab", 1):
            bits = int(product[f"{factor}_bits"])
            assert bits <= _FACTOR_BITS
            parts += [
                f"  wire width {_FACTOR_BITS} output {1000 + number} \\factor_{factor}\n",
                f"  cell $pos \\extended_{factor}\n    parameter \\A_SIGNED 1\n",
                f"    parameter \\A_WIDTH {bits}\n    parameter \\Y_WIDTH {_FACTOR_BITS}\n",
                f"    connect \\A {product[factor]}\n    connect \\Y \\factor_{factor}\n  end\n",
            ]
        parts.append(f"  connect {product['y']} \\product [{int(product['bits']) - 1}:0]\n")
        file.write_text(text[: product.start()] + "".join(parts) + text[product.end() :])
        return Circuit(f"read_rtlil {side}.il", circuit.top)
