"""One digit of a right shift that remembers whether it lost anything."""

from amaranth import *

__all__ = ["shift_right"]


def shift_right(m, value, digit, step, *, name):
    """Shift a value right by 0 to 3 steps and tell whether a one fell off.

    A four-way multiplexer is one LUT6, so a long shift is built of such digits, most
    significant first. Purely combinational.

    Parameters
    ----------
    m : Module
        Module that gets the logic.
    value : Value
        What to shift.
    digit : Value, 0 to 2 bits
        Number of steps.
    step : int
        Bits of one step.
    name : str
        Prefix of the two signals' names.

    Returns
    -------
    shifted : Signal, as wide as `value`
        The value shifted right by ``digit * step`` bits.
    lost : Signal, 1 bit
        Whether any of the bits shifted out was one.
    """
    shifted = Signal(len(value), name=f"{name}_shifted")
    lost = Signal(name=f"{name}_lost")
    with m.Switch(digit):
        for steps in range(1 << len(digit)):
            with m.Case(steps):
                m.d.comb += [
                    shifted.eq(value[steps * step :]),
                    lost.eq(value[: steps * step].any()),
                ]
    return shifted, lost
