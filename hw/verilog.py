"""Writes a component as readable, deterministic Verilog with a manifest.

The bytes depend on the design alone: no dates, paths or source positions, and one module
for all equal components (see `hw.units`). The manifest describes the top module to
whatever simulates, synthesises or drives it.
"""

import hashlib
import json
import os
import re
import tempfile
from collections import Counter
from pathlib import Path

from dybit.hw.naming import readable
from dybit.hw.units import split
from dybit.hw.yosys import run_yosys

__all__ = ["PORT_WAIVERS", "WAIVERS", "emit"]

# What Amaranth's back end forces; everything else Verilator warns of is an error.
WAIVERS = {
    "PROCASSINIT": "registers carry their initial value in the declaration, as FPGAs load it",
    "UNUSEDSIGNAL": "sums are written a bit wider than the signal that takes their low bits",
    "WIDTHEXPAND": "operands are written at their own width and extended by the operator",
}

PORT_WAIVERS = {
    "interrupt": ("SYMRSVDWORD", "drivers know this port by its name, which C++ libraries use too"),
}
"""What else is waived where a port has that name."""

_SCRIPT = """
read_rtlil design.il
proc -nomux -norom -noopt
memory_collect
write_verilog design.v
"""


def _modules(text):
    """Yield (name, text) of each module in an RTLIL text."""
    for match in re.finditer(r"^module \\(\S+)\n.*?^end\n", text, re.MULTILINE | re.DOTALL):
        yield match[1], match[0]


_SHIFT = re.compile(
    r"  cell \$shift .*\n    parameter \\A_SIGNED .*\n    parameter \\B_SIGNED .*\n"
    r"    parameter \\A_WIDTH (?P<width>\d+)\n    parameter \\B_WIDTH .*\n"
    r"    parameter \\Y_WIDTH (?P<part>\d+)\n    connect \\A .*\n    connect \\B .*\n"
    r"    connect \\Y (?P<wire>\S+)\n  end\n"
)


def _split_shifts(module):
    """Cut a part out of a word in two steps, shift and select: in one, Verilog truncates."""
    count = 0

    def split_shift(match):
        nonlocal count
        part, width = int(match["part"]), int(match["width"])
        if part >= width:
            return match[0]
        count += 1
        shifted = f"$shifted${count}"
        cell = match[0].replace(f"\\Y_WIDTH {part}", f"\\Y_WIDTH {width}")
        cell = cell.replace(f"\\Y {match['wire']}", f"\\Y {shifted}")
        selection = f"connect {match['wire']} {shifted} [{part - 1}:0]\n"
        return f"  wire width {width} {shifted}\n{cell}{selection}"

    return _SHIFT.sub(split_shift, module)


def _rtlil(units):
    """Join the units into one RTLIL design, names made readable."""
    texts, plain = [], {}
    for unit in units:
        for name, text in _modules(unit.text):
            # Parts that are no component of their own keep their parent's name in theirs.
            plain[name] = name.replace(".", "__")
            if name == unit.name:
                texts.append(readable(text, [port.name for port in unit.ports], unit.labels))
            else:
                texts.append(readable(text))
    design = "\n".join(map(_split_shifts, texts))
    for name, flat in plain.items():
        if name != flat:
            design = re.sub(rf"\\{re.escape(name)}(?=\s)", lambda _, to=flat: f"\\{to}", design)
    return design


_REGISTER = re.compile(
    r"  always @\(posedge (?P<clock>\w+)\)\n    (?P<name>\w+) <= (?P=name)_next;\n"
)
_DECLARATION = re.compile(r"  reg (?:signed )?(?:\[\d+:0\] )?(?P<name>\w+)_next;\n")
_BLOCK = re.compile(
    r"  always @\* begin\n    if \(time_zero_event\) begin end\n(?P<body>.*?)^  end\n",
    re.MULTILINE | re.DOTALL,
)


# Icarus initialises the signal before the blocks begin to wait, so they miss it; without this,
# one whose inputs keep their initial values has no output.
_WAKE_ICARUS = """\
`ifdef __ICARUS__
  initial time_zero_event <= 1;
`endif
"""


def _fold_registers(module):
    """Write a register and the block that computes its next value as one clocked block.

    Yosys keeps them apart. Together they read as written by hand, and a simulator computes
    the next value once a cycle instead of at every change of an input.
    """
    clocks = {match["name"]: match["clock"] for match in _REGISTER.finditer(module)}
    mentions = Counter(re.findall(r"\b(\w+)_next\b", module))
    folded = set()

    def fold(match):
        names = set(re.findall(r"\b(\w+)_next\b", match["body"]))
        if len(names) != 1 or not names <= clocks.keys():
            return match[0]
        (name,) = names
        body, assignments = re.subn(
            rf"^( *){name}_next(\[[\d:]+\])? = ", rf"\1{name}\2 <= ", match["body"], flags=re.M
        )
        # The register, the declaration and the block must be all there is of the next value,
        # and the block must compute nothing else.
        elsewhere = mentions[name] != assignments + 2
        if elsewhere or re.search(r"^ *\w+(\[[\d:]+\])? = ", body, flags=re.M):
            return match[0]
        folded.add(name)
        body = body.removeprefix(f"    {name} <= {name};\n")  # holding needs no words
        return f"  always @(posedge {clocks[name]}) begin\n{body}  end\n"

    def drop(match):
        return "" if match["name"] in folded else match[0]

    module = _DECLARATION.sub(drop, _REGISTER.sub(drop, _BLOCK.sub(fold, module)))
    event = "  reg time_zero_event = 0;\n"
    if len(re.findall(r"\btime_zero_event\b", module)) == 1:
        return module.replace(event, "")
    return module.replace(event, event + _WAKE_ICARUS)


