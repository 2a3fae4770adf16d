"""Rolls the copies of a module up into one loop, which a compiler makes vector code of.

Verilator flattens a design: the code of an array is that of an element times their number, and is
fetched anew in every cycle. A module with several copies under one parent becomes one module here.
Its registers are unpacked arrays, its logic is a loop over the copies, and every value of up to 32
bits fills a word of 32, so that copies sit side by side in a vector.

What happens in a cycle is the same. Yosys reduces a copy to registers, tables and expressions of
one operator; those are kept as they are, and arrays put around them. A module that needs more than
that, such as one with a memory, stays unrolled.
"""

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dybit.sim.toolchain import ToolMissing, run_tool

__all__ = ["roll", "rolling"]

MINIMUM = 4
"""Copies worth a loop."""

_FLATTEN = """
design -reset
read_verilog {files}
hierarchy -top {module}
proc
memory_collect
flatten
opt_clean
opt_expr
opt_merge
pmuxtree
wreduce t:$mul
opt_clean -purge
rename -unescape
write_verilog -noattr -simple-lhs {output}
"""
# An error inside pyosys ends the process that it lives in.
_YOSYS = "import sys; from pyosys import libyosys; libyosys.run_pass('script ' + sys.argv[1])"

_MODULE = re.compile(r"^module (\w+)\(", re.MULTILINE)
_INSTANCE = re.compile(r"^  (\w+) (\w+) \(\n((?:    \.\w+\(.*\),?\n)*)  \);\n", re.MULTILINE)
_CONNECTION = re.compile(r"    \.(\w+)\((.*)\),?\n")
_DECLARATION = re.compile(
    r"(?P<kind>input|output|wire|reg)(?: signed)?(?: \[(?P<last>\d+):0\])? (?P<name>\w+)"
    r"(?: \[(?P<depth>\d+):0\])?(?: = (?P<initial>.+))?;"
)
_ASSIGNMENT = re.compile(r"assign (?P<target>(?P<name>\w+)(?:\[[\d:]+\])?) = (?P<value>.+);")
_UPDATE = re.compile(r"(?P<name>\w+) <= (?P<value>.+);")
_CLOCK = re.compile(r"^  input clk;", re.MULTILINE)
_MEMORY = re.compile(r"^  reg(?: signed)?(?: \[.*\])? (?!signed )\w+ \[", re.MULTILINE)
_WORD = re.compile(r"(?P<table>\w+)\[(?P<index>\d+)\] = (?P<value>\S+);")
_CHOICE = re.compile(r"(?P<condition>\S+) \? (?P<yes>.+) : (?P<no>.+)")
# In a wider word, the copies of the sign above the value's own bits would be shifted into them.
_LOGICAL = re.compile(r"\$signed\([^()]*\) >> ")
_IGNORED = re.compile(r"|initial begin|end|endmodule|module .*|/\*.*")
_NAME = re.compile(r"(?<![\w'$])[A-Za-z_]\w*")
_WHOLE = re.compile(rf"{_NAME.pattern}(?!\w|\[)")


class _CannotRoll(Exception):
    """The module has something that a loop over its copies does not express."""


