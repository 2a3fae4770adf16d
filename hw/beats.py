"""Words of other sizes out of the bus's beats, and beats out of words."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["BEAT_BITS", "BeatsFromWords", "WordsFromBeats"]

BEAT_BITS = 128
"""Bits of the data bus."""


class WordsFromBeats(wiring.Component):
    """Cuts beats into words or puts words together from beats, the first in the low bits.

    What is left of a beat after a row's last word is dropped, so every row starts with a beat of
    its own.

    Latency: none for words of a beat or less, else one cycle. Throughput: a beat or a word a
    cycle, whichever is more.

    Parameters
    ----------
    word_bits : int
        A power of two.

    Members
    -------
    clear : In(1)
    row_words : In(16)
        Words in a row, at least 1; holds still during a row.
    i : In(stream.Signature(128))
    o : Out(stream.Signature(word_bits))
    """

    def __init__(self, word_bits):
        self.word_bits = word_bits
        super().__init__(
            {
                "clear": In(1),
                "row_words": In(16),
                "i": In(stream.Signature(BEAT_BITS)),
                "o": Out(stream.Signature(word_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        if self.word_bits > BEAT_BITS:
            self._gather(m)
        else:
            self._cut(m)
        return ResetInserter(self.clear)(m)

    def _gather(self, m):
        count = self.word_bits // BEAT_BITS
        beats = Signal(data.ArrayLayout(BEAT_BITS, count), reset_less=True)
        position = Signal(range(count))
        full = Signal()
        m.d.comb += [
            self.o.valid.eq(full),
            self.o.payload.eq(beats),
            self.i.ready.eq(~full | self.o.ready),
        ]
        with m.If(self.o.ready):
            m.d.sync += full.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                beats[position].eq(self.i.payload),
                position.eq(position + 1),
                full.eq(position == count - 1),
            ]

    def _cut(self, m):
        count = BEAT_BITS // self.word_bits
        position = Signal(range(max(2, count)))
        row_position = Signal(16)
        last_in_row = Signal()
        last_in_beat = Signal()
        m.d.comb += [
            last_in_row.eq(row_position + 1 == self.row_words),
            last_in_beat.eq(last_in_row | (position == count - 1)),
            self.o.valid.eq(self.i.valid),
            self.o.payload.eq(self.i.payload.word_select(position, self.word_bits)),
            self.i.ready.eq(self.o.ready & last_in_beat),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [
                position.eq(Mux(last_in_beat, 0, position + 1)),
                row_position.eq(Mux(last_in_row, 0, row_position + 1)),
            ]


class BeatsFromWords(wiring.Component):
    """Puts words together into beats or cuts them into beats; the inverse of `WordsFromBeats`.

    A beat that a row does not fill ends in what was there before.

    Latency: one cycle for words of less than a beat, else none. Throughput: a beat or a word a
    cycle, whichever is more.

    Parameters
    ----------
    word_bits : int
        A power of two.

    Members
    -------
    clear : In(1)
    i : In(stream.Signature({word, last}))
        `last` marks a row's last word.
    beats : In(range)
        With a last word of more than a beat: the beats of it that count, less one.
    o : Out(stream.Signature(128))
    """

    def __init__(self, word_bits):
        self.word_bits = word_bits
        self.word_beats = max(1, word_bits // BEAT_BITS)
        super().__init__(
            {
                "clear": In(1),
                "i": In(stream.Signature(data.StructLayout({"word": word_bits, "last": 1}))),
                "beats": In(range(max(2, self.word_beats))),
                "o": Out(stream.Signature(BEAT_BITS)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        if self.word_bits < BEAT_BITS:
            self._gather(m)
        else:
            self._cut(m)
        return ResetInserter(self.clear)(m)

    def _gather(self, m):
        count = BEAT_BITS // self.word_bits
        words = Signal(data.ArrayLayout(self.word_bits, count), reset_less=True)
        position = Signal(range(count))
        full = Signal()
        m.d.comb += [
            self.o.valid.eq(full),
            self.o.payload.eq(words),
            self.i.ready.eq(~full | self.o.ready),
        ]
        with m.If(self.o.ready):
            m.d.sync += full.eq(0)
        with m.If(self.i.valid & self.i.ready):
            complete = self.i.payload.last | (position == count - 1)
            m.d.sync += [
                words[position].eq(self.i.payload.word),
                position.eq(Mux(complete, 0, position + 1)),
                full.eq(complete),
            ]

    def _cut(self, m):
        position = Signal(range(max(2, self.word_beats)))
        final = Signal.like(position)
        m.d.comb += [
            final.eq(Mux(self.i.payload.last, self.beats, self.word_beats - 1)),
            self.o.valid.eq(self.i.valid),
            self.o.payload.eq(self.i.payload.word.word_select(position, BEAT_BITS)),
            self.i.ready.eq(self.o.ready & (position == final)),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += position.eq(Mux(position == final, 0, position + 1))
