"""Proofs that a pipeline stops as a whole: a stalled cycle is as if it had not been.

A pipeline is taken apart into what its registers hold and what they take on next. Then one cycle
tells about all runs: when the pipeline does not advance every register keeps what it has, and when
it does, it takes on what it would without back-pressure. So a run with stalls is one without, its
cycles further apart.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from dybit.hw.yosys import run_yosys
from tests.formal.sat import counterexample

__all__ = ["broken_stall"]

_APART = """
read_verilog design.v
hierarchy -top {name}
proc -norom
flatten
splitnets
opt_clean -purge
expose -evert-dff {name}
opt_clean
write_verilog -noattr apart.v
"""


def broken_stall(verilog: str, name: str) -> str | None:
    """Return a cycle in which a pipeline neither holds nor advances as a whole, or None.

    Parameters
    ----------
    verilog
        The design, a pipeline from stream ``i`` to stream ``o``.
    name
        Its top module.
    """
    with tempfile.TemporaryDirectory(prefix="dybit-proof-") as directory:
        (Path(directory) / "design.v").write_text(verilog)
        run_yosys(_APART.format(name=name), directory)
        apart = (Path(directory) / "apart.v").read_text()
    ports = {
        port: (direction, int(high or 0) + 1)
        for direction, high, port in re.findall(
            r"^  (input|output) (?:\[(\d+):0\] )?\\?(\S+?) ?;$", apart, re.MULTILINE
        )
    }
    registers = [_plain(port.removesuffix("q")) for port in ports if port.endswith(".q")]
    assert registers, "a pipeline must have registers"
    assert "posedge" not in apart, "every register must be taken out"
    lines = []
    for copy in ("free", "flowing"):
        links = []
        for port, (direction, bits) in ports.items():
            wire = _plain(port)
            if direction == "output" or port == "o__ready":
                wire = f"{copy}__{wire}"
                lines.append(f"  wire [{bits - 1}:0] {wire};")
            links.append(f".\\{port} ({wire})")
        lines.append(f"  {name} {copy}({', '.join(links)});")
    shared = [(p, bits) for p, (way, bits) in ports.items() if way == "input" and p != "o__ready"]
    head = ", ".join(f"input [{bits - 1}:0] {_plain(port)}" for port, bits in shared)
    checks = "".join(
        f"    assert (free__{x}d == (advance ? flowing__{x}d : {x}q));\n" for x in registers
    )
    harness = f"""
module proof({head}, input ready);
{chr(10).join(lines)}
  assign free__o__ready = ready, flowing__o__ready = 1;
  wire advance = free__i__ready;
  always @* begin
    assume (!rst);
    assert (advance == (ready || !free__o__valid));
    assert (flowing__i__ready);
    assert (free__o__valid == flowing__o__valid);
    assert (free__o__payload == flowing__o__payload);
{checks}  end
endmodule
"""
    # What both copies compute of the same operands is the same: no solver need find that out.
    merge = "hierarchy -top proof\nproc -norom\nflatten\nopt_merge"
    return counterexample(apart, harness, prepare=merge)


def _plain(name: str) -> str:
    """Return a name that needs no escape."""
    return re.sub(r"\W+", "__", name)
