"""Read DMA: transfers of several clients from memory over one AXI4 bus."""

from amaranth import *
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.axi import BURST_INCR, BUS_BYTES, CACHE, SIZE, AXI4ReadSignature, Response
from dybit.hw.burst import POSITION_BITS, Burst, BurstSplitter, Command, connect_aligned
from dybit.hw.byte_lanes import QUEUE_DEPTH, alignment_bits, buffer_depth, rotate_right
from dybit.hw.read_buffer import ReadBuffer, ReadData

__all__ = ["ReadData", "ReadDma"]


class ReadDma(wiring.Component):
    """Reads transfers of any length for clients that do not wait for each other.

    A burst is issued only when its client's buffer has room for all of it, so data are taken as
    fast as they come (``rready`` is always 1) and a client that is slow stops itself alone. Of the
    clients that could go on, the one with the lowest index does. The data of a client come in the
    order of its commands.

    Latency: 3 cycles from a command to its first address, `LATENCY` cycles from a beat on the bus
    to its data. Throughput: one beat a cycle while memory answers within ``depth - 68`` cycles;
    one burst a cycle. A transfer that touches one beat more than its bytes fill takes a
    cycle more than it has data. At most `OUTSTANDING` bursts are on their way.

    Abort: from the cycle in which `abort` is 1, no burst is announced that was not before, and
    commands and data are thrown away, until neither `abort` is 1 nor a burst is outstanding; as
    long, no command is taken. Then everything works as after a reset. A pulse is enough.

    Parameters
    ----------
    clients : int
        How many there are, at least 1.
    depth : int
        Beats that a client's buffer holds; a power of two, at least two bursts.
    alignment : int
        What every address is a multiple of: a power of two up to 16; its lower bits are taken for
        0. At 16 there is nothing to re-align.

    Members
    -------
    command_0, command_1, .. : In(stream.Signature(Command))
        ``address`` and ``bytes``, at least 1, of a client's next transfer.
    data_0, data_1, .. : Out(stream.Signature(ReadData))
        ``data``, 16 bytes of the transfer, the first ones lowest, and ``last``, with the last of
        them. The bytes after the transfer's last have no meaning.
    axi : Out(AXI4ReadSignature)
    abort : In(1)
    idle : Out(1)
        No burst is outstanding.
    error : Out(Response)
        For one cycle, what memory answered where that was an error; else 0.

    Raises
    ------
    ValueError
        If a parameter is out of its range.
    """

    LATENCY = 1 + ReadBuffer.LATENCY
    OUTSTANDING = QUEUE_DEPTH
    DEPTH = 256

    def __init__(self, clients, depth=DEPTH, alignment=1):
        if not isinstance(clients, int) or clients < 1:
            raise ValueError(f"clients must be a number, at least 1, not {clients!r}")
        self.clients = clients
        self.depth = buffer_depth(depth)
        self.alignment_bits = alignment_bits(alignment)
        super().__init__(
            {
                **{f"command_{i}": In(stream.Signature(Command)) for i in range(clients)},
                **{f"data_{i}": Out(stream.Signature(ReadData)) for i in range(clients)},
                "axi": Out(AXI4ReadSignature()),
                "abort": In(1),
                "idle": Out(1),
                "error": Out(Response),
            }
        )

    def elaborate(self, platform):
        m = Module()
        origin = data.StructLayout(
            {
                "client": range(max(2, self.clients)),
                "start": POSITION_BITS,
                "last": 1,
                "extra": 1,
            }
        )
        m.submodules.origins = origins = fifo.SyncFIFOBuffered(
            width=origin.size, depth=self.OUTSTANDING
        )
        dropping = Signal()
        stopping = self.abort | dropping
        m.d.comb += self.idle.eq(~origins.level.any())
        m.d.sync += dropping.eq(stopping & ~self.idle)

        splitters, buffers = [], []
        for i in range(self.clients):
            m.submodules[f"splitter_{i}"] = splitter = BurstSplitter()
            m.submodules[f"buffer_{i}"] = buffer = ReadBuffer(self.depth, 1 << self.alignment_bits)
            connect_aligned(m, getattr(self, f"command_{i}"), splitter.i, self.alignment_bits)
            wiring.connect(m, wiring.flipped(getattr(self, f"data_{i}")), buffer.o)
            m.d.comb += [splitter.clear.eq(stopping), buffer.clear.eq(stopping)]
            splitters.append(splitter)
            buffers.append(buffer)
        self._ask(m, stopping, splitters, buffers, origins, origin)
        self._take(m, stopping, buffers, origins, origin)
        return m

    def _ask(self, m, stopping, splitters, buffers, origins, origin):
        """Announce the bursts, and remember for whom they are."""
        axi = self.axi
        address = Signal(len(axi.araddr) - POSITION_BITS, reset_less=True)
        length = Signal(8, reset_less=True)
        m.d.comb += [
            axi.araddr.eq(Cat(Const(0, POSITION_BITS), address)),
            axi.arlen.eq(length),
            axi.arsize.eq(SIZE),
            axi.arburst.eq(BURST_INCR),
            axi.arcache.eq(CACHE),
        ]
        could = Signal(self.clients)
        chosen = Signal(Burst)
        asked = data.View(origin, origins.w_data)
        free = Signal()
        m.d.comb += [
            free.eq((~axi.arvalid | axi.arready) & origins.w_rdy & ~stopping),
            origins.w_en.eq(free & could.any()),
            asked.start.eq(chosen.start),
            asked.last.eq(chosen.last),
            asked.extra.eq(chosen.extra),
        ]
        for i in reversed(range(self.clients)):
            splitter, buffer = splitters[i], buffers[i]
            turn = free & could[i] & ~could[:i].any()
            m.d.comb += [
                could[i].eq(splitter.o.valid & buffer.fits),
                splitter.o.ready.eq(turn),
                buffer.reserve.eq(turn),
                buffer.length.eq(splitter.o.payload.length),
            ]
            with m.If(could[i]):
                m.d.comb += [chosen.eq(splitter.o.payload), asked.client.eq(i)]
        with m.If(free):
            m.d.sync += [
                axi.arvalid.eq(could.any()),
                address.eq(chosen.beat),
                length.eq(chosen.length),
            ]
        with m.Elif(axi.arready):
            m.d.sync += axi.arvalid.eq(0)

    def _take(self, m, stopping, buffers, origins, origin):
        """Take the beats that come, and bring them to their client."""
        axi = self.axi
        valid = Signal()
        word = Signal(8 * BUS_BYTES, reset_less=True)
        response = Signal(Response, reset_less=True)
        ends = Signal(reset_less=True)
        m.d.comb += axi.rready.eq(1)
        m.d.sync += [
            valid.eq(axi.rvalid),
            word.eq(axi.rdata),
            response.eq(axi.rresp),
            ends.eq(axi.rlast),
        ]
        failed = (response == Response.SLVERR) | (response == Response.DECERR)
        with m.If(valid & failed & ~stopping):
            m.d.comb += self.error.eq(response)

        burst = data.View(origin, origins.r_data)
        start = burst.start[self.alignment_bits :]
        rotated = rotate_right(m, word, start, "rotated", 1 << self.alignment_bits)
        m.d.comb += origins.r_en.eq(valid & ends)
        for i, buffer in enumerate(buffers):
            m.d.comb += [
                buffer.beat_valid.eq(valid & (burst.client == i)),
                buffer.beat.data.eq(rotated),
                buffer.beat.start.eq(start),
                buffer.beat.last.eq(ends & burst.last & ~burst.extra),
                buffer.beat.extra.eq(ends & burst.last & burst.extra),
            ]
