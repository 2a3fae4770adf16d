"""Counts what a design takes of an UltraScale+ FPGA, block by block, with Yosys.

The hierarchy is kept: a block counts the same in every place, and blocks add up to the whole.
A placer may save a little more where two blocks meet.
"""

import json
from collections import Counter
from pathlib import Path

from dybit.hw.yosys import run_yosys

__all__ = ["KINDS", "count_resources"]

KINDS = ("lut", "ff", "dsp", "bram")
"""What is counted: LUTs (also as memory or shift register), flip-flops, DSP48E2, 36-kbit BRAMs."""

_CELLS = {
    **{f"LUT{inputs}": ("lut", 1) for inputs in range(1, 7)},
    **dict.fromkeys(("INV", "SRL16E", "SRLC32E", "RAM32X1S", "RAM64X1S"), ("lut", 1)),
    **dict.fromkeys(("RAM32X1D", "RAM64X1D", "RAM128X1S"), ("lut", 2)),
    **dict.fromkeys(("RAM32M", "RAM64M", "RAM128X1D", "RAM256X1S"), ("lut", 4)),
    **dict.fromkeys(("RAM32M16", "RAM64M8", "RAM256X1D", "RAM512X1S"), ("lut", 8)),
    **dict.fromkeys(("FDRE", "FDSE", "FDCE", "FDPE"), ("ff", 1)),
    "DSP48E2": ("dsp", 1),
    "RAMB36E2": ("bram", 1),
    "RAMB18E2": ("bram", 0.5),
}
# They come with the LUTs of a slice, or with the clock.
_FREE = {"CARRY4", "CARRY8", "MUXF7", "MUXF8", "MUXF9", "BUFG", "$scopeinfo"}

_SCRIPT = """
read_verilog {files}
synth_xilinx -family xcup -noiopad -top {top}
tee -q -o {report} stat -json -tech xilinx
"""


def _count(name, cells, modules):
    """Return what a module takes by itself, and the modules it instantiates.

    A part that is no component, and so not in the manifest, is there once and counts as its
    parent's.
    """
    counts, children = Counter(), Counter()
    for cell, number in cells[name].items():
        if cell in modules:
            children[cell] += number
        elif cell in cells:
            part, inside = _count(cell, cells, modules)
            counts.update(part)
            children.update(inside)
        elif cell in _CELLS:
            kind, weight = _CELLS[cell]
            counts[kind] += weight * number
        elif cell not in _FREE:
            raise ValueError(f"Cells must be of a known kind, not {cell!r}")
    return counts, children


def count_resources(directory):
    """Synthesise an emitted design and count its cells.

    Parameters
    ----------
    directory : path
        Where `dybit.hw.verilog.emit` put the design.

    Returns
    -------
    dict
        ``blocks``, a list of {block, module, instances, own, each}, the top first: what one
        instance takes by itself, and with all it contains; and ``total``.

    Raises
    ------
    YosysError
        If Yosys is missing or refuses the design.
    """
    directory = Path(directory).resolve()
    manifest = json.loads((directory / "manifest.json").read_text())
    report = directory / ".resources.json"
    try:
        script = _SCRIPT.format(
            files=" ".join(manifest["verilog"]), top=manifest["top"], report=report.name
        )
        run_yosys(script, directory)
        synthesised = json.loads(report.read_text())["modules"]
    finally:
        report.unlink(missing_ok=True)
    modules = manifest["modules"]
    cells = {name: {} for name in modules}  # Yosys may drop a block of which nothing is left
    for name, module in synthesised.items():
        cells[name.removeprefix("\\")] = module["num_cells_by_type"]
    counted = {name: _count(name, cells, modules) for name in modules}

    def each(name):
        own, children = counted[name]
        counts = Counter(own)
        for child, number in children.items():
            counts.update({kind: number * value for kind, value in each(child).items()})
        return {kind: counts[kind] for kind in KINDS}

    return {
        "blocks": [
            {
                "block": module["component"],
                "module": name,
                "instances": module["instances"],
                "own": {kind: counted[name][0][kind] for kind in KINDS},
                "each": each(name),
            }
            for name, module in modules.items()
        ],
        "total": each(manifest["top"]),
    }
