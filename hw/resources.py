"""Counts what a design takes of an UltraScale+ FPGA, block by block, and how deep its logic is.

A block counts the same in every place, and blocks add up to the whole. A placer may save a little
more where two blocks meet, and where two small LUTs share a site: here each counts as one.
"""

from collections import Counter

from dybit.hw.synthesis import read_manifest, synthesise
from dybit.hw.timing import logic_depth

__all__ = ["KINDS", "count_resources"]

KINDS = ("lut", "ff", "dsp", "bram", "carry")
"""What is counted: LUTs (also as memory or shift register), flip-flops, DSP48E2, 36-kbit BRAMs,
and CARRY8, which come with the LUTs they add to.
"""

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
    "CARRY8": ("carry", 1),
    "CARRY4": ("carry", 0.5),  # a CARRY8 is two of them, of one chain or of two
}
# They come with the LUTs of a slice, or with the clock.
_FREE = {"MUXF7", "MUXF8", "MUXF9", "BUFG", "$scopeinfo"}


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


def count_resources(directory, blocks=None, dsp=True, log=None):
    """Synthesise an emitted design, count its cells and measure its logic depth.

    Parameters
    ----------
    directory : path
        Where `dybit.hw.verilog.emit` put the design.
    blocks : collection of str, optional
        Components that stay blocks of their own; the others count, optimised, as their parents'.
        The top is a block in any case: ``()`` flattens the design. Default: all of them.
    dsp : bool
        Multiplications may take DSP blocks.
    log : path, optional
        Takes what Yosys prints.

    Returns
    -------
    dict
        ``blocks``, a list of {block, module, instances, own, each, depth}, the top first: what
        one instance takes by itself, and with all it contains, and the paths of
        `dybit.hw.timing.logic_depth` as dicts; ``total`` and ``depth``, those of the top.

    Raises
    ------
    YosysError
        If Yosys is missing or refuses the design.
    """
    manifest = read_manifest(directory)
    netlist = synthesise(directory, blocks, dsp, log)
    modules = {
        name: module
        for name, module in manifest["modules"].items()
        if blocks is None or name == manifest["top"] or module["component"] in blocks
    }
    cells = {name: {} for name in modules}  # Yosys may drop a block of which nothing is left
    for name, module in netlist.items():
        cells[name] = Counter(cell["type"] for cell in module["cells"].values())
    counted = {name: _count(name, cells, modules) for name in modules}
    depths = {
        name: [depth._asdict() for depth in front] for name, front in logic_depth(netlist).items()
    }

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
                "depth": depths.get(name, []),
            }
            for name, module in modules.items()
        ],
        "total": each(manifest["top"]),
        "depth": depths[manifest["top"]],
    }
