"""Serial transmitter: eight data bits, no parity, one stop bit."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["UartTransmitter"]

_FRAME = 10
"""Start bit, eight data bits, stop bit."""


class UartTransmitter(wiring.Component):
    """Sends bytes, the least significant bit first.

    A byte is taken while the line is idle and takes `_FRAME` bits of `divisor` cycles.

    Parameters
    ----------
    divisor : int
        Clock cycles of a bit, at least 1.

    Members
    -------
    i : In(stream.Signature(8))
    tx : Out(1)
        1 while idle.
    """

    def __init__(self, divisor):
        if divisor < 1:
            raise ValueError(f"divisor must be at least 1, not {divisor!r}")
        self.divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1)})

    def elaborate(self, platform):
        m = Module()
        frame = Signal(_FRAME, init=(1 << _FRAME) - 1)
        left = Signal(range(_FRAME + 1))
        cycles = Signal(range(self.divisor))
        m.d.comb += [self.tx.eq(frame[0]), self.i.ready.eq(~left.any())]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                frame.eq(Cat(C(0, 1), self.i.payload, C(1, 1))),
                left.eq(_FRAME),
                cycles.eq(self.divisor - 1),
            ]
        with m.Elif(left.any()):
            m.d.sync += cycles.eq(cycles - 1)
            with m.If(~cycles.any()):
                m.d.sync += [
                    cycles.eq(self.divisor - 1),
                    frame.eq(Cat(frame[1:], C(1, 1))),
                    left.eq(left - 1),
                ]
        return m