def _word_bits(width: int) -> int:
    """Return the bits of the words that a value of `width` bits fills."""
    return 32 if width <= 32 else -(-width // 64) * 64


@dataclass
class _Copy:
    """What one copy of a module is made of. Expressions are Verilog's, widths bits by name."""

    widths: dict[str, int] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    initial: dict[str, str] = field(default_factory=dict)
    tables: dict[str, dict[int, str]] = field(default_factory=dict)
    values: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """For each signal the parts assigned and their expressions."""
    updates: dict[str, str] = field(default_factory=dict)
    """The next values of registers."""
    parts: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """Inputs that are bits (port, high, low) of a port too wide for a word."""

    def word(self, name: str) -> str:
        """Return the range of the words that a signal fills."""
        return f"[{_word_bits(self.widths[name]) - 1}:0]"

    def cone(self, targets: Iterable[str]) -> list[str]:
        """Return all signals that the targets depend on in a cycle, each after its sources."""
        found: dict[str, None] = {}
        entered: set[str] = set()

        def visit(name: str) -> None:
            if name in found or name in self.tables:
                return
            if name in entered:
                raise _CannotRoll(f"{name} depends on itself")
            entered.add(name)
            for _, value in self.values.get(name, ()):
                for source in _NAME.findall(value):
                    visit(source)
            found[name] = None

        for target in targets:
            visit(target)
        return list(found)


def _parse(text: str) -> _Copy:
    """Take a module as Yosys writes it apart."""
    copy = _Copy()
    depths: dict[str, int] = {}
    lines = iter(line.strip() for line in text.splitlines())
    for line in lines:
        if match := _DECLARATION.fullmatch(line):
            name, kind = match["name"], match["kind"]
            copy.widths[name] = int(match["last"] or 0) + 1
            if match["depth"]:
                copy.tables[name] = {}
                depths[name] = int(match["depth"]) + 1
            elif kind in ("input", "output"):
                (copy.inputs if kind == "input" else copy.outputs).append(name)
            if match["initial"]:
                copy.initial[name] = match["initial"]
        elif _LOGICAL.search(line):
            raise _CannotRoll(line)
        elif match := _ASSIGNMENT.fullmatch(line):
            copy.values.setdefault(match["name"], []).append((match["target"], match["value"]))
        elif match := _WORD.fullmatch(line):
            copy.tables[match["table"]][int(match["index"])] = match["value"]
        elif line == "always @(posedge clk)" and (match := _UPDATE.fullmatch(next(lines))):
            copy.updates[match["name"]] = match["value"]
        elif not _IGNORED.fullmatch(line):
            raise _CannotRoll(line)
    if any(sorted(words) != list(range(depths[x])) for x, words in copy.tables.items()):
        raise _CannotRoll("a table with gaps")
    for name, values in copy.values.items():
        if any(name in _NAME.findall(value) for _, value in values):
            raise _CannotRoll(f"parts of {name} that depend on each other")
    copy.inputs.remove("clk")
    _name_bits(copy)
    _split_wide_inputs(copy)
    return copy


def _rewrite(
    copy: _Copy, pattern: re.Pattern[str], replacement: Callable[[re.Match[str]], str]
) -> None:
    for name, values in copy.values.items():
        copy.values[name] = [(part, pattern.sub(replacement, value)) for part, value in values]
    for name, value in copy.updates.items():
        copy.updates[name] = pattern.sub(replacement, value)


def _name_bits(copy: _Copy) -> None:
    """Read only a signal's own bits: what lies above them in its word means nothing."""

    def own_bits(match: re.Match[str]) -> str:
        name = match[0]
        if name in copy.tables:
            return name
        last = copy.widths[name] - 1
        return f"{name}[{last}:0]" if last else f"{name}[0]"

    _rewrite(copy, _WHOLE, own_bits)


def _split_wide_inputs(copy: _Copy) -> None:
    """Make inputs of their own of the parts of one that is wider than the widest word."""
    for port in [port for port in copy.inputs if copy.widths[port] > 64]:

        def part(match: re.Match[str], port: str = port) -> str:
            high, low = int(match[1]), int(match[2] or match[1])
            name = f"{port}_{high}_{low}"
            if name in copy.widths and name not in copy.parts:
                raise _CannotRoll(f"it has a signal {name}")
            copy.parts[name] = (port, high, low)
            copy.widths[name] = high - low + 1
            return f"{name}[{high - low}:0]"

        _rewrite(copy, re.compile(rf"(?<![\w'$]){port}\[(\d+)(?::(\d+))?\]"), part)
        copy.inputs.remove(port)
    copy.inputs += copy.parts


def _statements(copy: _Copy, name: str) -> list[str]:
    """Return what computes a signal."""
    parts = copy.values[name]
    target, value = parts[0]
    if target != name:
        return [f"{name} = '0;", *(f"{part} = {value};" for part, value in parts)]
    if match := _CHOICE.fullmatch(value):
        # A vector has no branches: both are computed, and one is masked.
        mask = f"{{{_word_bits(copy.widths[name])}{{{match['condition']}}}}}"
        value = f"({mask} & ({match['yes']})) | (~{mask} & ({match['no']}))"
    return [f"{name} = {value};"]


def _rolled(name: str, copy: _Copy, copies: int, common: set[str]) -> str:
    """Return a module of some copies.

    Ports are those of a copy as unpacked arrays, `all_` before their names; an input in `common`
    is the same for all, and is an input of the module by its own name.

    Registers advance by blocking assignments, which nothing but their own loop sees. What is seen
    elsewhere follows by a non-blocking one: whoever samples it at the same edge sees its old value.
    """
    span = f"[0:{copies - 1}]"
    direct = [port for port in copy.outputs if port not in copy.updates]
    through = [port for port in direct if any(x in copy.inputs for x in copy.cone([port]))]
    settled = [port for port in direct if port not in through]
    seen = [x for x in copy.updates if x in copy.outputs or x in copy.cone(through)]
    for signal in copy.cone(through):
        if signal in copy.inputs and signal not in common:
            raise _CannotRoll(f"an output depends on {signal} in the same cycle")
    published = [*seen, *settled]
    hidden = [x for x in copy.updates if x not in seen]
    arrays = [port for port in (*copy.inputs, *copy.outputs) if port not in common]
    taken = {f"all_{x}" for x in (*arrays, *seen, *hidden)} | {f"next_{x}" for x in published}
    if clash := (taken | {"n", "begin_with", "advance", "show"}) & copy.widths.keys():
        raise _CannotRoll(f"it has a signal {min(clash)}")

    def array(signal: str) -> str:
        """Return where the loop that advances a signal keeps it."""
        return f"next_{signal}[n]" if signal in published else f"all_{signal}[n]"

    def needs(targets: Iterable[str]) -> list[str]:
        return [signal for signal in copy.cone(targets) if signal not in common]

    def compute(cone: Iterable[str], advancing: bool = True) -> list[str]:
        """Return what computes signals, each after its sources, of one copy."""
        lines = []
        for signal in cone:
            if signal in copy.values:
                lines += _statements(copy, signal)
            elif signal in copy.updates and advancing:
                lines.append(f"{signal} = {array(signal)};")
            elif signal in copy.updates or signal in copy.inputs:
                lines.append(f"{signal} = all_{signal}[n];")
            else:
                raise _CannotRoll(f"nothing drives {signal}")
        return lines

    def loop(signals: Iterable[str], lines: Iterable[str]) -> list[str]:
        """Return a block's body that runs statements on its own `signals` for every copy."""
        signals = list(dict.fromkeys(signals))
        return [
            *(f"    logic {copy.word(signal)} {signal};" for signal in signals),
            # Assigned before the loop, they are local variables to Verilator.
            *(f"    {signal} = '0;" for signal in signals),
            "    /* verilator unroll_disable */",
            f"    for (int unsigned n = 0; n < {copies}; n++) begin",
            *(f"      {line}" for line in lines),
            "    end",
        ]

    ports = ["input wire clk"]
    ports += [
        f"input wire {copy.word(port)} {port if port in common else f'all_{port} {span}'}"
        for port in copy.inputs
    ]
    ports += [f"output logic {copy.word(port)} all_{port} {span}" for port in copy.outputs]
    lines = [f"module {name}(", ",\n".join(f"  {port}" for port in ports), ");"]
    for table, words in copy.tables.items():
        listed = ", ".join(words[index] for index in range(len(words)))
        size = f"logic {copy.word(table)} {table} [0:{len(words) - 1}]"
        lines.append(f"  localparam {size} = '{{{listed}}};")
    internal = [f"all_{x}" for x in (*hidden, *seen) if x not in copy.outputs]
    for signal in (*internal, *(f"next_{x}" for x in published)):
        lines.append(f"  logic {copy.word(signal.partition('_')[2])} {signal} {span};")

    settle = [*compute(needs(settled)), *(f"{array(port)} = {port};" for port in settled)]
    starts = [f"{array(x)} = {copy.initial.get(x, chr(39) + '0')};" for x in copy.updates]
    lines.append("  initial begin : begin_with")
    lines += loop(needs(settled), [*starts, *settle])
    lines += [*(f"    all_{x} = next_{x};" for x in published), "  end"]

    sources = {x for value in copy.updates.values() for x in _NAME.findall(value)}
    cone = needs(sorted(sources - copy.tables.keys()))
    stores = [f"{array(x)} = {value};" for x, value in copy.updates.items()]
    lines.append("  always_ff @(posedge clk) begin : advance")
    lines += loop([*cone, *needs(settled)], [*compute(cone), *stores, *settle])
    lines += [*(f"    all_{x} <= next_{x};" for x in published), "  end"]
    if through:
        cone = needs(through)
        shows = [*compute(cone, advancing=False), *(f"all_{x}[n] = {x};" for x in through)]
        lines += ["  always_comb begin : show", *loop(cone, shows), "  end"]
    return "\n".join([*lines, "endmodule", ""])


def _replace(
    text: str, name: str, rolled_name: str, copy: _Copy, instances: Sequence[re.Match[str]]
) -> tuple[str, str]:
    """Return a module whose instances of module `name` are one, and the module of that one."""
    nets = f"{name}_copies"
    if nets in text:
        raise _CannotRoll(f"its parent has a signal {nets}")
    connections = [dict(_CONNECTION.findall(match[3])) for match in instances]
    lines = []
    for port in sorted({port for port, _, _ in copy.parts.values()}):
        for number, each in enumerate(connections):
            lines.append(
                f"  wire [{copy.widths[port] - 1}:0] {nets}__{port}_{number} = {each[port]};"
            )
    for part, (port, high, low) in copy.parts.items():
        for number, each in enumerate(connections):
            each[part] = f"{nets}__{port}_{number}[{high}:{low}]"
    for each in connections:
        for port in copy.inputs:
            if not each.get(port):
                raise _CannotRoll(f"{port} is not connected")
    if len({each.get("clk") for each in connections}) != 1:
        raise _CannotRoll("copies have clocks of their own")

    common = {port for port in copy.inputs if len({each[port] for each in connections}) == 1}
    rolled = _rolled(rolled_name, copy, len(instances), common)
    arrays = [port for port in (*copy.inputs, *copy.outputs) if port not in common]
    for port in arrays:
        lines.append(f"  wire {copy.word(port)} {nets}__{port} [0:{len(instances) - 1}];")
        for number, each in enumerate(connections):
            if port in copy.inputs:
                lines.append(f"  assign {nets}__{port}[{number}] = {each[port]};")
            elif each.get(port):
                lines.append(f"  assign {each[port]} = {nets}__{port}[{number}];")
    ports = [f".{port}({connections[0][port]})" for port in ("clk", *sorted(common))]
    ports += [f".all_{port}({nets}__{port})" for port in arrays]
    lines += [f"  {rolled_name} {nets} (", ",\n".join(f"    {x}" for x in ports), "  );"]

    for match in instances:
        text = text.replace(match[0], "", 1)
    head, end, tail = text.rpartition("endmodule")
    return head + "\n".join([*lines, end]) + tail, rolled


def _instances(text: str, modules: Iterable[str]) -> dict[str, list[re.Match[str]]]:
    """Return the instances in a module's text by what they are instances of."""
    found: dict[str, list[re.Match[str]]] = {}
    for match in _INSTANCE.finditer(text):
        if match[1] in modules:
            found.setdefault(match[1], []).append(match)
    return found


def _below(module: str, texts: Mapping[str, str]) -> list[str]:
    """Return a module and those in it."""
    found = [module]
    for each in found:
        found += [name for name in _instances(texts[each], texts) if name not in found]
    return found


def _flatten(modules: Mapping[str, Sequence[Path]], directory: Path) -> None:
    """Write ``<module>_flat.v`` for each module, of the files of those in it, as one."""
    script = ""
    for module, files in modules.items():
        script += _FLATTEN.format(
            files=" ".join(str(path.resolve()) for path in files),
            module=module,
            output=directory / f"{module}_flat.v",
        )
    (directory / "rolled.ys").write_text(script)
    command: list[str | Path] = [sys.executable, "-c", _YOSYS, directory / "rolled.ys"]
    run_tool(command, directory / "yosys.log")


def rolling() -> str:
    """Return what `roll` writes depends on beside the design.

    Raises
    ------
    ToolMissing
        If Yosys is not installed.
    """
    try:
        yosys = version("pyosys")
    except PackageNotFoundError:
        raise ToolMissing(
            "Yosys is missing: install it with `pip install 'pyosys>=0.70,<0.71'`"
        ) from None
    return f"{yosys} {Path(__file__).read_text()}"


def roll(verilog: Sequence[Path], top: str, directory: Path) -> list[Path]:
    """Write a design whose copies of modules are rolled up, and return its files.

    Parameters
    ----------
    verilog
        Files as `make verilog` writes them, a module each; others are returned as they are.
    top
        The module to begin at.
    directory
        Where files are written that are new or differ.

    Raises
    ------
    ToolFailed
        If Yosys refuses a module.
    """
    texts, files = {}, {}
    for path in verilog:
        text = path.read_text()
        names = _MODULE.findall(text)
        if len(names) != 1:
            return list(verilog)
        texts[names[0]], files[names[0]] = text, path

    candidates = {
        name
        for text in texts.values()
        for name, instances in _instances(text, texts).items()
        if len(instances) >= MINIMUM
    }
    below = {name: _below(name, texts) for name in sorted(candidates)}
    flat = {
        name: sorted(files[module] for module in modules)
        for name, modules in below.items()
        if _CLOCK.search(texts[name]) and not any(_MEMORY.search(texts[x]) for x in modules)
    }
    if not flat:
        return list(verilog)
    _flatten(flat, directory)
    waiting = [top]
    for module in waiting:
        for name, instances in _instances(texts[module], texts).items():
            if name in flat and len(instances) >= MINIMUM:
                try:
                    if f"{module}_{name}" in texts:
                        raise _CannotRoll("another module has its name")
                    copy = _parse((directory / f"{name}_flat.v").read_text())
                    texts[module], rolled = _replace(
                        texts[module], name, f"{module}_{name}", copy, instances
                    )
                except _CannotRoll:
                    pass
                else:
                    files[module] = directory / f"{module}.sv"
                    files[module].write_text(texts[module])
                    files[f"{module}_{name}"] = directory / f"{module}_{name}.sv"
                    files[f"{module}_{name}"].write_text(rolled)
                    continue
            if name not in waiting:
                waiting.append(name)
    return list(files.values())
