"""AXI4-Lite taken apart: writes as they come, reads as questions that wait for their answer."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dybit.hw.axi import LITE_ADDRESS_BITS, LITE_BYTES, AXI4LiteSignature

__all__ = ["LitePort"]

_BYTE_BITS = exact_log2(LITE_BYTES)


class LitePort(wiring.Component):
    """Subordinate on AXI4-Lite that answers every access OKAY.

    Address and data of a write may come in any order. One write and one read may be under way.

    Latency: a write is handed on in the cycle after both its parts were taken, a read in the cycle
    after its address; each is answered a cycle later. Throughput: an access in 2 cycles.

    Members
    -------
    axi : In(AXI4LiteSignature)
    write : Out(1)
        For one cycle, a write of the bytes of `write_data` that `write_bytes` names to the word at
        `write_address`, in words.
    read : Out(1)
        The word at `read_address`, in words, is asked for, until `read_ready`.
    read_ready : In(1)
        `read_data` is the answer.
    """

    def __init__(self):
        address_bits = LITE_ADDRESS_BITS - _BYTE_BITS
        super().__init__(
            {
                "axi": In(AXI4LiteSignature()),
                "write": Out(1),
                "write_address": Out(address_bits),
                "write_data": Out(8 * LITE_BYTES),
                "write_bytes": Out(LITE_BYTES),
                "read": Out(1),
                "read_address": Out(address_bits),
                "read_ready": In(1),
                "read_data": In(8 * LITE_BYTES),
            }
        )

    def elaborate(self, platform):
        m = Module()
        axi = self.axi

        addressed = Signal()
        given = Signal()
        m.d.comb += [
            axi.awready.eq(~addressed),
            axi.wready.eq(~given),
            self.write.eq(addressed & given & (~axi.bvalid | axi.bready)),
        ]
        with m.If(axi.awvalid & axi.awready):
            m.d.sync += [addressed.eq(1), self.write_address.eq(axi.awaddr[_BYTE_BITS:])]
        with m.If(axi.wvalid & axi.wready):
            m.d.sync += [
                given.eq(1),
                self.write_data.eq(axi.wdata),
                self.write_bytes.eq(axi.wstrb),
            ]
        with m.If(self.write):
            m.d.sync += [addressed.eq(0), given.eq(0), axi.bvalid.eq(1)]
        with m.Elif(axi.bready):
            m.d.sync += axi.bvalid.eq(0)

        m.d.comb += axi.arready.eq(~self.read & (~axi.rvalid | axi.rready))
        with m.If(axi.arvalid & axi.arready):
            m.d.sync += [self.read.eq(1), self.read_address.eq(axi.araddr[_BYTE_BITS:])]
        with m.Elif(self.read_ready):
            m.d.sync += self.read.eq(0)
        with m.If(self.read & self.read_ready):
            m.d.sync += [axi.rvalid.eq(1), axi.rdata.eq(self.read_data)]
        with m.Elif(axi.rready):
            m.d.sync += axi.rvalid.eq(0)

        return m
