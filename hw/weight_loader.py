"""Fetches weights ahead of their use, tile after tile."""

from amaranth import *
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dybit.hw.beats import WordsFromBeats
from dybit.hw.burst import Command
from dybit.hw.mode import mode_case, mode_shape
from dybit.hw.read_dma import ReadData
from dybit.hw.tile import Tile

__all__ = ["WeightLoader", "WeightRow"]


class WeightRow(data.StructLayout):
    """A row of weights as the array takes it, and where it goes.

    Fields
    ------
    word : for each column its packed weights; byte k meets activation lane k
    mode, exponent_limit : as the array is told them
    depthwise : the row is for the depthwise unit
    ends_row, last : where that is built: the last tap of a row of the kernel, or of the kernel
    """

    def __init__(self, array, accelerator):
        taps = {"ends_row": 1, "last": 1} if accelerator.depthwise_kernel else {}
        super().__init__(
            {
                "word": data.ArrayLayout(data.ArrayLayout(8, array.word_bytes), array.columns),
                "mode": mode_shape(array),
                "exponent_limit": 4,
                "depthwise": 1,
                **taps,
            }
        )


class WeightLoader(wiring.Component):
    """Reads the weights of one descriptor after the other into a buffer of `weight_rows` rows.

    Weights do not change during a run, so no barrier holds them back.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig
    accelerator : dybit.quant.accelerator_config.AcceleratorConfig

    Members
    -------
    clear : In(1)
        Forget everything.
    i : In(stream.Signature(Tile(array)["weights"].shape))
    command, data :
        To and from a client of the `ReadDma`.
    o : Out(stream.Signature(WeightRow(array, accelerator)))
    """

    def __init__(self, array, accelerator):
        self.array = array
        self.accelerator = accelerator
        super().__init__(
            {
                "clear": In(1),
                "i": In(stream.Signature(Tile(array)["weights"].shape)),
                "command": Out(stream.Signature(Command)),
                "data": In(stream.Signature(ReadData)),
                "o": Out(stream.Signature(WeightRow(array, accelerator))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        array = self.array
        column_bits = exact_log2(array.columns)
        m.submodules.units = units = WordsFromBeats(8 * array.columns)
        m.submodules.rows = rows = fifo.SyncFIFOBuffered(
            width=WeightRow(array, self.accelerator).size, depth=self.accelerator.weight_rows
        )

        tile = Signal.like(self.i.payload, reset_less=True)
        channel_bits = Signal(2)  # log2 of the bytes of a column
        with m.Switch(tile.mode):
            for index, mode in enumerate(array.modes):
                with mode_case(m, array, index):
                    m.d.comb += channel_bits.eq(exact_log2(mode.channels))

        # One command for each tile of the array; one for all a depthwise descriptor has, since
        # its few rows need not fill a beat.
        taps_left = Signal.like(tile.taps)
        blocks_left = Signal.like(tile.blocks)
        column_tiles_left = Signal.like(tile.column_tiles)
        address = Signal.like(tile.address, reset_less=True)
        command_rows = Signal(16)
        depthwise_rows = Signal(16, reset_less=True)
        rows_left = Signal(40)
        last_command = Signal()
        m.d.sync += depthwise_rows.eq(tile.taps[:6] * tile.column_tiles)
        m.d.comb += [
            command_rows.eq(Mux(tile.depthwise, depthwise_rows, array.rows)),
            last_command.eq(
                tile.depthwise | ((taps_left == 1) & (blocks_left == 1) & (column_tiles_left == 1))
            ),
            self.command.payload.address.eq(address),
            self.command.payload.bytes.eq(command_rows << column_bits << channel_bits),
            units.clear.eq(self.clear),
            units.row_words.eq(command_rows << channel_bits),
            units.i.valid.eq(self.data.valid),
            units.i.payload.eq(self.data.payload.data),
            self.data.ready.eq(units.i.ready),
        ]
        # Rows that have been asked for and have not come.
        asked = Signal.like(command_rows)
        pushed = Signal()
        m.d.comb += asked.eq(
            Mux(self.command.valid & self.command.ready, command_rows, 0),
        )
        m.d.sync += rows_left.eq(rows_left + asked - pushed)

        with m.FSM():
            with m.State("TAKE"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += [
                        tile.eq(self.i.payload),
                        address.eq(self.i.payload.address),
                        taps_left.eq(self.i.payload.taps),
                        blocks_left.eq(self.i.payload.blocks),
                        column_tiles_left.eq(self.i.payload.column_tiles),
                    ]
                    m.next = "COUNT"
            with m.State("COUNT"):
                m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += self.command.valid.eq(1)
                with m.If(self.command.ready):
                    m.d.sync += [
                        address.eq(address + self.command.payload.bytes),
                        blocks_left.eq(blocks_left - 1),
                    ]
                    with m.If(blocks_left == 1):
                        m.d.sync += [blocks_left.eq(tile.blocks), taps_left.eq(taps_left - 1)]
                        with m.If(taps_left == 1):
                            m.d.sync += [
                                taps_left.eq(tile.taps),
                                column_tiles_left.eq(column_tiles_left - 1),
                            ]
                    with m.If(last_command):
                        m.next = "RECEIVE"
            with m.State("RECEIVE"), m.If(~rows_left.any()):
                m.next = "TAKE"

        self._gather(m, tile, channel_bits, units, rows, pushed)
        row = data.View(WeightRow(array, self.accelerator), rows.r_data)
        m.d.comb += [
            self.o.valid.eq(rows.r_rdy),
            self.o.payload.eq(row),
            rows.r_en.eq(self.o.ready),
        ]
        return ResetInserter(self.clear)(m)

    def _gather(self, m, tile, channel_bits, units, rows, pushed):
        """Put the units of a row, C bytes each, together, and byte j of a column at its byte j."""
        array = self.array
        gathered = Signal(data.ArrayLayout(8 * array.columns, array.word_bytes), reset_less=True)
        position = Signal(range(max(2, array.word_bytes)))
        full = Signal()
        row = Signal(WeightRow(array, self.accelerator))
        m.d.comb += [
            row.mode.eq(tile.mode),
            row.exponent_limit.eq(tile.exponent_limit),
            row.depthwise.eq(tile.depthwise),
            rows.w_data.eq(row),
            rows.w_en.eq(full),
            pushed.eq(full & rows.w_rdy),
            units.o.ready.eq(~full | pushed),
        ]
        if self.accelerator.depthwise_kernel:
            self._count_taps(m, tile, row, pushed)
        with m.If(pushed):
            m.d.sync += full.eq(0)
        with m.If(units.o.valid & units.o.ready):
            complete = position == (C(1, 3) << channel_bits) - 1
            m.d.sync += [
                gathered[position].eq(units.o.payload),
                position.eq(Mux(complete, 0, position + 1)),
                full.eq(complete),
            ]
        flat = gathered.as_value()
        with m.Switch(tile.mode):
            for index, mode in enumerate(array.modes):
                with mode_case(m, array, index):
                    for c in range(array.columns):
                        for j in range(mode.channels):
                            byte = c * mode.channels + j
                            m.d.comb += row.word[c][j].eq(flat.word_select(byte, 8))

    def _count_taps(self, m, tile, row, pushed):
        """Tell the last tap of a kernel, and of each of its rows; `blocks` are those of a row."""
        taps = Signal.like(tile.taps)
        taps_of_row = Signal.like(tile.blocks)
        m.d.comb += [
            row.ends_row.eq(taps_of_row == tile.blocks - 1),
            row.last.eq(taps == tile.taps - 1),
        ]
        with m.If(pushed & tile.depthwise):
            m.d.sync += [
                taps.eq(Mux(row.last, 0, taps + 1)),
                taps_of_row.eq(Mux(row.ends_row, 0, taps_of_row + 1)),
            ]
