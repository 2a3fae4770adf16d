"""Takes a tile's walk apart into passes: one tile of weights over all output pixels each."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.mode import mode_case
from dybit.hw.tile import COUNT_BITS, POSITION_BITS, Tile

__all__ = ["Pass", "PassGenerator"]


class Pass(data.StructLayout):
    """One tile of weights meeting every output pixel of a tile.

    Fields
    ------
    address : word of the first pixel's window, as if the rectangle went on beyond its edges
    row, column : that pixel's place in the rectangle, negative in the padding
    part : depthwise: which C channels of the word
    tail : the word is its pixel's last
    begin, end : first and last pass of the tile
    first, last : first and last pass of the column tile
    walk : the tile
    """

    def __init__(self, array):
        super().__init__(
            {
                "address": COUNT_BITS,
                "row": signed(POSITION_BITS),
                "column": signed(POSITION_BITS),
                "part": range(max(2, array.rows * array.max_channels // array.columns)),
                "tail": 1,
                "begin": 1,
                "end": 1,
                "first": 1,
                "last": 1,
                "walk": Tile(array)["walk"].shape,
            }
        )


class PassGenerator(wiring.Component):
    """Counts column tiles, kernel positions and blocks of channels, the last fastest.

    A depthwise tile has one pass for each group of C channels.

    Throughput: a pass a cycle.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig

    Members
    -------
    clear : In(1)
        Forget everything.
    i : In(stream.Signature(Tile(array)["walk"].shape))
    o : Out(stream.Signature(Pass(array)))
    """

    def __init__(self, array):
        self.array = array
        super().__init__(
            {
                "clear": In(1),
                "i": In(stream.Signature(Tile(array)["walk"].shape)),
                "o": Out(stream.Signature(Pass(array))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        walk = Signal.like(self.i.payload, reset_less=True)
        busy = Signal()
        offered = Signal()
        column_tile = Signal(COUNT_BITS)
        tap_y = Signal(8)
        tap_x = Signal(8)
        block = Signal(COUNT_BITS)
        part = Signal.like(self.o.payload.part)
        tile_block = Signal(COUNT_BITS)  # the column tile's first word in a pixel
        tile_address = Signal(COUNT_BITS)
        row_address = Signal(COUNT_BITS)
        tap_address = Signal(COUNT_BITS)

        last_part = Signal.like(part)
        with m.Switch(walk.mode):
            for index, mode in enumerate(self.array.modes):
                parts = max(1, self.array.rows * mode.channels // self.array.columns)
                with mode_case(m, self.array, index):
                    m.d.comb += last_part.eq(parts - 1)

        depthwise = walk.depthwise
        last_block = Signal()
        last_x = Signal()
        last_y = Signal()
        last_tile = Signal()
        m.d.comb += [
            last_block.eq(depthwise | (block == walk.block_count - 1)),
            last_x.eq(depthwise | (tap_x == walk.kernel_width - 1)),
            last_y.eq(depthwise | (tap_y == walk.kernel_height - 1)),
            last_tile.eq(column_tile == walk.column_tiles - 1),
        ]

        # Depthwise: the next word once all its parts are done.
        advance = Signal(COUNT_BITS)
        m.d.comb += advance.eq(Mux(depthwise, part == last_part, walk.block_step))

        offer = self.o.payload
        m.d.comb += [self.o.valid.eq(offered), self.i.ready.eq(~busy)]
        step = busy & (~offered | self.o.ready)
        with m.If(self.o.ready):
            m.d.sync += offered.eq(0)
        with m.If(step):
            m.d.sync += [
                offered.eq(1),
                offer.address.eq(tap_address + block),
                offer.row.eq(tap_y - walk.pad_top),
                offer.column.eq(tap_x - walk.pad_left),
                offer.part.eq(part),
                offer.tail.eq(tile_block + block == walk.blocks - 1),
                offer.first.eq(
                    depthwise | ((block == 0) & (tap_x == 0) & (tap_y == 0)),
                ),
                offer.last.eq(last_block & last_x & last_y),
                offer.begin.eq((column_tile == 0) & (block == 0) & (tap_x == 0) & (tap_y == 0)),
                offer.end.eq(last_block & last_x & last_y & last_tile),
                offer.walk.eq(walk),
                block.eq(block + 1),
            ]
            with m.If(last_block):
                m.d.sync += [
                    block.eq(0),
                    tap_x.eq(tap_x + 1),
                    tap_address.eq(tap_address + walk.blocks),
                ]
                with m.If(last_x):
                    m.d.sync += [
                        tap_x.eq(0),
                        tap_y.eq(tap_y + 1),
                        row_address.eq(row_address + walk.row_words),
                        tap_address.eq(row_address + walk.row_words),
                    ]
                    with m.If(last_y):
                        m.d.sync += [
                            tap_y.eq(0),
                            column_tile.eq(column_tile + 1),
                            part.eq(Mux(part == last_part, 0, part + 1)),
                            tile_block.eq(tile_block + advance),
                            tile_address.eq(tile_address + advance),
                            row_address.eq(tile_address + advance),
                            tap_address.eq(tile_address + advance),
                        ]
                        with m.If(last_tile):
                            m.d.sync += busy.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                walk.eq(self.i.payload),
                busy.eq(1),
                column_tile.eq(0),
                tap_y.eq(0),
                tap_x.eq(0),
                block.eq(0),
                part.eq(0),
                tile_block.eq(0),
                tile_address.eq(self.i.payload.origin),
                row_address.eq(self.i.payload.origin),
                tap_address.eq(self.i.payload.origin),
            ]
        return ResetInserter(self.clear)(m)
