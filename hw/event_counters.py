"""Wide counters of many events, kept in one small memory."""

from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

__all__ = ["EventCounters"]


class EventCounters(wiring.Component):
    """Counts events, each up to once a cycle, in words of a memory with a single adder.

    Each event has a small counter of its own; in turn, a cycle each, they are added to their words
    and start again from 0.

    Latency: an event is in what is read from `latency` cycles later on. Throughput: `value` is
    any one counter's once in `count` cycles.

    Parameters
    ----------
    count : int
        How many there are; a power of two, at least 4.
    bits : int
        Width of a counter, which wraps.

    Members
    -------
    events : In(count)
    clear : In(1)
        All counters become 0; an event of this cycle does not count.
    address : In
        Counter to read.
    value : Out(bits)
        What that counter is, in a cycle in which `valid` is 1.
    valid : Out(1)
    """

    def __init__(self, count, bits=64):
        if not isinstance(count, int) or count < 4 or count & count - 1:
            raise ValueError(f"count must be a power of two, at least 4, not {count!r}")
        self.count = count
        self.bits = bits
        self.words = memory.Memory(shape=bits, depth=count, init=[])
        super().__init__(
            {
                "events": In(count),
                "clear": In(1),
                "address": In(exact_log2(count)),
                "value": Out(bits),
                "valid": Out(1),
            }
        )

    @property
    def latency(self):
        """Cycles until an event is in what is read: its turn comes, and a register."""
        return self.count + 1

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = self.words
        read_port, write_port = words.read_port(), words.write_port()
        index_bits = exact_log2(self.count)

        # One behind the other at all times, so that no counter's turn comes again too soon.
        turn = Signal(index_bits, init=2, reset_less=True)
        added = Signal(index_bits, init=1, reset_less=True)
        written = Signal(index_bits, init=0, reset_less=True)
        total = Signal(self.bits, reset_less=True)
        # Words not to be looked at: what they hold is from before the last `clear`.
        stale = Signal(self.count, init=-1)
        pending = [Signal(range(self.count + 1), name=f"pending_{i}") for i in range(self.count)]
        amount = Signal(range(self.count + 1))
        with m.Switch(added):
            for i in range(self.count):
                with m.Case(i):
                    m.d.comb += amount.eq(pending[i])
        word = Mux(stale.bit_select(added, 1), 0, read_port.data)
        m.d.comb += [
            read_port.addr.eq(turn),
            write_port.addr.eq(written),
            write_port.data.eq(total),
            write_port.en.eq(1),
            self.value.eq(total),
            self.valid.eq(written == self.address),
        ]
        m.d.sync += [
            turn.eq(turn + 1),
            added.eq(turn),
            written.eq(added),
            total.eq(word + amount),
        ]
        for i in range(self.count):
            mine = added == i
            m.d.sync += pending[i].eq(Mux(mine, 0, pending[i]) + self.events[i])
            with m.If(self.clear):
                m.d.sync += pending[i].eq(0)
            m.d.sync += stale[i].eq(self.clear | (stale[i] & ~mine))
        return m
