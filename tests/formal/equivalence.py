"""Proofs that two sequential circuits show the same for ever, whatever they are given.

Yosys joins both to a miter, one output that says they differ, and writes it as an and-inverter
graph. ABC, which comes with Yosys, proves that the output is never 1: it finds signals that are
equal in both by induction, until the outputs are among them.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyosys

from dybit.hw.yosys import run_yosys
from tests.formal.aiger import Graph

__all__ = ["SHARE", "Circuit", "are_equal", "equal_variants", "watched_ports"]

SHARE = Path(pyosys.__file__).with_name("share")
_ABC = Path(pyosys.__file__).with_name("yosys-abc")
_SECONDS = 4
"""Time limit of one proof."""

# Once two conditions of a case hold, which only a fault can bring about, Yosys' cell for it shows
# anything; in Verilog the first wins.
_CASE = """
(* techmap_celltype = "$pmux" *)
module first_wins(A, B, S, Y);
  parameter WIDTH = 1;
  parameter S_WIDTH = 1;
  input [WIDTH-1:0] A;
  input [WIDTH*S_WIDTH-1:0] B;
  input [S_WIDTH-1:0] S;
  output [WIDTH-1:0] Y;
  wire [WIDTH*(S_WIDTH+1)-1:0] chain;
  assign chain[WIDTH*S_WIDTH +: WIDTH] = A;
  genvar i;
  for (i = 0; i < S_WIDTH; i = i + 1)
    assign chain[i*WIDTH +: WIDTH] =
        S[i] ? B[i*WIDTH +: WIDTH] : chain[(i+1)*WIDTH +: WIDTH];
  assign Y = chain[0 +: WIDTH];
endmodule
"""
# A register that is given no initial value begins as 0, as in the FPGA.
_PREPARE = """
design -reset
{read}
hierarchy -check -top {top}
proc -norom
techmap -map case.v
flatten
memory_map
setundef -zero -init
opt_clean -purge
rename {top} {side}
design -stash {side}
"""

_JOIN = """
design -reset
design -copy-from gold gold
design -copy-from gate gate
read_verilog miter.v
hierarchy -check -top miter
proc
flatten
simplemap
techmap
opt_clean
dffunmap
aigmap
setundef -zero -undriven
write_aiger -zinit -map names.txt miter.aig
"""


@dataclass(frozen=True)
class Circuit:
    """A circuit: Yosys commands that read it, and its top module."""

    read: str
    top: str


def watched_ports(ports: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is compared by default: every output, always."""
    return [f"%{port['name']}" for port in ports if port["direction"] == "output"]


def are_equal(
    gold: Circuit,
    gate: Circuit,
    ports: Sequence[Mapping[str, Any]],
    directory: Path,
    legal: str = "1'b1",
    watched: Sequence[str] = (),
) -> bool:
    """Return whether both circuits are proved equal from their initial state on.

    Parameters
    ----------
    gold, gate
        Both have the ports that `ports`, of a manifest, names.
    directory
        Where the files that they read are, and others go.
    legal
        Verilog of what is asked of the inputs; after a cycle without it nothing is compared.
    watched
        Verilog of what is compared, of ports written as ``%name``; default: every output.
    """
    joined = _join(gold, gate, ports, directory, legal, watched, {})
    (equal,) = _prove(directory, [joined.fixed({})])
    return equal


def equal_variants(
    circuit: Circuit,
    ports: Sequence[Mapping[str, Any]],
    directory: Path,
    select: str,
    variants: Sequence[int],
    legal: str = "1'b1",
    watched: Sequence[str] = (),
    zeros: Collection[tuple[str, int]] = (),
) -> list[int]:
    """Return those variants of a circuit that are proved equal to its variant 0.

    Parameters
    ----------
    circuit, ports, directory, legal, watched
        See `are_equal`.
    select
        The input that selects a variant.
    variants
    zeros
        Bits of inputs that are never 1: port and number.
    """
    joined = _join(circuit, circuit, ports, directory, legal, watched, {select: 0})
    names = (directory / "names.txt").read_text()
    inputs = [
        (int(index), int(bit), name)
        for index, bit, name in re.findall(r"^input (\d+) (\d+) (\S+)$", names, re.MULTILINE)
    ]
    low = {index: 0 for index, bit, name in inputs if (name, bit) in zeros}
    latches = {
        f"{name}[{bit}]": int(latch)
        for latch, bit, name in re.findall(
            r"^(?:inv)?latch (\d+) (\d+) (\S+)$", names, re.MULTILINE
        )
    }
    same = {
        latch: latches[name.replace("gate_", "gold_", 1)]
        for name, latch in latches.items()
        if name.startswith("gate_circuit.")
    }
    values = {
        variant: low | {index: variant >> bit & 1 for index, bit, name in inputs if name == select}
        for variant in variants
    }
    # Most differ in places without consequence: a step from equal states leads to equal states.
    steps = {
        variant: joined.step(values[variant], same, latches.get("illegal[0]"))
        for variant in variants
    }
    equal = [variant for variant, step in steps.items() if not step]
    for graph in (lambda variant: steps[variant], lambda variant: joined.fixed(values[variant])):
        left = [variant for variant in variants if variant not in equal]
        verdicts = _prove(directory, map(graph, left))
        equal += [variant for variant, proved in zip(left, verdicts, strict=True) if proved]
    return equal


