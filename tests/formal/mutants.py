"""Designs with faults planted in them, all in one netlist, to see which a test suite finds.

Yosys' ``mutate`` draws places in a design, evenly over its cells, wires and lines, and plants
there an inversion, a constant or the influence of a neighbouring bit. Each fault is a variant of
the design that the input `SELECT` chooses; 0 is the design as it is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dybit.hw.yosys import run_yosys
from tests.formal.equivalence import Circuit, equal_variants

__all__ = ["SELECT", "Bench", "Coverage", "Mutants", "Surroundings", "cover", "plant"]

SELECT = "mutant"
_BITS = 12
"""Width of `SELECT`."""

_LIST = """
read_verilog {files}
hierarchy -check -top {top}
proc -norom
opt_expr
opt_clean
write_rtlil base.il
mutate -list {count} -seed {seed} -o drawn.txt {modules}
"""
_PLANT = """
read_rtlil base.il
script faults.ys
write_rtlil mutants.il
write_verilog -noattr mutants.v
"""


@dataclass(frozen=True)
class Mutants:
    """A design with faults, as `dybit.hw.verilog.emit` leaves one: Verilog and manifest.

    Attributes
    ----------
    directory
    faults
        What each mutant does, in words; mutant 1 comes first.
    modules
        The module of each.
    """

    directory: Path
    faults: list[str]
    modules: list[str]

    @property
    def manifest(self) -> dict[str, Any]:
        """What describes the design, with the input `SELECT`."""
        loaded: dict[str, Any] = json.loads((self.directory / "manifest.json").read_text())
        return loaded

    @property
    def numbers(self) -> range:
        """All of them."""
        return range(1, len(self.faults) + 1)

    def equal(
        self, numbers: Sequence[int], legal: str = "1'b1", watched: Sequence[str] = ()
    ) -> set[int]:
        """Return those mutants that are proved to show what the design shows, for ever.

        Parameters
        ----------
        numbers
        legal, watched
            What is asked of the inputs, and what is looked at: see `equivalence.are_equal`.
        """
        manifest = self.manifest
        circuit = Circuit("read_rtlil mutants.il", manifest["top"])
        ports = manifest["ports"]
        return set(equal_variants(circuit, ports, self.directory, SELECT, numbers, legal, watched))

    def equal_alone(
        self,
        numbers: Sequence[int],
        zeros: Mapping[str, Collection[tuple[str, int]]],
        watched: Mapping[str, Sequence[str]],
    ) -> set[int]:
        """Return those mutants whose module is proved to show what it shows without the fault.

        That is more than has to be: the rest of the design does not give it any input whatever.

        Parameters
        ----------
        numbers
        zeros
            By module, bits of its inputs that are never 1 there: port and number.
        watched
            By module, what of it is looked at: see `equivalence.are_equal`.
        """
        equal = set()
        for module in sorted({self.modules[number - 1] for number in numbers}):
            inside = [number for number in numbers if self.modules[number - 1] == module]
            circuit = Circuit("read_rtlil mutants.il", module)
            ports = _ports((self.directory / f"{module}.v").read_text())
            equal |= set(
                equal_variants(
                    *(circuit, ports, self.directory, SELECT, inside),
                    watched=watched.get(module, ()),
                    zeros=zeros.get(module, ()),
                )
            )
        return equal


@dataclass(frozen=True)
class Surroundings:
    """What is known of what is around modules: see `Mutants.equal_alone`."""

    zeros: Mapping[str, Collection[tuple[str, int]]]
    watched: Mapping[str, Sequence[str]]


class Bench(Protocol):
    """A part of the test suite that can be run on any mutant."""

    def finds(self, mutant: int) -> bool:
        """Return whether the mutant fails a test."""


@dataclass(frozen=True)
class Coverage:
    """What became of the mutants of a block.

    Attributes
    ----------
    mutants : int
        All.
    equal : int
        Those that are proved to be no faults at all.
    survivors : dict of int to str
        The faults that no test finds.
    """

    mutants: int
    equal: int
    survivors: Mapping[int, str]

    @property
    def killed(self) -> int:
        """Mutants that a test finds."""
        return self.mutants - self.equal - len(self.survivors)

    @property
    def rate(self) -> float:
        """Part of the mutants not proved equal that is killed."""
        return self.killed / (self.mutants - self.equal)

    def __str__(self) -> str:
        return (
            f"{self.rate:.1%} of {self.mutants - self.equal}: {self.mutants} mutants, "
            f"{self.equal} equal, {self.killed} killed, {len(self.survivors)} survive"
        )


def cover(
    mutants: Mutants,
    quick: Sequence[Bench],
    slow: Sequence[Bench] = (),
    legal: str = "1'b1",
    watched: Sequence[str] = (),
    alone: Surroundings | None = None,
) -> Coverage:
    """Find out which mutants the benches find, and which need not be found.

    Parameters
    ----------
    mutants
    quick, slow
        What each mutant runs through, until one bench finds it. The slow ones come after the
        proofs.
    legal, watched
        What is asked of the inputs, and what is looked at: see `equivalence.are_equal`.
    alone
        Prove by the module of each mutant alone, with what is known of its surroundings, as of a
        design too large to prove anything of.
    """

    def alive(numbers: Iterable[int], benches: Sequence[Bench]) -> list[int]:
        return [n for n in numbers if not any(bench.finds(n) for bench in benches)]

    left = alive(mutants.numbers, quick)
    known = alone or Surroundings({}, {})
    equal = mutants.equal_alone(left, known.zeros, known.watched)
    if alone is None:
        equal |= mutants.equal([n for n in left if n not in equal], legal, watched)
    survivors = alive((n for n in left if n not in equal), slow)
    faults = {number: mutants.faults[number - 1] for number in survivors}
    return Coverage(len(mutants.faults), len(equal), faults)


def plant(directory: Path, count: int, seed: int, components: Collection[str] = ()) -> Mutants:
    """Plant faults in an emitted design.

    Parameters
    ----------
    directory
        Where `dybit.hw.verilog.emit` put the design; what is written there takes its place.
    count
        How many faults.
    seed
        Of the draw.
    components
        Names of the components of the design that get faults; default: all.
    """
    manifest = json.loads((directory / "manifest.json").read_text())
    chosen = [
        module
        for module, described in manifest["modules"].items()
        if not components or described["component"] in components
    ]
    script = _LIST.format(
        files=" ".join(manifest["verilog"]),
        top=manifest["top"],
        count=count * 3 // 2,
        seed=seed,
        modules=" ".join(chosen),
    )
    run_yosys(script, directory)
    drawn = (directory / "drawn.txt").read_text().splitlines()
    # A fault behind a register is one of what it feeds, but would take its initial value away;
    # the clock has none.
    faults = [line for line in drawn if _option(line, "port") not in ("Q", "CLK", "clk")][:count]
    commands = [
        line.replace("mutate ", f"mutate -ctrl {SELECT} {_BITS} {number} ", 1)
        for number, line in enumerate(faults, 1)
    ]
    (directory / "faults.ys").write_text("\n".join(commands) + "\n")
    run_yosys(_PLANT, directory)
    manifest["verilog"] = [*_with_faults(directory, manifest["verilog"]), "mutants.v"]
    manifest["ports"].append({"name": SELECT, "direction": "input", "width": _BITS})
    content = b"".join((directory / name).read_bytes() for name in manifest["verilog"])
    manifest["content_hash"] = f"sha256:{hashlib.sha256(content).hexdigest()}"
    (directory / "manifest.json").write_text(json.dumps(manifest))
    return Mutants(
        directory,
        [_in_words(line) for line in faults],
        [_option(line, "module") for line in faults],
    )


def _with_faults(directory: Path, files: Sequence[str]) -> list[str]:
    """Leave the modules with faults, and those around them, in ``mutants.v``; return other files.

    What was written by hand, as it were, is simulated faster than Yosys' cells.
    """
    text = (directory / "mutants.v").read_text()
    modules = re.findall(r"^module (\w+)\((.*?^endmodule\n)", text, re.MULTILINE | re.DOTALL)
    changed = {name: rest for name, rest in modules if f" {SELECT};" in rest}
    kept = "".join(f"module {name}({rest}" for name, rest in changed.items())
    (directory / "mutants.v").write_text(kept)
    return [file for file in files if Path(file).stem not in changed]


def _ports(verilog: str) -> list[dict[str, Any]]:
    """Return the ports of a module, with the input `SELECT`."""
    found = re.findall(
        r"^  (input|output) (?:signed )?(?:\[(\d+):0\] )?(\w+);$", verilog, re.MULTILINE
    )
    ports = [{"name": n, "direction": d, "width": int(high or 0) + 1} for d, high, n in found]
    return [*ports, {"name": SELECT, "direction": "input", "width": _BITS}]


def _in_words(command: str) -> str:
    """Return what a command of ``mutate`` plants, and where."""
    option = dict(re.findall(r" -(\w+) (\S+)", command))
    deed = {
        "inv": "inverted",
        "const0": "stuck at 0",
        "const1": "stuck at 1",
        "cnot0": "inverted where bit {} of it is 0",
        "cnot1": "inverted where bit {} of it is 1",
    }[option["mode"]].format(option.get("ctrlbit"))
    wire = f" ({option['wire']}[{option['wirebit']}])" if "wire" in option else ""
    place = f"{option['cell']}.{option['port']}[{option['portbit']}]{wire}"
    lines = re.findall(r" -src (\S+)", command)
    return f"{option['module']}: {place} {deed}, {', '.join(lines) or 'no line'}"


def _option(command: str, name: str) -> str:
    match = re.search(rf" -{name} (\S+)", command)
    assert match, command
    return match[1]
