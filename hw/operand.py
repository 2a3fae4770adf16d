"""Operands: what travels through the array instead of codes, and the integers they stand for.

The edge of the array turns an 8-bit word into an *operand*: one 8-bit lane as sign, significand
and exponent, or two 4-bit or four 2-bit lanes as sign and magnitude code. A lane's integer is

- 8 bits: ``(-1)^sign * significand * 2^exponent``,
- 4 and 2 bits: ``(-1)^sign * magnitude_integer(magnitude, bits, limit)``.

Zero is a significand or magnitude of 0 with any sign.
"""

from amaranth.lib import data, enum
from amaranth.utils import bits_for

__all__ = ["Signedness", "magnitude_integer", "operand_layout"]


class Signedness(enum.Enum):
    """Which codes a decoder is built for."""

    SIGNED = "signed"
    UNSIGNED = "unsigned"
    BOTH = "both"

    def magnitude_bits(self, bits):
        """Return the magnitude bits of a `bits`-bit lane: a sign takes one, if all have it."""
        return bits - 1 if self is Signedness.SIGNED else bits


def magnitude_integer(code, bits, limit):
    """Return the integer of a DyBit magnitude code, by the definition in ``docs/format.md``.

    Parameters
    ----------
    code : int
        Magnitude code, ``0 <= code < 2**bits``.
    bits : int
        Magnitude bits N.
    limit : int
        Largest exponent field r; a larger one than N means N.
    """
    limit = min(limit, bits)
    ones = 0
    while ones < limit and code >> (bits - 1 - ones) & 1:
        ones += 1
    if ones == 0:
        return code
    if ones < limit:
        fraction_bits, exponent = bits - ones - 1, 2 * ones - 1
    elif bits == 1:
        return 1
    else:
        # No terminating zero is spent on the longest exponent field.
        fraction_bits, exponent = bits - ones, 2 * ones - 2
    fraction = code & ((1 << fraction_bits) - 1)
    return ((1 << fraction_bits) + fraction) << exponent


def operand_layout(widths, signedness):
    """Return the layout of an operand: the lanes of every width in `widths`, overlaid.

    Parameters
    ----------
    widths : iterable of int
        Lane widths built, from 2, 4 and 8.
    signedness : Signedness
        Decides whether a magnitude has ``bits`` or ``bits - 1`` bits.

    Returns
    -------
    amaranth.lib.data.UnionLayout
        Fields ``w8``, ``w4``, ``w2``, each an array of 8 / bits lanes.
    """
    fields = {}
    for bits in sorted(widths, reverse=True):
        magnitude_bits = signedness.magnitude_bits(bits)
        if bits == 8:
            lane = {
                "sign": 1,
                "significand": magnitude_bits,
                "exponent": bits_for(magnitude_bits),
            }
        else:
            lane = {"sign": 1, "magnitude": magnitude_bits}
        fields[f"w{bits}"] = data.ArrayLayout(data.StructLayout(lane), 8 // bits)
    return data.UnionLayout(fields)