def _join(
    gold: Circuit,
    gate: Circuit,
    ports: Sequence[Mapping[str, Any]],
    directory: Path,
    legal: str,
    watched: Sequence[str],
    selects: Mapping[str, int],
) -> Graph:
    """Return the graph of the miter, whose inputs `selects` are those of the gate alone."""
    watched = watched or watched_ports(ports)
    (directory / "case.v").write_text(_CASE)
    (directory / "miter.v").write_text(_miter(ports, legal, watched, selects))
    script = "".join(
        _PREPARE.format(read=circuit.read, top=circuit.top, side=side)
        for side, circuit in (("gold", gold), ("gate", gate))
    )
    run_yosys(script + _JOIN, directory)
    # What appears twice, and constants, are most of it.
    _run_abc("&r miter.aig\n&w folded.aig\n", directory)
    return Graph.of_bytes((directory / "folded.aig").read_bytes())


def _miter(
    ports: Sequence[Mapping[str, Any]],
    legal: str,
    watched: Sequence[str],
    selects: Mapping[str, int],
) -> str:
    """Return a module whose output `bad` says that gold and gate differ."""
    free = [port for port in ports if port["direction"] == "input"]
    lines = [f"  input [{p['width'] - 1}:0] {p['name']}," for p in free]
    body = []
    for port in ports:
        if port["direction"] == "output":
            wire = f"  wire [{port['width'] - 1}:0]"
            body += [f"{wire} gold_{port['name']};", f"{wire} gate_{port['name']};"]
    for side in ("gold", "gate"):
        pins = []
        for port in ports:
            name = port["name"]
            value = name if port["direction"] == "input" else f"{side}_{name}"
            if side == "gold" and name in selects:
                value = f"{port['width']}'d{selects[name]}"
            pins.append(f".{name}({value})")
        body.append(f"  {side} {side}_circuit ({', '.join(pins)});")
    pairs = [(text.replace("%", "gold_"), text.replace("%", "gate_")) for text in watched]
    differ = " | ".join(f"(({gold}) != ({gate}))" for gold, gate in pairs)
    if any(port["name"] == "clk" for port in free):
        body += [
            "  reg illegal = 0;",
            "  always @(posedge clk) illegal <= ~legal;",
            f"  wire legal = ({legal}) & ~illegal;",
        ]
    else:
        body.append(f"  wire legal = {legal};")
    body.append(f"  assign bad = legal & ({differ});")
    return "\n".join(["module miter(", *lines, "  output bad", ");", *body, "endmodule\n"])


def _prove(directory: Path, graphs: Iterable[bytes]) -> list[bool]:
    """Return for each graph whether its output is proved to stay 0."""
    commands = []
    for number, graph in enumerate(graphs):
        (directory / f"graph_{number}.aig").write_bytes(graph)
        read = f"read graph_{number}.aig; strash"
        commands.append(f"echo graph {number}.; {read}; dprove -j -T {_SECONDS}\n")
    log = _run_abc("".join(commands), directory)
    parts = re.split(r"^graph (\d+)\.", log, flags=re.MULTILINE)
    assert [int(number) for number in parts[1::2]] == list(range(len(commands))), log[-2000:]
    return [_is_proved(part) for part in parts[2::2]]


def _run_abc(script: str, directory: Path) -> str:
    (directory / "script.abc").write_text(script)
    command = [_ABC, "-f", "script.abc"]
    return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True).stdout


def _is_proved(log: str) -> bool:
    return bool(re.search(r"^(Networks are equivalent|UNSATISFIABLE)", log, re.MULTILINE))
