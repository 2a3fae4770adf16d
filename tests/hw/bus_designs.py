"""A design with an accelerator's ports: it copies memory, and its runs last as long as told."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.axi import (
    AXI4LiteSignature,
    AXI4ReadSignature,
    AXI4WriteSignature,
    Response,
    connect_flat,
    flat_ports,
)
from dybit.hw.burst import LENGTH_BITS
from dybit.hw.csr import Csr
from dybit.hw.read_dma import ReadDma
from dybit.hw.write_dma import WriteDma

__all__ = ["Copier", "CopyCommand"]

MEMORY, CONTROL = "m_axi_gmem", "s_axi_control"


class CopyCommand(data.Struct):
    source: 40
    target: 40
    bytes: LENGTH_BITS


class Copier(wiring.Component):
    """Copies memory by commands, and answers starts as an engine would.

    A started run ends after as many cycles as its list is long, or at an error of the bus: then
    everything is aborted first. The list address does nothing.

    Parameters
    ----------
    capabilities : dict of str to int
        Of the registers.
    alignment : int
        Of the DMAs.

    Members
    -------
    m_axi_gmem_*, s_axi_control_*, interrupt : as the accelerator has them
    i : In(stream.Signature(CopyCommand))
    done : Out(1)
        A copy is in memory.
    abort : In(1)
    idle : Out(1)
    """

    def __init__(self, capabilities, alignment=1):
        self.capabilities = capabilities
        self.alignment = alignment
        super().__init__(
            {
                **flat_ports(MEMORY, AXI4ReadSignature()),
                **flat_ports(MEMORY, AXI4WriteSignature()),
                **flat_ports(CONTROL, AXI4LiteSignature().flip()),
                "interrupt": Out(1),
                "i": In(stream.Signature(CopyCommand)),
                "done": Out(1),
                "abort": In(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.reads = reads = ReadDma(1, alignment=self.alignment)
        m.submodules.writes = writes = WriteDma(alignment=self.alignment)
        m.submodules.csr = csr = Csr(self.capabilities)
        connect_flat(m, self, MEMORY, reads.axi)
        connect_flat(m, self, MEMORY, writes.axi)
        connect_flat(m, self, CONTROL, csr.axi)

        # Both halves of a command go when they can.
        halves = {"source": reads.command_0, "target": writes.command}
        gone = Signal(len(halves))
        going = Signal(len(halves))
        for index, (address, half) in enumerate(halves.items()):
            m.d.comb += [
                half.payload.address.eq(self.i.payload[address]),
                half.payload.bytes.eq(self.i.payload.bytes),
                half.valid.eq(self.i.valid & ~gone[index]),
                going[index].eq(gone[index] | half.ready),
            ]
        m.d.comb += self.i.ready.eq(going.all())
        m.d.sync += gone.eq(Mux(self.i.valid & ~self.i.ready, going, 0))
        m.d.comb += [
            writes.data.valid.eq(reads.data_0.valid),
            writes.data.payload.data.eq(reads.data_0.payload.data),
            reads.data_0.ready.eq(writes.data.ready),
        ]

        left = Signal(32)
        aborting = Signal()
        failed = (reads.error != Response.OKAY) | (writes.error != Response.OKAY)
        idle = reads.idle & writes.idle
        m.d.comb += [
            self.done.eq(writes.done),
            self.idle.eq(idle),
            self.interrupt.eq(csr.interrupt),
            reads.abort.eq(self.abort | aborting),
            writes.abort.eq(self.abort | aborting),
            csr.busy.eq(left.any() | aborting),
            csr.done.eq((left == 1) & ~aborting | aborting & idle),
            csr.error.eq(failed),
            csr.error_code.eq(Cat(reads.error, Const(0, 2), writes.error)),
            csr.count_cycles.eq(csr.busy),
            csr.count_read_beats.eq(self.m_axi_gmem_rvalid & self.m_axi_gmem_rready),
            csr.count_write_beats.eq(self.m_axi_gmem_wvalid & self.m_axi_gmem_wready),
        ]
        with m.If(csr.start):
            m.d.sync += left.eq(csr.list_length)
        with m.Elif(failed):
            m.d.sync += [left.eq(0), aborting.eq(1)]
        with m.Elif(left.any()):
            m.d.sync += left.eq(left - 1)
        with m.If(aborting & idle):
            m.d.sync += aborting.eq(0)
        return m
