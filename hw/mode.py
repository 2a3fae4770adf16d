"""The mode signal: which of an array's precision modes is in force."""

from amaranth import *
from amaranth.utils import ceil_log2

from dybit.hw.width import Width

__all__ = ["mode_case", "mode_shape", "mode_width"]


def mode_shape(array):
    """Return the shape of a mode: an index into ``array.modes``."""
    return unsigned(max(1, ceil_log2(len(array.modes))))


def mode_case(m, array, index):
    """Return the case of mode `index` in a switch; the last one also takes what no mode has."""
    return m.Default() if index == len(array.modes) - 1 else m.Case(index)


def mode_width(m, array, mode, operand):
    """Return the `Width` of a mode's operand, ``"weight"`` or ``"activation"``."""
    width = Signal(Width, name=f"{operand}_width")
    with m.Switch(mode):
        for index, built in enumerate(array.modes):
            with mode_case(m, array, index):
                m.d.comb += width.eq(Width.of(getattr(built, f"{operand}_bits")))
    return width
