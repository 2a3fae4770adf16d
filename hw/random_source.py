"""Pseudo-random words of any width, one a cycle."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["RandomSource", "seed"]

_BITS = 32
_GOLDEN = 0x9E3779B9
"""2^32 over the golden ratio: multiples of it lie far apart."""


def seed(index):
    """Return the first state of generator `index`, which is never 0."""
    return _GOLDEN * (index + 1) % (1 << _BITS) or 1


class RandomSource(wiring.Component):
    """Linear feedback shift registers of 32 bits side by side, each moving on 32 places a step.

    They are Marsaglia's xorshift32 (Journal of Statistical Software 8, 2003): a period of
    2^32 - 1 and three exclusive ors of the state with itself, shifted by 13 left, 17 right and
    5 left.

    Latency: after a cycle with `step`, or after `restart`, `word` is the next, or the first.

    Parameters
    ----------
    bits : int
        Of a word, a multiple of 32; generator i has bits 32 i to 32 i + 31 and starts at
        `seed(i)`.

    Members
    -------
    step : In(1)
    restart : In(1)
        Back to the first word; wins over `step`.
    word : Out(bits)
    """

    def __init__(self, bits):
        if bits < _BITS or bits % _BITS:
            raise ValueError(f"bits must be a multiple of {_BITS}, not {bits!r}")
        super().__init__({"step": In(1), "restart": In(1), "word": Out(bits)})

    def elaborate(self, platform):
        m = Module()
        for index in range(len(self.word) // _BITS):
            state = Signal(_BITS, name=f"state_{index}", init=seed(index))
            a = Signal(_BITS, name=f"a_{index}")
            b = Signal(_BITS, name=f"b_{index}")
            m.d.comb += [
                a.eq(state ^ state << 13),
                b.eq(a ^ a >> 17),
                self.word[_BITS * index :][:_BITS].eq(state),
            ]
            with m.If(self.restart):
                m.d.sync += state.eq(state.init)
            with m.Elif(self.step):
                m.d.sync += state.eq(b ^ b << 5)
        return m
