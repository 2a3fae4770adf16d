"""Operands: what travels through the array instead of codes, and the integers they stand for.

The edge of the array turns an 8-bit word into an *operand*: one 8-bit lane, two 4-bit or four
2-bit lanes. An 8-bit lane is what the element's multiplier takes:

- ``multiplier = "dsp"``: the integer itself, in two's complement;
- ``multiplier = "lut"``: sign, significand, three times the significand, and exponent of
  ``(-1)^sign * significand * 2^exponent``.

A narrow lane is its sign and a *lane code*, of which `lane_integers` gives the integers: a product
of two narrow lanes is a table of both codes. Zero is a lane code of 0 with any sign.
"""

from dataclasses import dataclass

from amaranth import *
from amaranth.lib import enum

from dybit.hw.esb_operand import ESBOperand
from dybit.hw.floating_product import EXPONENT_BITS, floating_integers
from dybit.hw.operand_layout import OperandLayout
from dybit.hw.width import sorted_widths

__all__ = [
    "Operand",
    "Signedness",
    "activation_operand",
    "magnitude_integer",
    "weight_operand",
]


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


@dataclass(frozen=True)
class Operand(OperandLayout):
    """What a decoder makes of a word of DyBit codes, and a multiplier takes.

    Parameters
    ----------
    widths : tuple of int
        Lane widths built, from 2, 4 and 8, in order.
    signedness : Signedness
        Codes built for.
    limit : int
        Exponent limit of 4-bit lanes, 1 to 4; a signed lane has at most 3.
    run_time_limits : tuple of int
        If not empty, the limits, from 1 to 3, among which signed 4-bit lanes choose at run time
        instead; unsigned ones stay plain. Lane codes are then those of `FloatingProduct`.
    linear : bool
        An 8-bit lane is an integer rather than significand and exponent.
    """

    widths: tuple
    signedness: Signedness
    limit: int = 4
    run_time_limits: tuple = ()
    linear: bool = True

    def __post_init__(self):
        object.__setattr__(self, "widths", sorted_widths(self.widths))
        if not isinstance(self.signedness, Signedness):
            raise TypeError(f"signedness must be a Signedness, not {self.signedness!r}")
        if self.limit not in range(1, 5):
            raise ValueError(f"limit must be 1 to 4, not {self.limit!r}")

    def code_bits(self, bits):
        if bits == 4 and self.run_time_limits:
            return self.odd_bits + EXPONENT_BITS
        return self.signedness.magnitude_bits(bits)

    def lane_integers(self, bits):
        if bits == 4 and self.run_time_limits:
            return floating_integers(self.odd_bits)
        code_bits, limit = self.code_bits(bits), 2 if bits == 2 else self.limit
        return [magnitude_integer(code, code_bits, limit) for code in range(1 << code_bits)]

    @property
    def odd_bits(self):
        """Bits of the odd part of a floating lane code: for 1 and 3, or for 1, 3, 5 and 7."""
        has_fives = self.signedness is not Signedness.SIGNED or 1 in self.run_time_limits
        return 2 if has_fives else 1

    def signed_limits(self, bits):
        """Return the limits a signed lane of a narrow width may have."""
        if bits == 2:
            return (1,)
        return self.run_time_limits or (min(self.limit, 3),)

    @property
    def significand_bits(self):
        return self.signedness.magnitude_bits(8)

    @property
    def max_exponent(self):
        return self.signedness.magnitude_bits(8)

    @property
    def integer_bits(self):
        # The largest integer is 2^(2N - 2).
        return 2 * self.signedness.magnitude_bits(8)


def activation_operand(array):
    """Return the operand that activations of `array` become."""
    widths = {mode.activation_bits for mode in array.modes}
    if array.family == "esb":
        return _esb_operand(array, widths, padded=True)
    signedness = Signedness(array.activations)
    return Operand(
        widths=tuple(widths),
        signedness=signedness,
        limit=array.activation_exponent_limit,
        run_time_limits=array.run_time_limits,
        linear=array.multiplier == "dsp",
    )


def weight_operand(array, byte):
    """Return the operand that weight byte `byte` of an element of `array` becomes."""
    widths = {mode.weight_bits for mode in array.modes if mode.channels > byte}
    if array.family == "esb":
        return _esb_operand(array, widths, padded=False)
    return Operand(
        widths=tuple(widths),
        signedness=Signedness.SIGNED,
        limit=array.weight_exponent_limit,
        run_time_limits=array.run_time_limits,
        linear=array.multiplier == "dsp",
    )


def _esb_operand(array, widths, padded):
    formats = tuple(array.weight_format(bits) for bits in sorted(widths))
    return ESBOperand(formats, padded, linear=array.multiplier == "dsp")
