"""The mode signal: which of an array's precision modes is in force."""

from amaranth import *
from amaranth.utils import ceil_log2

__all__ = ["mode_case", "mode_shape"]


def mode_shape(array):
    """Return the shape of a mode: an index into ``array.modes``."""
    return unsigned(max(1, ceil_log2(len(array.modes))))


def mode_case(m, array, index):
    """Return the case of mode `index` in a switch; the last one also takes what no mode has."""
    return m.Default() if index == len(array.modes) - 1 else m.Case(index)
