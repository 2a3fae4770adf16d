"""Writes the part of a harness that follows from the design: ports, fields, and what is inside.

The rest, what is assumed and what must hold, is in the ``.sv`` files beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from amaranth.lib import data

__all__ = ["freed", "harness", "module_of", "with_one_word"]

FOLDER = Path(__file__).parent / "harnesses"

_DECLARED = r"^  (?:input|wire|reg) (?:signed )?(?:\[(\d+):0\] )?\\?{} ?(?: ?= [^;]*)?;$"


def module_of(verilog: str, name: str) -> str:
    """Return the text of one module."""
    found = re.search(rf"^module {name}\(.*?^endmodule\n", verilog, re.MULTILINE | re.DOTALL)
    assert found, f"the design must have a module {name}"
    return found[0]


def harness(
    verilog: str,
    name: str,
    body: str,
    *,
    inside: Iterable[str] = (),
    fields: Mapping[str, Any] | None = None,
    constants: Mapping[str, int | str] | None = None,
    lists: Mapping[str, Iterable[str]] | None = None,
    aliases: Mapping[str, str] | None = None,
    places: Mapping[str, tuple[int, int]] | None = None,
) -> str:
    """Return the design and the module ``proof``, in which the module `name` is ``dut``.

    What goes into ``dut`` is free, but for ``rst``, which is 0: registers start as after a reset.
    What comes out is a wire of the same name.

    Parameters
    ----------
    verilog
        The design.
    name
        Its top module.
    body
        Stem of the file in `FOLDER` with the assumptions and assertions.
    inside
        Signals inside, such as ``queue.level``, which becomes ``inside__queue__level``.
    fields
        Layouts of ports and of signals inside: each field becomes a wire ``<signal>__<field>``.
    constants
        Parameters of the body.
    lists
        Signals inside, the last first in a concatenation that the body calls ``{<name>}``.
    aliases
        What the body calls signals, and numbers in their place, that have other names here.
    places
        Lowest bit and width of parts of the signal ``inside__given``, by name.
    """
    text = module_of(verilog, name)
    inputs = [(port, _width(text, port)) for port in re.findall(r"^  input .*?(\w+);$", text, re.M)]
    outputs = [
        (port, _width(text, port)) for port in re.findall(r"^  output .*?(\w+);$", text, re.M)
    ]
    free = [(port, width) for port, width in inputs if port != "rst"]
    lines = [
        "`default_nettype none",
        f"module proof({', '.join(f'input [{w - 1}:0] {port}' for port, w in free)});",
    ]
    lines += [f"  localparam {key} = {value};" for key, value in (constants or {}).items()]
    lines += [f"  wire [{width - 1}:0] {port};" for port, width in outputs]
    lines += [f"  wire {port} = 0;" for port in ("clear", "rst") if (port, 1) not in free]
    links = ", ".join(f".{port}({port})" for port, _ in inputs + outputs)
    lines.append(f"  {name} dut({links});")
    for path in [*inside, *(path for members in (lists or {}).values() for path in members)]:
        *parents, signal = path.split(".")
        owner = name
        for parent in parents:
            owner = _instance(module_of(verilog, owner), parent)
        width = _width(module_of(verilog, owner), signal)
        probe = f"  wire [{width - 1}:0] probe_{signal} = \\{signal} ;\n"
        verilog = _added(verilog, owner, probe)
        there = "dut." + ".".join([*parents, f"probe_{signal}"])
        lines += [
            f"  (* hierconn *) wire [{width - 1}:0] \\{there} ;",
            f"  wire [{width - 1}:0] inside__{path.replace('.', '__')} = \\{there} ;",
        ]
    for signal, layout in (fields or {}).items():
        lines += _fields(signal, layout, 0)
    for key, (low, size) in (places or {}).items():
        lines.append(f"  wire [{size - 1}:0] {key} = inside__given[{low} +: {size}];")
    text = (FOLDER / f"{body}.sv").read_text()
    for key, members in (lists or {}).items():
        parts = [f"inside__{path.replace('.', '__')}" for path in members]
        text = text.replace(f"{{{key}}}", f"{{{', '.join(reversed(parts))}}}")
    for key, value in (aliases or {}).items():
        text = re.sub(rf"\b{key}\b", value, text)
    return "\n".join([verilog, *lines, text, "endmodule\n"])


def with_one_word(verilog: str, name: str, memory: str = "storage") -> str:
    """Return a design whose module `name` has a memory of one word, at no matter which address.

    The word is ``tap``, its address ``tap_address``, which stays what it is. What is read at other
    addresses is anything whatever: what holds for this design holds for the whole memory, too.
    """
    text = module_of(verilog, name)
    declaration = rf"^  reg \[(\d+):0\] {memory} \[(\d+):0\];\n  initial begin\n.*?^  end\n"
    found = re.search(declaration, text, re.MULTILINE | re.DOTALL)
    assert found, f"the module must have a memory {memory}"
    width, bits = int(found[1]) + 1, max(1, int(found[2]).bit_length())
    word = (
        f"  (* anyconst *)\n  reg [{bits - 1}:0] tap_address;\n"
        f"  (* anyseq *)\n  reg [{width - 1}:0] elsewhere;\n"
        f"  reg [{width - 1}:0] tap = 0;\n"
    )
    changed = text.replace(found[0], word)
    changed = re.sub(rf"{memory}\[(\w+)\] <=", r"if (\1 == tap_address) tap <=", changed)
    changed = re.sub(rf"{memory}\[(\w+)\]", r"(\1 == tap_address ? tap : elsewhere)", changed)
    return verilog.replace(text, changed)


def freed(verilog: str, name: str) -> str:
    """Return a design whose module `name` gives out anything whatever."""
    text = module_of(verilog, name)
    outputs = re.findall(r"^  output (\[\d+:0\] )?(\w+);$", text, re.MULTILINE)
    head = text[: text.index(";\n") + 2]
    ports = re.findall(r"^  (?:input|output) .*;\n", text, re.MULTILINE)
    free = [f"  (* anyseq *)\n  reg {width}free_{port};\n" for width, port in outputs]
    wires = [f"  wire {width}{port};\n  assign {port} = free_{port};\n" for width, port in outputs]
    return verilog.replace(text, "".join([head, *ports, *free, *wires, "endmodule\n"]))


def _added(verilog: str, name: str, lines: str) -> str:
    """Return a design with lines added at the end of a module."""
    text = module_of(verilog, name)
    return verilog.replace(text, text.removesuffix("endmodule\n") + lines + "endmodule\n")


def _width(text: str, signal: str) -> int:
    found = re.search(_DECLARED.format(re.escape(signal)), text, re.MULTILINE)
    assert found, f"the module must have a signal {signal}"
    return int(found[1] or 0) + 1


def _instance(text: str, instance: str) -> str:
    found = re.search(rf"^  (\w+) {instance} \($", text, re.MULTILINE)
    assert found, f"the module must have an instance {instance}"
    return found[1]


def _fields(signal: str, layout: Any, offset: int, path: str = "") -> list[str]:
    lines = []
    for key, field in layout:
        name, low = f"{path}__{key}", offset + field.offset
        with suppress(TypeError):  # no layout: a field without fields
            lines += _fields(signal, data.Layout.cast(field.shape), low, name)
        part = f"{signal}[{low} +: {field.width}]"
        lines.append(f"  wire [{field.width - 1}:0] {signal}{name} = {part};")
    return lines
