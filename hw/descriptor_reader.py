"""Reads a list of descriptors from memory and hands on their tiles, checked."""

from amaranth import *
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.burst import Command
from dybit.hw.descriptor import DESCRIPTOR_BYTES, Descriptor
from dybit.hw.descriptor_check import DescriptorCheck
from dybit.hw.read_dma import ReadData
from dybit.hw.tile import ADDRESS_BITS, Tile

__all__ = ["DescriptorReader", "ErrorCode"]

_LIST_ALIGNMENT_BITS = 6


class ErrorCode(enum.Enum, shape=8):
    """Why a run ended."""

    NONE = 0
    ILLEGAL_DESCRIPTOR = 1
    LIST = 2
    READ_SLVERR = 3
    READ_DECERR = 4
    WRITE_SLVERR = 5
    WRITE_DECERR = 6


class DescriptorReader(wiring.Component):
    """Walks a list of descriptors: one read, one check and one tile after the other.

    A list ends with the descriptor that says so, and that must be the one `length` says. The
    list is checked as it is read: what lies before a fault has taken effect.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig
    accelerator : dybit.quant.accelerator_config.AcceleratorConfig

    Members
    -------
    clear : In(1)
        Forget everything.
    start : In(1)
        Begin with the list at `address`, of `length` descriptors.
    command, data :
        To and from a client of the `ReadDma`.
    o : Out(stream.Signature(Tile(array)))
    finished : Out(1)
        The last tile has been handed on.
    error : Out(ErrorCode)
        Not NONE in one cycle, and nothing follows; `detail` is the rule broken.
    index : Out(32)
        Descriptor at hand, from 0.
    """

    def __init__(self, array, accelerator):
        self.array = array
        self.accelerator = accelerator
        super().__init__(
            {
                "clear": In(1),
                "start": In(1),
                "address": In(64),
                "length": In(32),
                "command": Out(stream.Signature(Command)),
                "data": In(stream.Signature(ReadData)),
                "o": Out(stream.Signature(Tile(array))),
                "finished": Out(1),
                "error": Out(ErrorCode),
                "detail": Out(8),
                "index": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.check = check = DescriptorCheck(self.array, self.accelerator)
        wiring.connect(m, check.o, wiring.flipped(self.o))
        given = Signal(8 * DESCRIPTOR_BYTES, reset_less=True)
        place = Signal(ADDRESS_BITS, reset_less=True)
        remaining = Signal(32, reset_less=True)
        last = Signal()
        m.d.comb += [
            last.eq(Descriptor(given).last),
            self.command.payload.address.eq(place),
            self.command.payload.bytes.eq(DESCRIPTOR_BYTES),
            check.clear.eq(self.clear),
            check.i.payload.eq(given),
        ]
        m.d.sync += [self.error.eq(ErrorCode.NONE), self.detail.eq(0)]

        def fail(code, detail=0):
            m.d.sync += [self.error.eq(code), self.detail.eq(detail)]
            m.next = "IDLE"

        with m.FSM():
            with m.State("IDLE"), m.If(self.start):
                misplaced = (
                    self.address[:_LIST_ALIGNMENT_BITS].any() | self.address[ADDRESS_BITS:].any()
                )
                m.d.sync += [
                    place.eq(self.address),
                    remaining.eq(self.length),
                    self.index.eq(0),
                    self.finished.eq(0),
                ]
                with m.If(misplaced | ~self.length.any()):
                    fail(ErrorCode.LIST)
                with m.Else():
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += self.command.valid.eq(1)
                with m.If(self.command.ready):
                    m.next = "COLLECT"
            with m.State("COLLECT"):
                m.d.comb += self.data.ready.eq(1)
                with m.If(self.data.valid):
                    m.d.sync += given.eq(Cat(given, self.data.payload.data)[-len(given) :])
                    with m.If(self.data.payload.last):
                        m.next = "CHECK"
            with m.State("CHECK"):
                with m.If(last != (remaining == 1)):
                    fail(ErrorCode.LIST)
                with m.Else():
                    m.d.comb += check.i.valid.eq(1)
                    with m.If(check.i.ready):
                        m.next = "HAND_ON"
            with m.State("HAND_ON"):
                with m.If(check.broken.any()):
                    fail(ErrorCode.ILLEGAL_DESCRIPTOR, check.broken)
                with m.Elif(self.o.valid & self.o.ready):
                    with m.If(last):
                        m.d.sync += self.finished.eq(1)
                        m.next = "IDLE"
                    with m.Else():
                        m.d.sync += [
                            place.eq(place + DESCRIPTOR_BYTES),
                            remaining.eq(remaining - 1),
                            self.index.eq(self.index + 1),
                        ]
                        m.next = "ASK"

        return ResetInserter(self.clear)(m)
