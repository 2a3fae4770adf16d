"""Operands: what travels through the array instead of codes, and the integers they stand for.

The edge of the array turns an 8-bit word into an *operand*: one 8-bit lane, two 4-bit or four
2-bit lanes. An 8-bit lane is what the element's multiplier takes:

- ``multiplier = "dsp"``: the integer itself, in two's complement;
- ``multiplier = "lut"``: sign, significand, three times the significand, and exponent of
  ``(-1)^sign * significand * 2^exponent``.

A narrow lane is its sign and a *lane code*, of which `Operand.lane_integers` gives the integers: a
product of two narrow lanes is a table of both codes. Zero is a lane code of 0 with any sign.
"""

from dataclasses import dataclass

from amaranth import *
from amaranth.lib import data, enum
from amaranth.utils import bits_for, ceil_log2

from dybit.hw.width import sorted_widths

__all__ = [
    "Operand",
    "Signedness",
    "activation_operand",
    "limit_shape",
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
class Operand:
    """What a decoder makes of a word, and a multiplier takes.

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
        instead; unsigned ones keep `limit`.
    recoded : bool
        Signed 4-bit lanes become the code of the same integer in the unsigned plain format,
        which has every signed integer of every limit. Always so with ``Signedness.BOTH``.
    linear : bool
        An 8-bit lane is an integer rather than significand and exponent.
    """

    widths: tuple
    signedness: Signedness
    limit: int = 4
    run_time_limits: tuple = ()
    recoded: bool = False
    linear: bool = True

    def __post_init__(self):
        object.__setattr__(self, "widths", sorted_widths(self.widths))
        if not isinstance(self.signedness, Signedness):
            raise TypeError(f"signedness must be a Signedness, not {self.signedness!r}")
        if self.limit not in range(1, 5):
            raise ValueError(f"limit must be 1 to 4, not {self.limit!r}")

    def code_bits(self, bits):
        """Return the bits of a narrow lane's code, its sign apart."""
        if bits == 4 and self.recoded:
            return 4
        return self.signedness.magnitude_bits(bits)

    def lane_integers(self, bits, limit=None):
        """Return the integer of each lane code of a narrow width.

        Parameters
        ----------
        bits : int
            4 or 2.
        limit : int, optional
            The limit chosen at run time, where lane codes keep theirs.
        """
        code_bits = self.code_bits(bits)
        if bits == 2:
            limit = 2
        elif limit is None or code_bits == 4:
            limit = self.limit
        return [magnitude_integer(code, code_bits, limit) for code in range(1 << code_bits)]

    def signed_limits(self, bits):
        """Return the limits a signed lane of a narrow width may have."""
        if bits == 2:
            return (1,)
        return self.run_time_limits or (min(self.limit, 3),)

    def layout(self):
        """Return the layout: a union of ``w8``, ``w4`` and ``w2``, each an array of lanes."""
        fields = {}
        for bits in reversed(self.widths):
            magnitude_bits = self.signedness.magnitude_bits(bits)
            if bits < 8:
                lane = {"sign": 1, "magnitude": self.code_bits(bits)}
            elif self.linear:
                # The largest integer is 2^(2N - 2).
                lane = {"integer": signed(2 * magnitude_bits)}
            else:
                lane = {
                    "sign": 1,
                    "significand": magnitude_bits,
                    "tripled": magnitude_bits + 2,
                    "exponent": bits_for(magnitude_bits),
                }
            fields[f"w{bits}"] = data.ArrayLayout(data.StructLayout(lane), 8 // bits)
        return data.UnionLayout(fields)


def activation_operand(array):
    """Return the operand that activations of `array` become."""
    signedness = Signedness(array.activations)
    return Operand(
        widths=tuple({mode.activation_bits for mode in array.modes}),
        signedness=signedness,
        limit=array.activation_exponent_limit,
        run_time_limits=array.run_time_limits,
        recoded=signedness is Signedness.BOTH or array.limits_per_operand,
        linear=array.multiplier == "dsp",
    )


def weight_operand(array, byte):
    """Return the operand that weight byte `byte` of an element of `array` becomes."""
    return Operand(
        widths=tuple({mode.weight_bits for mode in array.modes if mode.channels > byte}),
        signedness=Signedness.SIGNED,
        limit=4 if array.limits_per_operand else array.weight_exponent_limit,
        run_time_limits=array.run_time_limits,
        recoded=array.limits_per_operand,
        linear=array.multiplier == "dsp",
    )


def limit_shape(array):
    """Return the shape of the limit that both operands' 4-bit lanes share at run time."""
    return unsigned(ceil_log2(max(1, len(array.shared_limits))))
