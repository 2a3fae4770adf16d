"""Product of two narrow lanes given as odd part and exponent."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["EXPONENT_BITS", "FloatingProduct", "floating_integers"]

EXPONENT_BITS = 3
"""Bits of a lane code's exponent field: one more than the exponent, 0 for the number 0."""


def floating_integers(odd_bits):
    """Return the integer of each lane code: an odd part in the low bits, below an exponent field.

    Parameters
    ----------
    odd_bits : int
        Bits of the odd part, less its lowest, which is 1.
    """
    return [
        (2 * odd + 1 << exponent - 1) if exponent else 0
        for exponent in range(1 << EXPONENT_BITS)
        for odd in range(1 << odd_bits)
    ]


class FloatingProduct(wiring.Component):
    """The product of two lanes whose codes are odd part and exponent field.

    That is how lanes take several exponent limits: every integer of limits 2 and 3 is 1 or 3
    times a power of two. The sum of the exponents is looked up first, four LUTs of six inputs;
    with one bit of odd part on either side a bit of the product is one more.

    Combinational.

    Parameters
    ----------
    a_odd_bits, b_odd_bits : int
        Bits of the odd parts, less their lowest.
    largest : int
        Largest product of the integers in use.

    Members
    -------
    a, b : In
        Lane codes, see `floating_integers`.
    product : Out
    """

    def __init__(self, a_odd_bits, b_odd_bits, largest):
        self.a_odd_bits, self.b_odd_bits = a_odd_bits, b_odd_bits
        super().__init__(
            {
                "a": In(a_odd_bits + EXPONENT_BITS),
                "b": In(b_odd_bits + EXPONENT_BITS),
                "product": Out(range(largest + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        a_odd, a_exponent = self.a[: self.a_odd_bits], self.a[self.a_odd_bits :]
        b_odd, b_exponent = self.b[: self.b_odd_bits], self.b[self.b_odd_bits :]

        exponent = Signal(EXPONENT_BITS + 1)
        with m.Switch(Cat(a_exponent, b_exponent)):
            for b in range(1 << EXPONENT_BITS):
                for a in range(1 << EXPONENT_BITS):
                    with m.Case(b << EXPONENT_BITS | a):
                        m.d.comb += exponent.eq(a + b - 1 if a and b else 0)

        with m.Switch(Cat(exponent, a_odd, b_odd)):
            for b in range(1 << self.b_odd_bits):
                for a in range(1 << self.a_odd_bits):
                    for e in range(1 << len(exponent)):
                        with m.Case(((b << self.a_odd_bits | a) << len(exponent)) | e):
                            odd = (2 * a + 1) * (2 * b + 1)
                            m.d.comb += self.product.eq(odd << e - 1 if e else 0)
        return m
