"""Splits transfers of any length and alignment into bursts that AXI allows."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dybit.hw.axi import ADDRESS_BITS, BURST_BEATS, BUS_BYTES
from dybit.hw.pipeline import carry, stage_register

__all__ = ["LENGTH_BITS", "POSITION_BITS", "Burst", "BurstSplitter", "Command", "connect_aligned"]

LENGTH_BITS = 24
"""Bits of a transfer's length in bytes."""

POSITION_BITS = exact_log2(BUS_BYTES)
"""Bits of a byte's position in a beat."""

_INDEX_BITS = exact_log2(BURST_BEATS)
_BLOCK_BITS = POSITION_BITS + _INDEX_BITS
_BLOCKS_BITS = LENGTH_BITS + 1 - _BLOCK_BITS


class Command(data.Struct):
    """A transfer: the address of its first byte, and how many there are, at least 1."""

    address: ADDRESS_BITS
    bytes: LENGTH_BITS


class Burst(data.Struct):
    """A part of a transfer, of at most `BURST_BEATS` beats within as many beats' block.

    Fields
    ------
    beat : address of the first beat, in beats
    length : beats, less 1
    first, last : the burst is the transfer's first, its last
    start : position of the transfer's first byte in its beat
    end : position of the transfer's last byte in its beat
    extra : the transfer touches one beat more than its bytes fill
    """

    beat: ADDRESS_BITS - POSITION_BITS
    length: _INDEX_BITS
    first: 1
    last: 1
    start: POSITION_BITS
    end: POSITION_BITS
    extra: 1


class BurstSplitter(wiring.Component):
    """Splits each transfer at the ends of blocks of `BURST_BEATS` beats.

    Latency: 2 cycles from a command to its first burst. Throughput: one burst a cycle, one
    transfer after the other without a gap.

    Members
    -------
    clear : In(1)
        Forget everything; commands are not taken.
    i : In(stream.Signature(Command))
    o : Out(stream.Signature(Burst))
    """

    LATENCY = 2

    clear: In(1)
    i: In(stream.Signature(Command))
    o: Out(stream.Signature(Burst))

    def elaborate(self, platform):
        m = Module()
        command = self.i.payload
        common = {
            "beat": ADDRESS_BITS - POSITION_BITS,
            "start": POSITION_BITS,
            "end": POSITION_BITS,
            "extra": 1,
            "last_index": _INDEX_BITS,
            "blocks_less_1": _BLOCKS_BITS,
        }

        # Where the transfer ends, from the beginning of the block on in which it starts.
        ended = stage_register(common)
        ended_valid = Signal()
        ended_taken = Signal()
        before = Signal(signed(_BLOCK_BITS + 1))  # where the byte before the first one is
        last = Signal(_BLOCK_BITS + _BLOCKS_BITS)
        start = command.address[:POSITION_BITS]
        in_beat = (command.bytes - 1)[:POSITION_BITS] + start  # of the last element's last byte
        m.d.comb += [
            before.eq(command.address[:_BLOCK_BITS] - 1),
            last.eq(command.bytes + before),
            self.i.ready.eq((~ended_valid | ended_taken) & ~self.clear),
        ]
        with m.If(self.i.ready):
            m.d.sync += [
                ended_valid.eq(self.i.valid),
                ended.beat.eq(command.address[POSITION_BITS:]),
                ended.start.eq(start),
                Cat(ended.end, ended.last_index, ended.blocks_less_1).eq(last),
                ended.extra.eq(in_beat[POSITION_BITS]),
            ]

        # One burst in each block.
        split = stage_register(common | {"length": _INDEX_BITS, "first": 1, "last": 1})
        split_valid = Signal()
        m.d.comb += [
            self.o.valid.eq(split_valid),
            *(self.o.payload[name].eq(split[name]) for name in Burst.as_shape().members),
            ended_taken.eq(~split_valid | (self.o.ready & split.last)),
        ]
        single, ending = ended.blocks_less_1 == 0, split.blocks_less_1 == 1
        with m.If(ended_taken):
            m.d.sync += [
                split_valid.eq(ended_valid),
                carry(split, ended),
                split.length.eq(
                    Mux(single, ended.last_index, BURST_BEATS - 1) - ended.beat[:_INDEX_BITS]
                ),
                split.first.eq(1),
                split.last.eq(single),
            ]
        with m.Elif(self.o.ready):
            m.d.sync += [
                split.beat.eq(Cat(Const(0, _INDEX_BITS), split.beat[_INDEX_BITS:] + 1)),
                split.length.eq(Mux(ending, split.last_index, BURST_BEATS - 1)),
                split.first.eq(0),
                split.last.eq(ending),
                split.blocks_less_1.eq(split.blocks_less_1 - 1),
            ]
        with m.If(self.clear):
            m.d.sync += [ended_valid.eq(0), split_valid.eq(0)]

        return m


def connect_aligned(m, source, target, zeros):
    """Connect streams of `Command`; the `zeros` lowest bits of addresses become constants."""
    m.d.comb += [
        target.valid.eq(source.valid),
        target.payload.bytes.eq(source.payload.bytes),
        target.payload.address.eq(Cat(Const(0, zeros), source.payload.address[zeros:])),
        source.ready.eq(target.ready),
    ]
