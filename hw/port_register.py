"""A register on every signal of a port."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["PortRegister"]


class PortRegister(wiring.Component):
    """Hands on what a port says, a cycle later; what comes back is not delayed.

    It shortens wires: what drives many places gets a copy near to each. Only for ports whose
    source does not wait for an answer.

    Parameters
    ----------
    signature : wiring.Signature
        As its source sees it.

    Members
    -------
    i : In(signature)
    o : Out(signature)
    """

    LATENCY = 1

    def __init__(self, signature):
        super().__init__({"i": In(signature), "o": Out(signature)})

    def elaborate(self, platform):
        m = Module()
        members = self.o.signature.flatten(self.o)
        sources = {path: value for path, _, value in self.i.signature.flatten(self.i)}
        for path, member, value in members:
            target, source = Value.cast(value), Value.cast(sources[path])
            if member.flow is Out:
                m.d.sync += target.eq(source)
            else:
                m.d.comb += source.eq(target)
        return m
