"""Hands the five parts of a tile to those that see to them."""

from amaranth import *
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.tile import Tile

__all__ = ["DEPTH", "TileFork"]

DEPTH = 4
"""Tiles that may wait for each step."""


class TileFork(wiring.Component):
    """Takes a tile when there is room for every part of it; each part leaves at its own time.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig

    Members
    -------
    clear : In(1)
        Forget everything.
    i : In(stream.Signature(Tile(array)))
    load, weights, walk, drain, store : Out(stream.Signature)
        Parts of that name.
    """

    def __init__(self, array):
        self.tile = Tile(array)
        parts = {name: Out(stream.Signature(field.shape)) for name, field in self.tile}
        super().__init__({"clear": In(1), "i": In(stream.Signature(self.tile)), **parts})

    def elaborate(self, platform):
        m = Module()
        queues = []
        for name, field in self.tile:
            queue = fifo.SyncFIFO(width=field.width, depth=DEPTH)
            m.submodules[name] = queue
            queues.append(queue)
            part = getattr(self, name)
            m.d.comb += [
                queue.w_data.eq(self.i.payload[name]),
                queue.w_en.eq(self.i.valid & self.i.ready),
                part.valid.eq(queue.r_rdy),
                part.payload.eq(queue.r_data),
                queue.r_en.eq(part.ready),
            ]
        m.d.comb += self.i.ready.eq(Cat(queue.w_rdy for queue in queues).all())
        return ResetInserter(self.clear)(m)
