"""The accelerator: registers, bus managers and the engine between them."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from dybit.hw.axi import (
    AXI4LiteSignature,
    AXI4ReadSignature,
    AXI4WriteSignature,
    Response,
    connect_flat,
    flat_ports,
)
from dybit.hw.capabilities import capabilities
from dybit.hw.csr import Csr
from dybit.hw.descriptor_reader import ErrorCode
from dybit.hw.read_dma import ReadDma
from dybit.hw.tile_engine import READ_CLIENTS, TileEngine
from dybit.hw.write_dma import WriteDma

__all__ = ["Accelerator"]

MEMORY = "m_axi_gmem"
CONTROL = "s_axi_control"


class Accelerator(wiring.Component):
    """A device that a driver can use: AXI4-Lite registers, an AXI4 manager and an interrupt.

    The host writes a list of descriptors into memory, its address into a register, and starts.
    The engine carries the list out, raises the interrupt and is ready for the next. On an error
    nothing more is announced on the bus, what was is seen to its end, everything inside is
    forgotten, and the run ends with a code in the error register; the next is as any first.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig
    accelerator : dybit.quant.accelerator_config.AcceleratorConfig

    Members
    -------
    m_axi_gmem_awaddr .. : AXI4, 128 bits
    s_axi_control_awaddr .. : AXI4-Lite, 32 bits
    interrupt : Out(1)

    Raises
    ------
    ConfigError
        If no accelerator can be built around `array`.
    """

    def __init__(self, array, accelerator):
        accelerator.check_array(array)
        self.array = array
        self.accelerator = accelerator
        self.engine = TileEngine(array, accelerator)
        super().__init__(
            {
                **flat_ports(MEMORY, AXI4ReadSignature()),
                **flat_ports(MEMORY, AXI4WriteSignature()),
                **flat_ports(CONTROL, AXI4LiteSignature().flip()),
                "interrupt": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        alignment = min(16, self.array.rows)
        m.submodules.engine = engine = self.engine
        m.submodules.csr = csr = Csr(capabilities(self.array, self.accelerator))
        m.submodules.reads = reads = ReadDma(len(READ_CLIENTS), alignment=alignment)
        m.submodules.writes = writes = WriteDma(alignment=alignment)
        connect_flat(m, self, MEMORY, reads.axi)
        connect_flat(m, self, MEMORY, writes.axi)
        connect_flat(m, self, CONTROL, csr.axi)
        m.d.comb += self.interrupt.eq(csr.interrupt)

        for index, client in enumerate(READ_CLIENTS):
            command = getattr(engine, f"{client}_command")
            reply = getattr(engine, f"{client}_data")
            wiring.connect(m, command, getattr(reads, f"command_{index}"))
            wiring.connect(m, getattr(reads, f"data_{index}"), reply)
        wiring.connect(m, engine.output_command, writes.command)
        wiring.connect(m, engine.output_data, writes.data)
        m.d.comb += [
            engine.written.eq(writes.done),
            engine.address.eq(csr.list_address),
            engine.length.eq(csr.list_length),
        ]
        self._control(m, csr, engine, reads, writes)
        self._count(m, csr, engine, reads, writes)
        return m

    def _control(self, m, csr, engine, reads, writes):
        """Start a run, end it, or cut it short and clear up."""
        code, detail = Signal(ErrorCode), Signal(8)
        found = Signal()
        m.d.comb += found.eq(1)
        with m.If(engine.error != ErrorCode.NONE):
            m.d.comb += [code.eq(engine.error), detail.eq(engine.detail)]
        with m.Elif(reads.error == Response.SLVERR):
            m.d.comb += code.eq(ErrorCode.READ_SLVERR)
        with m.Elif(reads.error == Response.DECERR):
            m.d.comb += code.eq(ErrorCode.READ_DECERR)
        with m.Elif(writes.error == Response.SLVERR):
            m.d.comb += code.eq(ErrorCode.WRITE_SLVERR)
        with m.Elif(writes.error == Response.DECERR):
            m.d.comb += code.eq(ErrorCode.WRITE_DECERR)
        with m.Else():
            m.d.comb += found.eq(0)

        # What is in the array when a run is cut short comes out before the next one begins.
        quiet = Signal(range(self.engine.matrix_engine.latency["accumulate"] + 1))
        abort = Signal()
        m.d.comb += [reads.abort.eq(abort), writes.abort.eq(abort), engine.clear.eq(abort)]
        with m.FSM() as states:
            with m.State("IDLE"), m.If(csr.start):
                m.d.comb += engine.start.eq(1)
                m.next = "RUN"
            with m.State("RUN"):
                with m.If(found):
                    m.d.comb += csr.error.eq(1)
                    m.d.sync += quiet.eq(self.engine.matrix_engine.latency["accumulate"])
                    m.next = "ABORT"
                with m.Elif(engine.done):
                    m.d.comb += csr.done.eq(1)
                    m.next = "IDLE"
            with m.State("ABORT"):
                m.d.comb += abort.eq(1)
                with m.If(quiet.any()):
                    m.d.sync += quiet.eq(quiet - 1)
                with m.Elif(reads.idle & writes.idle):
                    m.d.comb += csr.done.eq(1)
                    m.next = "IDLE"
        m.d.comb += [
            csr.busy.eq(~states.ongoing("IDLE")),
            csr.error_code.eq(code),
            csr.error_detail.eq(detail),
            csr.error_descriptor.eq(engine.index),
        ]

    def _count(self, m, csr, engine, reads, writes):
        m.d.comb += [
            csr.count_cycles.eq(csr.busy),
            csr.count_vectors.eq(engine.issues),
            csr.count_depthwise.eq(engine.unit_issues),
            csr.count_stall_weights.eq(engine.waits_weights),
            csr.count_stall_activations.eq(engine.waits_input),
            csr.count_stall_results.eq(engine.waits_results),
            csr.count_read_beats.eq(reads.axi.rvalid & reads.axi.rready),
            csr.count_write_beats.eq(writes.axi.wvalid & writes.axi.wready),
        ]
