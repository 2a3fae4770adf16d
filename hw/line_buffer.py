"""Line buffer: what came in the same column of the rows before."""

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.pipeline import delay

__all__ = ["LineBuffer"]


class LineBuffer(wiring.Component):
    """Keeps the last rows of words and gives a column of them with every word.

    A word is written once the words above it have been read, so a column may come again in the
    next cycle but one and not before: rows have two words or more.

    Latency: ``LATENCY`` cycles. Throughput: one word a cycle. No stalls.

    Parameters
    ----------
    bits : int
        Width of a word.
    rows : int
        Words in a column, at least 1.
    width : int
        Longest row.

    Members
    -------
    valid : In(1)
        Take the word.
    column : In
        Its place in the row.
    word : In(bits)
    words : Out
        The word, the one above it, and so on; as many are right as rows have come.
    """

    LATENCY = 1

    def __init__(self, bits, rows, width):
        self.rows = rows
        self.width = width
        super().__init__(
            {
                "valid": In(1),
                "column": In(range(width)),
                "word": In(bits),
                "words": Out(data.ArrayLayout(bits, rows)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bits = len(self.word)
        m.d.comb += self.words[0].eq(delay(m, self.word, self.LATENCY, "word"))
        if self.rows == 1:
            return m
        m.submodules.lines = lines = memory.Memory(
            shape=bits * (self.rows - 1), depth=self.width, init=[]
        )
        read, write = lines.read_port(), lines.write_port()
        above = self.words.as_value()[bits:]
        m.d.comb += [
            read.addr.eq(self.column),
            above.eq(read.data),
            # Every word moves up a row.
            write.data.eq(self.words.as_value()),
            write.addr.eq(delay(m, self.column, self.LATENCY, "column")),
            write.en.eq(delay(m, self.valid, self.LATENCY, "valid", reset=True)),
        ]
        return m
