"""The fields of an operand, whatever number system its codes are of."""

from abc import ABC, abstractmethod

from amaranth import *
from amaranth.lib import data
from amaranth.utils import ceil_log2

__all__ = ["OperandLayout"]


class OperandLayout(ABC):
    """Lays out the lanes of an operand; a number system states what they hold and how wide.

    Attributes
    ----------
    widths : tuple of int
        Lane widths built, from 2, 4 and 8, in order.
    linear : bool
        An 8-bit lane is an integer rather than significand and exponent.
    """

    @abstractmethod
    def code_bits(self, bits):
        """Return the bits of a narrow lane's code, its sign apart."""

    @abstractmethod
    def lane_integers(self, bits):
        """Return the integer of each lane code of a narrow width, 4 or 2."""

    @property
    @abstractmethod
    def significand_bits(self):
        """Bits of the significand of an 8-bit lane."""

    @property
    @abstractmethod
    def max_exponent(self):
        """Largest exponent of an 8-bit lane."""

    @property
    def exponent_bits(self):
        """Bits of the exponent of an 8-bit lane; none where it is always 0."""
        return ceil_log2(self.max_exponent + 1)

    @property
    @abstractmethod
    def integer_bits(self):
        """Bits of the integer of an 8-bit lane, sign included."""

    def found_layout(self):
        """Return the layout of what codes are found to be: an 8-bit lane is floating-point."""
        return self._union(self._floating_lane)

    def layout(self):
        """Return the layout of the operand itself: an 8-bit lane is what a multiplier takes."""
        return self._union(self._linear_lane if self.linear else self._tripled_lane)

    def _floating_lane(self):
        return {"sign": 1, "significand": self.significand_bits, "exponent": self.exponent_bits}

    def _tripled_lane(self):
        bits = self.significand_bits
        return {"sign": 1, "significand": bits, "tripled": bits + 2, "exponent": self.exponent_bits}

    def _linear_lane(self):
        return {"integer": signed(self.integer_bits)}

    def _union(self, wide_lane):
        """Return a union of ``w8``, ``w4`` and ``w2``, each an array of lanes."""
        fields = {}
        for bits in reversed(self.widths):
            lane = wide_lane() if bits == 8 else {"sign": 1, "magnitude": self.code_bits(bits)}
            fields[f"w{bits}"] = data.ArrayLayout(data.StructLayout(lane), 8 // bits)
        return data.UnionLayout(fields)
