"""Fetches a tile's input rectangle and its parameters into the memories on the chip."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dybit.hw.beats import BEAT_BITS, WordsFromBeats
from dybit.hw.burst import Command
from dybit.hw.read_dma import ReadData
from dybit.hw.tile import Tile

__all__ = ["InputLoader"]

PARAMETER_BYTES = 16
"""Bytes of a channel's bias, multiplier and shift in memory: a beat of the bus."""


class InputLoader(wiring.Component):
    """Loads one tile after the other, into the banks of activation and parameter memory in turn.

    A tile waits until both banks it takes are free, and with a barrier until every tile before
    it has been stored.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig
    accelerator : dybit.quant.accelerator_config.AcceleratorConfig

    Members
    -------
    clear : In(1)
        Forget everything.
    i : In(stream.Signature(Tile(array)["load"].shape))
    bank_freed, parameters_freed : In(1)
        A bank of activations, or of parameters, has been used up.
    stored : In(1)
        A tile is in memory.
    input_command, input_data, parameter_command, parameter_data :
        To and from two clients of the `ReadDma`.
    write_enable, write_address, write_data : Out
        To the activation memory; the address's top bit is the bank.
    parameter_enable : Out(columns)
        Columns of the parameter memory to write `parameter` to.
    parameter_address, parameter : Out
        The address's top bit is the bank.
    loaded : Out(1)
        A tile is complete, one cycle.
    """

    def __init__(self, array, accelerator):
        self.array = array
        self.accelerator = accelerator
        super().__init__(
            {
                "clear": In(1),
                "i": In(stream.Signature(Tile(array)["load"].shape)),
                "bank_freed": In(1),
                "parameters_freed": In(1),
                "stored": In(1),
                "input_command": Out(stream.Signature(Command)),
                "input_data": In(stream.Signature(ReadData)),
                "parameter_command": Out(stream.Signature(Command)),
                "parameter_data": In(stream.Signature(ReadData)),
                "write_enable": Out(1),
                "write_address": Out(range(2 * accelerator.activation_words)),
                "write_data": Out(8 * array.rows),
                "parameter_enable": Out(array.columns),
                "parameter_address": Out(range(2 * accelerator.parameter_groups)),
                "parameter": Out(BEAT_BITS),
                "loaded": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = WordsFromBeats(8 * self.array.rows)
        row_bits = exact_log2(self.array.rows)
        column_bits = exact_log2(self.array.columns)

        tile = Signal.like(self.i.payload, reset_less=True)
        busy = Signal()
        # Two banks each; tiles are stored in order, so a count of those under way is enough.
        banks = Signal(2, init=2)
        parameter_banks = Signal(2, init=2)
        under_way = Signal(4)
        begin = Signal()
        m.d.comb += [
            begin.eq(
                self.i.valid
                & ~busy
                & banks.any()
                & parameter_banks.any()
                & (~self.i.payload.barrier | ~under_way.any())
            ),
            self.i.ready.eq(begin),
        ]
        m.d.sync += [
            banks.eq(banks + self.bank_freed - begin),
            parameter_banks.eq(parameter_banks + self.parameters_freed - begin),
            under_way.eq(under_way + begin - self.stored),
        ]

        rows_left = Signal.like(tile.rows)
        parameters_asked = Signal()
        address = Signal.like(tile.address, reset_less=True)
        words_left = Signal.like(tile.words)
        parameters_left = Signal(len(tile.groups) + column_bits)
        bank = Signal()
        parameter_bank = Signal()
        word = Signal(range(self.accelerator.activation_words))
        column = Signal(range(self.array.columns))
        group = Signal(range(self.accelerator.parameter_groups))

        m.d.comb += [
            self.input_command.valid.eq(rows_left.any()),
            self.input_command.payload.address.eq(address),
            self.input_command.payload.bytes.eq(tile.row_words << row_bits),
            self.parameter_command.valid.eq(busy & ~parameters_asked),
            self.parameter_command.payload.address.eq(tile.parameters),
            self.parameter_command.payload.bytes.eq(
                tile.groups << column_bits + exact_log2(PARAMETER_BYTES)
            ),
            words.clear.eq(self.clear),
            words.row_words.eq(tile.row_words),
            words.i.valid.eq(self.input_data.valid),
            words.i.payload.eq(self.input_data.payload.data),
            self.input_data.ready.eq(words.i.ready),
            words.o.ready.eq(1),
            self.write_enable.eq(words.o.valid),
            self.write_address.eq(Cat(word, bank)),
            self.write_data.eq(words.o.payload),
            self.parameter_data.ready.eq(1),
            self.parameter_enable.eq(self.parameter_data.valid << column),
            self.parameter_address.eq(Cat(group, parameter_bank)),
            self.parameter.eq(self.parameter_data.payload.data),
        ]
        with m.If(self.input_command.valid & self.input_command.ready):
            m.d.sync += [
                rows_left.eq(rows_left - 1),
                address.eq(address + tile.row_stride),
            ]
        with m.If(self.parameter_command.valid & self.parameter_command.ready):
            m.d.sync += parameters_asked.eq(1)
        with m.If(self.write_enable):
            m.d.sync += [word.eq(word + 1), words_left.eq(words_left - 1)]
        with m.If(self.parameter_data.valid):
            m.d.sync += [
                column.eq(column + 1),
                group.eq(group + (column == self.array.columns - 1)),
                parameters_left.eq(parameters_left - 1),
            ]

        with m.If(begin):
            m.d.sync += [
                busy.eq(1),
                tile.eq(self.i.payload),
                rows_left.eq(self.i.payload.rows),
                address.eq(self.i.payload.address),
                parameters_asked.eq(0),
                words_left.eq(self.i.payload.words),
                parameters_left.eq(self.i.payload.groups << column_bits),
                word.eq(0),
                column.eq(0),
                group.eq(0),
            ]
        m.d.comb += self.loaded.eq(busy & ~words_left.any() & ~parameters_left.any())
        with m.If(self.loaded):
            m.d.sync += [busy.eq(0), bank.eq(~bank), parameter_bank.eq(~parameter_bank)]

        return ResetInserter(self.clear)(m)
