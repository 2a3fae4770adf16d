"""Buffer of the write DMA: cuts data into beats, and hands on bursts that are complete."""

from amaranth import *
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.axi import BURST_BEATS, BUS_BYTES
from dybit.hw.burst import Burst
from dybit.hw.byte_lanes import (
    QUEUE_DEPTH,
    alignment_bits,
    buffer_depth,
    lanes_below,
    rotate_right,
)

__all__ = ["WriteBuffer", "WriteData"]


class WriteData(data.Struct):
    """Data of a transfer: bytes in order."""

    data: 8 * BUS_BYTES


class WriteBuffer(wiring.Component):
    """Collects the beats of bursts, and offers each burst once all its beats are there.

    The data of a transfer that does not start where a beat does are spread over two beats each.

    Latency: 3 cycles from a burst's last data to the burst. Throughput: one beat a cycle.

    Parameters
    ----------
    depth : int
        Beats; a power of two, at least two bursts.
    alignment : int
        What addresses are multiples of; a power of two up to a beat's bytes.

    Members
    -------
    clear : In(1)
        Forget everything.
    burst : In(stream.Signature(Burst))
        The bursts to come.
    i : In(stream.Signature(WriteData))
        Their data: as many as each transfer fills.
    o : Out(stream.Signature(Burst))
        Bursts whose beats are all in the buffer.
    beat : Out(128)
        The next beat of the bursts that `o` gave out.
    next : In(1)
        The beat was taken.
    """

    def __init__(self, depth, alignment=1):
        self.depth = buffer_depth(depth)
        self.alignment_bits = alignment_bits(alignment)
        super().__init__(
            {
                "clear": In(1),
                "burst": In(stream.Signature(Burst)),
                "i": In(stream.Signature(WriteData)),
                "o": Out(stream.Signature(Burst)),
                "beat": Out(8 * BUS_BYTES),
                "next": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        beats = fifo.SyncFIFOBuffered(width=8 * BUS_BYTES, depth=self.depth + 1)
        bursts = fifo.SyncFIFOBuffered(width=Burst.as_shape().size, depth=QUEUE_DEPTH)
        m.submodules.beats = ResetInserter(self.clear)(beats)
        m.submodules.bursts = ResetInserter(self.clear)(bursts)

        burst = self.burst.payload
        index = Signal(range(BURST_BEATS))
        ends = Signal()
        without_data = Signal()
        can = Signal()
        m.d.comb += [
            ends.eq(index == burst.length),
            without_data.eq(ends & burst.last & burst.extra),
            can.eq(self.burst.valid & beats.w_rdy & bursts.w_rdy),
            self.i.ready.eq(can & ~without_data),
            beats.w_en.eq(can & (without_data | self.i.valid)),
            self.burst.ready.eq(beats.w_en & ends),
            bursts.w_en.eq(self.burst.ready),
            bursts.w_data.eq(burst),
        ]
        with m.If(self.clear | self.burst.ready):
            m.d.sync += index.eq(0)
        with m.Elif(beats.w_en):
            m.d.sync += index.eq(index + 1)

        fixed = self.alignment_bits
        start = Cat(Const(0, fixed), burst.start[fixed:])
        before = Signal(8 * BUS_BYTES, reset_less=True)
        rotated = rotate_right(
            m, self.i.payload.data, (-start[fixed:])[: len(start) - fixed], "rotated", 1 << fixed
        )
        with m.If(self.i.ready & self.i.valid):
            m.d.sync += before.eq(rotated)
        for lane, from_before in enumerate(lanes_below(start)):
            byte = slice(8 * lane, 8 * lane + 8)
            m.d.comb += beats.w_data[byte].eq(Mux(from_before, before[byte], rotated[byte]))

        m.d.comb += [
            self.o.valid.eq(bursts.r_rdy),
            self.o.payload.eq(bursts.r_data),
            bursts.r_en.eq(self.o.ready),
            self.beat.eq(beats.r_data),
            beats.r_en.eq(self.next),
        ]
        return m
