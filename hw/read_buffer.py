"""Buffer of one client of the read DMA: holds what was asked for, and joins its beats."""

from amaranth import *
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dybit.hw.axi import BURST_BEATS, BUS_BYTES
from dybit.hw.burst import POSITION_BITS
from dybit.hw.byte_lanes import alignment_bits, buffer_depth, lanes_below
from dybit.hw.lanes import add

__all__ = ["ReadBuffer", "ReadData", "beat_layout"]


class ReadData(data.Struct):
    """Data of a transfer: bytes in order, and whether they are its last."""

    data: 8 * BUS_BYTES
    last: 1


def beat_layout(alignment):
    """Return what the buffer takes in.

    Fields
    ------
    data : a beat, rotated so that the transfer's byte 0, 16, .. are its lowest
    start : position of the transfer's first byte in its beat, without the bits that are always 0
    last : the beat is the transfer's last, and some of its bytes begin an element
    extra : the beat is the transfer's last, and all of its bytes end an element
    """
    bits = POSITION_BITS - alignment_bits(alignment)
    return data.StructLayout(
        {"data": 8 * BUS_BYTES, "start": bits, "last": 1, "extra": min(bits, 1)}
    )


class ReadBuffer(wiring.Component):
    """Stores beats until the client takes them, and says whether it has room for a burst.

    The data of a transfer that does not start where a beat does are joined from two beats each.

    Latency: 3 cycles from a beat to the data that it completes. Throughput: one beat a cycle; a
    transfer that touches one beat more than it fills takes a cycle more.

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
    reserve, length : In
        A burst of `length` + 1 beats is on its way.
    fits : Out(1)
        There is room for any burst; holds from one cycle after `reserve`.
    beat, beat_valid : In
        A beat of a burst for which there was room.
    o : Out(stream.Signature(ReadData))
    """

    LATENCY = 3

    def __init__(self, depth, alignment=1):
        self.depth = buffer_depth(depth)
        self.alignment = alignment
        super().__init__(
            {
                "clear": In(1),
                "reserve": In(1),
                "length": In(exact_log2(BURST_BEATS)),
                "fits": Out(1),
                "beat_valid": In(1),
                "beat": In(beat_layout(alignment)),
                "o": Out(stream.Signature(ReadData)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        beats = fifo.SyncFIFOBuffered(width=len(self.beat.as_value()), depth=self.depth + 1)
        m.submodules.beats = ResetInserter(self.clear)(beats)
        next_beat = data.View(beat_layout(self.alignment), beats.r_data)
        start = Cat(Const(0, POSITION_BITS - len(next_beat.start)), next_beat.start)

        room = Signal(range(self.depth + 1), init=self.depth)
        m.d.comb += [
            beats.w_data.eq(self.beat),
            beats.w_en.eq(self.beat_valid),
            self.fits.eq(room >= BURST_BEATS),
        ]
        taken = beats.r_rdy & beats.r_en
        reserved = Mux(
            self.reserve, ~Cat(self.length, Const(0, len(room) - len(self.length))), 0
        )  # - length - 1
        m.d.sync += room.eq(add(room, reserved, taken))

        # The beat at hand begins an element; unless it is `partial`, it is all of it. Else the next
        # beat has the bytes named in `from_next`.
        held = Signal()
        word = Signal(8 * BUS_BYTES, reset_less=True)
        last = Signal(reset_less=True)
        partial = Signal(reset_less=True)
        from_next = Signal(BUS_BYTES, reset_less=True)
        ends = next_beat.extra.any()
        given = self.o.valid & self.o.ready
        m.d.comb += [
            self.o.valid.eq(held & (~partial | beats.r_rdy)),
            self.o.payload.last.eq(Mux(partial, ends, last)),
            beats.r_en.eq(~held | given),
        ]
        for index in range(BUS_BYTES):
            byte = slice(8 * index, 8 * index + 8)
            m.d.comb += self.o.payload.data[byte].eq(
                Mux(from_next[index], next_beat.data[byte], word[byte])
            )
        with m.If(beats.r_en):
            m.d.sync += [
                held.eq(beats.r_rdy & ~ends),
                word.eq(next_beat.data),
                last.eq(next_beat.last),
                partial.eq(start.any() & ~next_beat.last),
                from_next.eq(Mux(next_beat.last, 0, lanes_below(start)[::-1])),
            ]
        with m.If(self.clear):
            m.d.sync += [held.eq(0), room.eq(self.depth)]

        return m
