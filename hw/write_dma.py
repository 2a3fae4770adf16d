"""Write DMA: transfers to memory over an AXI4 bus."""

from amaranth import *
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.axi import BURST_INCR, BUS_BYTES, CACHE, SIZE, AXI4WriteSignature, Response
from dybit.hw.burst import POSITION_BITS, Burst, BurstSplitter, Command, connect_aligned
from dybit.hw.byte_lanes import QUEUE_DEPTH, alignment_bits, buffer_depth, lanes_below
from dybit.hw.write_buffer import WriteBuffer, WriteData

__all__ = ["WriteData", "WriteDma"]


class WriteDma(wiring.Component):
    """Writes transfers of any length, exactly their bytes.

    A burst is announced only when all its data are in the buffer, so the bus never waits in the
    middle of one. ``bready`` is always 1.

    Latency: `LATENCY` cycles from a burst's last data to its first beat; its address comes a cycle
    before. Throughput: one beat a cycle, bursts and transfers without a gap; one burst a cycle. A
    transfer that touches one beat more than its bytes fill takes a cycle more than it has data. At
    most `OUTSTANDING` bursts await their response.

    Abort: from the cycle in which `abort` is 1, no burst is announced that was not before; what
    is left of those that were is written with strobes of 0, all but a beat that was on the bus
    already. Commands and data are thrown away until neither `abort` is 1 nor a response is due,
    and as long no command is taken. Then everything works as after a reset. A pulse is enough.

    Parameters
    ----------
    depth : int
        Beats that the buffer holds; a power of two, at least two bursts.
    alignment : int
        What every address is a multiple of: a power of two up to 16; its lower bits are taken for
        0. At 16 there is nothing to re-align.

    Members
    -------
    command : In(stream.Signature(Command))
        ``address`` and ``bytes``, at least 1, of the next transfer.
    data : In(stream.Signature(WriteData))
        16 bytes of the transfer each, the first ones lowest; as many as it takes.
    done : Out(1)
        For one cycle: the next transfer is in memory, all its bursts are answered.
    axi : Out(AXI4WriteSignature)
    abort : In(1)
    idle : Out(1)
        No response is due.
    error : Out(Response)
        For one cycle, what memory answered where that was an error; else 0.

    Raises
    ------
    ValueError
        If a parameter is out of its range.
    """

    LATENCY = 4
    OUTSTANDING = QUEUE_DEPTH

    def __init__(self, depth=256, alignment=1):
        self.depth = buffer_depth(depth)
        self.alignment_bits = alignment_bits(alignment)
        super().__init__(
            {
                "command": In(stream.Signature(Command)),
                "data": In(stream.Signature(WriteData)),
                "done": Out(1),
                "axi": Out(AXI4WriteSignature()),
                "abort": In(1),
                "idle": Out(1),
                "error": Out(Response),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.splitter = splitter = BurstSplitter()
        m.submodules.buffer = buffer = WriteBuffer(self.depth, 1 << self.alignment_bits)
        # For each burst that awaits its response, whether it ends a transfer.
        m.submodules.finals = finals = fifo.SyncFIFOBuffered(width=1, depth=self.OUTSTANDING)
        dropping = Signal()
        stopping = self.abort | dropping
        m.d.comb += [
            self.idle.eq(~finals.level.any()),
            splitter.clear.eq(stopping),
            buffer.clear.eq(stopping),
        ]
        m.d.sync += dropping.eq(stopping & ~self.idle)
        connect_aligned(m, self.command, splitter.i, self.alignment_bits)
        wiring.connect(m, splitter.o, buffer.burst)
        wiring.connect(m, wiring.flipped(self.data), buffer.i)

        issue = Signal()
        self._announce(m, issue, buffer)
        m.d.comb += [finals.w_en.eq(issue), finals.w_data.eq(buffer.o.payload.last)]
        writing, last_taken = self._write(m, issue, buffer, stopping)
        m.d.comb += [
            issue.eq(
                buffer.o.valid
                & finals.w_rdy
                & (~self.axi.awvalid | self.axi.awready)
                & (~writing | last_taken)
                & ~stopping
            ),
            buffer.o.ready.eq(issue),
        ]
        self._answer(m, finals, stopping)
        return m

    def _announce(self, m, issue, buffer):
        axi, burst = self.axi, buffer.o.payload
        address = Signal(len(burst.beat), reset_less=True)
        length = Signal(8, reset_less=True)
        m.d.comb += [
            axi.awaddr.eq(Cat(Const(0, POSITION_BITS), address)),
            axi.awlen.eq(length),
            axi.awsize.eq(SIZE),
            axi.awburst.eq(BURST_INCR),
            axi.awcache.eq(CACHE),
        ]
        with m.If(issue):
            m.d.sync += [axi.awvalid.eq(1), address.eq(burst.beat), length.eq(burst.length)]
        with m.Elif(axi.awready):
            m.d.sync += axi.awvalid.eq(0)

    def _write(self, m, issue, buffer, stopping):
        """Put the beats of a burst on the bus; return whether one is at hand, and its end."""
        axi = self.axi
        burst = Signal(Burst, reset_less=True)  # `length` counts down
        writing = Signal()
        take = Signal()
        ends = Signal(reset_less=True)
        strobes = Signal(BUS_BYTES)
        word = Signal(8 * BUS_BYTES, reset_less=True)
        enabled = Signal(BUS_BYTES, reset_less=True)
        wlast = Signal(reset_less=True)
        m.d.comb += [
            take.eq(writing & (~axi.wvalid | axi.wready)),
            buffer.next.eq(take),
            axi.wdata.eq(word),
            axi.wstrb.eq(enabled),
            axi.wlast.eq(wlast),
        ]
        before = Mux(burst.first, lanes_below(burst.start), 0)
        after = Mux(ends & burst.last, lanes_below(~burst.end)[::-1], 0)
        m.d.comb += strobes.eq(Mux(stopping, 0, ~(before | after)))
        with m.If(take):
            m.d.sync += [
                axi.wvalid.eq(1),
                word.eq(buffer.beat),
                enabled.eq(strobes),
                wlast.eq(ends),
                burst.first.eq(0),
                burst.length.eq(burst.length - 1),
                ends.eq(burst.length == 1),
            ]
        with m.Elif(axi.wready):
            m.d.sync += axi.wvalid.eq(0)
        with m.If(issue):
            m.d.sync += [
                writing.eq(1),
                burst.eq(buffer.o.payload),
                ends.eq(buffer.o.payload.length == 0),
            ]
        with m.Elif(take & ends):
            m.d.sync += writing.eq(0)
        return writing, take & ends

    def _answer(self, m, finals, stopping):
        axi = self.axi
        answered = Signal()
        response = Signal(Response, reset_less=True)
        m.d.comb += [axi.bready.eq(1), finals.r_en.eq(answered)]
        m.d.sync += [answered.eq(axi.bvalid), response.eq(axi.bresp)]
        failed = (response == Response.SLVERR) | (response == Response.DECERR)
        with m.If(answered & ~stopping):
            m.d.comb += self.done.eq(finals.r_data)
            with m.If(failed):
                m.d.comb += self.error.eq(response)
