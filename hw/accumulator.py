"""Accumulator: the memory under one column that adds up the passes of a reduction."""

from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.lanes import add_lanes, extend_lanes, lane_starts
from dybit.hw.mode import mode_case, mode_shape

__all__ = ["Accumulator"]


class Accumulator(wiring.Component):
    """Adds partial sums to a memory word, or starts a word with them; reads lanes out.

    A word holds the output lanes of one column for one pixel. Adding takes a read, an addition
    and a write: the same address may be added to again, and read out, `REVISIT` cycles later and
    not before. Nothing overflows as long as a layer obeys ``array.check_layer``.

    Latency: `REVISIT` cycles from partial sums to a word that can be read, `READ_LATENCY` cycles
    from `read_address` to `lane`. Throughput: one addition and one read a cycle. No stalls.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig

    Members
    -------
    valid : In(1)
        Add now.
    sums : In(array.partial_sum_bits)
        Partial sums, in the lanes of `mode`.
    mode : In
        Index into ``array.modes``.
    address : In
        Word to add to, below ``array.accumulator_depth``.
    first : In(1)
        Overwrite the word instead of adding to it.
    read_address, read_lane, read_mode : In
        Lane to read.
    lane : Out(signed(array.requantizer_bits))
        The lane, sign-extended from the width it has in `read_mode`.
    """

    REVISIT = 3
    READ_LATENCY = 2

    def __init__(self, array):
        self.array = array
        address = range(max(2, array.accumulator_depth))
        super().__init__(
            {
                "valid": In(1),
                "sums": In(array.partial_sum_bits),
                "mode": In(mode_shape(array)),
                "address": In(address),
                "first": In(1),
                "read_address": In(address),
                "read_lane": In(range(max(2, array.max_lanes))),
                "read_mode": In(mode_shape(array)),
                "lane": Out(signed(array.requantizer_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bits = self.array.accumulator_bits
        words = memory.Memory(shape=bits, depth=max(2, self.array.accumulator_depth), init=[])
        m.submodules.words = words
        add_port = words.read_port()
        read_port = words.read_port()
        write_port = words.write_port()

        # Cycle 0: read the word, line the lanes up with it.
        addend = Signal(bits, reset_less=True)
        mode = Signal.like(self.mode, reset_less=True)
        address = Signal.like(self.address, reset_less=True)
        first = Signal(reset_less=True)
        valid = Signal()
        m.d.comb += add_port.addr.eq(self.address)
        with m.Switch(self.mode):
            for index, built in enumerate(self.array.modes):
                lane_bits = self.array.partial_sum_lane_bits(built)
                with mode_case(m, self.array, index):
                    m.d.sync += addend.eq(extend_lanes(self.sums, built.lanes, lane_bits, bits))
        m.d.sync += [
            mode.eq(self.mode),
            address.eq(self.address),
            first.eq(self.first),
            valid.eq(self.valid),
        ]

        # Cycle 1: add.
        total = Signal(bits, reset_less=True)
        total_address = Signal.like(address, reset_less=True)
        total_valid = Signal()
        word = Mux(first, 0, add_port.data)
        m.d.sync += [
            total.eq(add_lanes(m, word, addend, lane_starts(self.array, bits, mode))),
            total_address.eq(address),
            total_valid.eq(valid),
        ]

        # Cycle 2: write.
        m.d.comb += [
            write_port.addr.eq(total_address),
            write_port.data.eq(total),
            write_port.en.eq(total_valid),
        ]

        self._read(m, read_port)
        return m

    def _read(self, m, port):
        mode = Signal.like(self.read_mode, reset_less=True)
        lane = Signal.like(self.read_lane, reset_less=True)
        m.d.comb += port.addr.eq(self.read_address)
        m.d.sync += [mode.eq(self.read_mode), lane.eq(self.read_lane)]

        read = Signal.like(self.lane, reset_less=True)
        m.d.comb += self.lane.eq(read)
        with m.Switch(mode):
            for index, built in enumerate(self.array.modes):
                lane_bits = self.array.accumulator_lane_bits(built)
                with mode_case(m, self.array, index):
                    m.d.sync += read.eq(port.data.word_select(lane, lane_bits).as_signed())
