"""The run-time description of the codes an encoder produces."""

from amaranth import *
from amaranth.lib import data, enum

__all__ = ["CODE_BITS", "OUTPUT_WIDTHS", "OutputFormat", "OutputWidth", "sorted_widths"]

CODE_BITS = 8
"""Width of the port a code leaves on; a narrower code sits in its least significant bits."""


class OutputWidth(enum.Enum, shape=2):
    """Width of a code."""

    BITS_2 = 0
    BITS_4 = 1
    BITS_8 = 2


OUTPUT_WIDTHS = {2: OutputWidth.BITS_2, 4: OutputWidth.BITS_4, 8: OutputWidth.BITS_8}
"""The widths in bits and what selects them."""


def sorted_widths(widths):
    """Return the widths to build in order, or raise ValueError when there is another or none."""
    if not widths or not set(widths) <= set(OUTPUT_WIDTHS):
        raise ValueError(f"widths must be one or more of 2, 4 and 8, not {widths!r}")
    return tuple(sorted(set(widths)))


class OutputFormat(data.Struct):
    """A member of the DyBit family and what is done to a result before it is stored in it.

    Members
    -------
    width : OutputWidth
        Width of the code, sign included.
    signed : 1
        Whether the top bit of the code is a sign. Without it negative results become 0.
    exponent_limit : 4
        Longest run of leading ones that counts as exponent: 1 to N, where N is the number of
        magnitude bits (the width, less one when signed). Anything above N acts as N; 0 is not
        allowed.
    relu : 1
        Negative results become 0 although the format is signed.
    max_code : 8
        Largest magnitude code that may be produced, which is how ReLU6 is done. Anything from
        2^N - 1 up leaves the whole format in use.
    """

    width: OutputWidth
    signed: 1
    exponent_limit: 4
    relu: 1
    max_code: CODE_BITS