_CASE = re.compile(r"^( *)(?:casez? |default:|endcase)", re.MULTILINE)


def _complete_cases(module):
    """Give each case without a default an empty one: what is not named changes nothing."""
    parts, end, complete = [], 0, []
    for match in _CASE.finditer(module):
        word = match[0].strip()
        if word == "default:":
            complete[-1] = True
        elif word != "endcase":
            complete.append(False)
        elif not complete.pop():
            parts += [module[end : match.start()], f"{match[1]}  default: ;\n"]
            end = match.start()
    return "".join([*parts, module[end:]])


def _verilog(units, top):
    """Return {module name: Verilog text}, the top first."""
    with tempfile.TemporaryDirectory(prefix="dybit-verilog-") as scratch:
        Path(scratch, "design.il").write_text(_rtlil(units))
        run_yosys(_SCRIPT, scratch)
        text = Path(scratch, "design.v").read_text()
    # Yosys calls the signal that wakes combinational blocks at time 0 after its own source.
    text = re.sub(r"\\\$auto\$verilog_backend\.cc:\d+:dump_module\$\d+ ", "time_zero_event", text)
    # It marks every `if` that has an `else`, too.
    text = re.sub(r"^ *\(\* full_case = 32'd1 \*\)\n(?= *if )", "", text, flags=re.MULTILINE)
    # It declares signals without bits, which it uses nowhere, as if they had two.
    text = re.sub(r"^ *(?:wire|reg) \[-1:0\] \w+;\n", "", text, flags=re.MULTILINE)
    # It spells out sign extensions bit by bit.
    text = re.sub(
        r"\b(\w+(?:\[\d+\])?)(?:, \1(?![\w\[]))+",
        lambda match: f"{{{match[0].count(',') + 1}{{{match[1]}}}}}",
        text,
    )
    header = f"// DyBit, design {top}: generated from its Amaranth description, do not edit.\n\n"
    modules = {
        match[1]: header + _complete_cases(_fold_registers(match[0]))
        for match in re.finditer(r"^module (\w+)\(.*?^endmodule\n", text, re.MULTILINE | re.DOTALL)
    }
    return {top: modules.pop(top), **dict(sorted(modules.items()))}


def _replace(path, text):
    """Write a file in one step: it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


def _instances(units):
    """Count the instances of each module below the top."""
    counts = {units[-1].name: 1}
    for unit in reversed(units):  # parents come after their children
        for child, times in unit.children.items():
            counts[child] = counts.get(child, 0) + times * counts[unit.name]
    return counts


def emit(component, name, directory, parameters=None, latency=None, tables=None):
    """Write a component as Verilog, one module a file, with waivers and a manifest.

    Parameters
    ----------
    component : wiring.Component
        Design to emit; its module is called `name`, the others ``<name>_<class>``.
    name : str
        Name of the top module: letters, digits and underscores.
    directory : path
        Created when absent; what an earlier call left there and is no longer part of the
        design is removed.
    parameters, latency : dict, optional
        Recorded in the manifest: what the design was built with, cycles by path.
    tables : dict of str to list, optional
        Added to the manifest: what else its driver needs to know, such as the register map.

    Returns
    -------
    dict
        The manifest: ``name``, ``top``, ``verilog`` (files, the top first), ``waivers``
        (the .vlt file), ``ports``, ``modules`` (component and instances by module),
        ``parameters``, ``latency`` and ``content_hash``, the SHA-256 of the Verilog files
        one after the other. It is written last, so that one whose hash agrees with the
        files stands for a complete result.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(f"Name must be letters, digits and underscores, not {name!r}")
    units = split(component, name)
    verilog = _verilog(units, name)
    counts = _instances(units)
    manifest = {
        "name": name,
        "top": name,
        "verilog": [f"{module}.v" for module in verilog],
        "waivers": f"{name}.vlt",
        "ports": [
            {"name": port.name, "direction": port.direction, "width": port.width}
            for port in units[-1].ports
        ],
        "modules": {
            unit.name: {"component": unit.component, "instances": counts[unit.name]}
            for unit in reversed(units)
        },
        "parameters": parameters or {},
        "latency": latency or {},
        **(tables or {}),
        "content_hash": f"sha256:{hashlib.sha256(''.join(verilog.values()).encode()).hexdigest()}",
    }
    ports = {port.name for port in units[-1].ports}
    rules = WAIVERS | dict(rule for name, rule in PORT_WAIVERS.items() if name in ports)
    waivers = ["`verilator_config"]
    for rule, reason in rules.items():
        waivers += [f"// {reason}", f'lint_off -rule {rule} -file "*{name}*.v"']
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "manifest.json").unlink(missing_ok=True)
    for stale in set(directory.glob(f"{name}_*.v")) - {directory / f for f in manifest["verilog"]}:
        stale.unlink()
    _replace(directory / manifest["waivers"], "\n".join(waivers) + "\n")
    for module, text in verilog.items():
        _replace(directory / f"{module}.v", text)
    _replace(directory / "manifest.json", json.dumps(manifest, indent=2) + "\n")
    return manifest
