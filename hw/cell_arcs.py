"""The paths through each cell of UltraScale+, in steps that a placed design pays for."""

import re
from typing import NamedTuple

__all__ = ["Arcs", "Depth", "TimingError", "cell_arcs"]


class TimingError(ValueError):
    """The netlist has a cell of unknown timing, or a combinational loop."""


class Depth(NamedTuple):
    """What a path goes through: LUT levels, carry chains, DSP blocks without registers."""

    lut: int = 0
    carry: int = 0
    dsp: int = 0


_WIRE, _LUT, _CARRY, _DSP = Depth(), Depth(lut=1), Depth(carry=1), Depth(dsp=1)

_LUT_CELL = re.compile(r"LUT[1-6]|INV")
_WIDE_MULTIPLEXER = re.compile(r"MUXF[789]")
_CHAIN = re.compile(r"CARRY[48]")
_REGISTERS = re.compile(r"FD[RSCP]E|RAMB(18|36)E2")
_LUT_MEMORY = re.compile(r"SRL16E|SRLC32E|RAM(32|64|128|256|512)[XM]\w+")

_DSP_STAGES = {
    "A": ("AREG", "MREG", "PREG"),
    "B": ("BREG", "MREG", "PREG"),
    "C": ("CREG", "PREG"),
    "D": ("DREG", "ADREG", "MREG", "PREG"),
    "CARRYIN": ("CARRYINREG", "PREG"),
    **{f"{control}{one}": (f"{one}REG",) for control in ("CE", "RST") for one in "ABCDMP"},
    **{f"CE{one}{stage}": (f"{one}REG",) for one in "AB" for stage in (1, 2)},
    "CEAD": ("ADREG",),
}
"""Registers of a DSP48E2 between a pin and P, or that a pin controls; from others PREG alone."""


class Arcs:
    """The paths of one cell, between the nets at its pins.

    Members
    -------
    starts : {net: depths} of paths that begin in the cell
    ends : {net: depths} of paths that end there
    through : {net: [(net it comes from, depths)]}
    """

    def __init__(self):
        self.starts, self.ends, self.through = {}, {}, {}

    def begin(self, nets):
        self.starts.update(dict.fromkeys(nets, (_WIRE,)))

    def end(self, nets):
        self.ends.update(dict.fromkeys(nets, (_WIRE,)))

    def lead(self, sources, nets, depth):
        for net in nets:
            self.through.setdefault(net, []).extend((source, (depth,)) for source in sources)


def cell_arcs(cell, drivers):
    """Return the paths through a cell.

    A level is what a path enters by the wires between slices: a LUT with the wide multiplexers
    that stand behind it in its slice, the select of such a multiplexer, the address of a memory
    made of LUTs. A carry chain counts where a path enters it. A DSP block ends and begins paths
    where it has a register on them.

    Parameters
    ----------
    cell : dict
        As Yosys' ``write_json`` has it.
    drivers : dict
        {net: type of the cell that drives it}.

    Raises
    ------
    TimingError
        If the cell is of unknown timing.
    """
    arcs, kind = Arcs(), cell["type"]
    inputs, outputs = _nets(cell, "input"), _nets(cell, "output")
    if _LUT_CELL.fullmatch(kind):
        arcs.lead(inputs, outputs, _LUT)
    elif _WIDE_MULTIPLEXER.fullmatch(kind):
        select = _nets(cell, "input", "S")
        for net in inputs:
            inside = net not in select and _drives(drivers, net, _LUT_CELL, _WIDE_MULTIPLEXER)
            arcs.lead([net], outputs, _WIRE if inside else _LUT)
    elif _CHAIN.fullmatch(kind):
        _carry_arcs(arcs, cell["connections"], drivers)
    elif _REGISTERS.fullmatch(kind):
        arcs.begin(outputs)
        arcs.end(inputs)
    elif _LUT_MEMORY.fullmatch(kind):
        arcs.begin(outputs)
        arcs.end(inputs)
        for pin in cell["connections"]:
            if pin.startswith(("A", "DPRA")):
                arcs.lead(_nets(cell, "input", pin), outputs, _LUT)
    elif kind == "DSP48E2":
        _dsp_arcs(arcs, cell, outputs)
    elif kind == "BUFG":
        arcs.lead(inputs, outputs, _WIRE)
    elif kind != "$scopeinfo":
        raise TimingError(f"Cells must be of known timing, not {kind!r}")
    return arcs


def _drives(drivers, net, *kinds):
    """Return whether a cell of one of `kinds`, patterns, drives `net`."""
    driver = drivers.get(net, "")
    return any(kind.fullmatch(driver) for kind in kinds)


def _nets(cell, direction, only=None):
    """Return the nets at the pins of one direction, or at pin `only`; constants are none."""
    return [
        net
        for pin, nets in cell["connections"].items()
        if cell["port_directions"][pin] == direction and only in (None, pin)
        for net in nets
        if isinstance(net, int)
    ]


def _carry_arcs(arcs, pins, drivers):
    """Bit i depends on the bits up to its own and on the carry in."""
    for output in ("O", "CO"):
        for i, net in enumerate(pins.get(output, ())):
            entering = [*pins["S"][: i + 1], *pins["DI"][: i + (output == "CO")]]
            entering += [*pins.get("CYINIT", ()), *pins.get("CI_TOP", ())]
            arcs.lead([source for source in entering if isinstance(source, int)], [net], _CARRY)
            (carry_in,) = pins["CI"]
            if isinstance(carry_in, int):
                inside = _drives(drivers, carry_in, _CHAIN)
                arcs.lead([carry_in], [net], _WIRE if inside else _CARRY)


def _dsp_arcs(arcs, cell, outputs):
    def registered(stages):
        # What is left out is 1, as the primitive has it; an ALU without its multiplier skips M.
        skipped = {"MREG"} if cell["parameters"].get("USE_MULT") == "NONE" else set()
        values = (cell["parameters"].get(stage, "1") for stage in stages if stage not in skipped)
        return any(int(value, 2) for value in values)

    for pin in cell["connections"]:
        nets = _nets(cell, "input", pin)
        if pin == "CLK" or registered(_DSP_STAGES.get(pin, ("PREG",))):
            arcs.end(nets)
        else:
            arcs.lead(nets, outputs, _DSP)
    if any(map(registered, _DSP_STAGES.values())):
        arcs.begin(outputs)
