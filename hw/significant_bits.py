"""How many bits a number needs."""

from amaranth import *
from amaranth.utils import bits_for

__all__ = ["significant_bits"]


def significant_bits(m, value):
    """Return the position of the leading one of `value`, counted from 1; 0 when there is none.

    By bisection, a level of logic for each bit of the result. Purely combinational.

    Parameters
    ----------
    m : Module
        Module that gets the logic.
    value : Value
    """
    # Halves of equal size on both sides of a middle bit, all the way down.
    rest: Value = Cat(value, C(0, (1 << bits_for(len(value))) - 1 - len(value)))
    digits = []
    while len(rest) > 1:
        middle = len(rest) // 2
        long = Signal(name=f"longer_than_{middle}")
        part = Signal(middle, name=f"rest_{middle}")
        m.d.comb += [
            long.eq(rest[middle:].any()),
            part.eq(Mux(long, rest[middle + 1 :], rest[:middle])),
        ]
        digits.insert(0, long)
        rest = part
    return Cat(rest, *digits)
