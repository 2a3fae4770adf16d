"""Writes a tile's results from the output memory to the memory outside."""

from amaranth import *
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dybit.hw.beats import BEAT_BITS, BeatsFromWords
from dybit.hw.burst import Command
from dybit.hw.tile import Tile
from dybit.hw.write_dma import WriteData

__all__ = ["OutputStore"]

_AHEAD = 4
"""Words asked of the output memory ahead of the bus."""


class OutputStore(wiring.Component):
    """Writes the rows of tile after tile, each row one command.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig
    accelerator : dybit.quant.accelerator_config.AcceleratorConfig

    Members
    -------
    clear : In(1)
        Forget everything.
    i : In(stream.Signature(Tile(array)["store"].shape))
    drained : In(1)
        Another output bank is full.
    read_address : Out
        To the output memory; the top bit is the bank.
    read_data : In
        The word, one cycle later.
    command, data :
        To the `WriteDma`.
    written : In(1)
        It has finished a command.
    stored : Out(1)
        A tile is in memory, and its bank free.
    """

    def __init__(self, array, accelerator):
        self.array = array
        self.accelerator = accelerator
        super().__init__(
            {
                "clear": In(1),
                "i": In(stream.Signature(Tile(array)["store"].shape)),
                "drained": In(1),
                "read_address": Out(range(2 * accelerator.output_words)),
                "read_data": In(8 * array.columns),
                "command": Out(stream.Signature(Command)),
                "data": Out(stream.Signature(WriteData)),
                "written": In(1),
                "stored": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        column_bits = exact_log2(self.array.columns)
        m.submodules.beats = beats = BeatsFromWords(8 * self.array.columns)
        tile = Signal.like(self.i.payload, reset_less=True)
        busy = Signal()
        bank = Signal()
        full_banks = Signal(2)
        begin = Signal()
        m.d.comb += [
            begin.eq(self.i.valid & ~busy & full_banks.any()),
            self.i.ready.eq(begin),
        ]
        m.d.sync += full_banks.eq(full_banks + self.drained - begin)

        # Rows to announce, to read and to hear of.
        rows_to_ask = Signal.like(tile.rows)
        rows_to_read = Signal.like(tile.rows)
        rows_to_finish = Signal.like(tile.rows)
        address = Signal.like(tile.address, reset_less=True)
        words_in_row = Signal(24, reset_less=True)
        words_left = Signal(24, reset_less=True)
        word = Signal(range(self.accelerator.output_words), reset_less=True)
        row_word = Signal(range(self.accelerator.output_words), reset_less=True)
        m.d.comb += [
            self.command.valid.eq(rows_to_ask.any()),
            self.command.payload.address.eq(address),
            self.command.payload.bytes.eq(tile.row_bytes),
            self.read_address.eq(Cat(word, bank)),
        ]
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [rows_to_ask.eq(rows_to_ask - 1), address.eq(address + tile.row_stride)]

        # Words read wait in a small queue, which always has a place for what has been asked for.
        m.submodules.queue = queue = fifo.SyncFIFO(width=8 * self.array.columns + 1, depth=_AHEAD)
        reads = Signal()
        last_word = Signal()
        asked = Signal()
        asked_last = Signal()
        m.d.comb += [
            reads.eq(rows_to_read.any() & (queue.level + asked < _AHEAD)),
            last_word.eq(words_left == 1),
            queue.w_en.eq(asked),
            queue.w_data.eq(Cat(self.read_data, asked_last)),
            beats.i.valid.eq(queue.r_rdy),
            beats.i.payload.eq(queue.r_data),
            queue.r_en.eq(beats.i.ready),
        ]
        m.d.sync += [asked.eq(reads), asked_last.eq(last_word)]
        with m.If(reads):
            m.d.sync += [word.eq(word + 1), words_left.eq(words_left - 1)]
            with m.If(last_word):
                m.d.sync += [
                    words_left.eq(words_in_row),
                    word.eq(row_word + tile.row_words),
                    row_word.eq(row_word + tile.row_words),
                    rows_to_read.eq(rows_to_read - 1),
                ]

        with m.If(begin):
            words = ((self.i.payload.row_bytes + (1 << column_bits) - 1) >> column_bits)[:24]
            m.d.sync += [
                busy.eq(1),
                tile.eq(self.i.payload),
                address.eq(self.i.payload.address),
                rows_to_ask.eq(self.i.payload.rows),
                rows_to_read.eq(self.i.payload.rows),
                rows_to_finish.eq(self.i.payload.rows),
                words_in_row.eq(words),
                words_left.eq(words),
                word.eq(0),
                row_word.eq(0),
            ]
        with m.Elif(self.written):
            m.d.sync += rows_to_finish.eq(rows_to_finish - 1)
        m.d.comb += self.stored.eq(busy & self.written & (rows_to_finish == 1))
        with m.If(self.stored):
            m.d.sync += [busy.eq(0), bank.eq(~bank)]

        m.d.comb += [
            beats.clear.eq(self.clear),
            beats.beats.eq(
                (tile.row_bytes - 1) >> exact_log2(BEAT_BITS // 8) & beats.word_beats - 1
            ),
            self.data.valid.eq(beats.o.valid),
            self.data.payload.data.eq(beats.o.payload),
            beats.o.ready.eq(self.data.ready),
        ]
        return ResetInserter(self.clear)(m)
