"""Where the windows of a convolution end, in a walk over the pixels they slide over."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.pixel_walker import Vector

__all__ = ["WindowWalk"]


class WindowWalk(wiring.Component):
    """Counts the vectors of a pass and tells those that complete a window from the others.

    Latency: ``LATENCY`` cycles. Throughput: one vector a cycle. No stalls.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig
    width : int
        Longest row.

    Members
    -------
    clear : In(1)
    vector : In(Vector(array))
        Those of the depthwise unit count; the first of a pass has the accumulator of its first
        window.
    valid : Out(1)
        There was a vector.
    column : Out
        Its place in its row.
    complete : Out(1)
        It is the last of a window.
    address : Out
        Accumulator of that window.
    """

    LATENCY = 1

    def __init__(self, array, width):
        address = Vector(array)["address"].shape
        super().__init__(
            {
                "clear": In(1),
                "vector": In(Vector(array)),
                "valid": Out(1),
                "column": Out(range(width)),
                "complete": Out(1),
                "address": Out(address),
            }
        )

    def elaborate(self, platform):
        m = Module()
        vector = self.vector
        # What the next vector finds, unless it is the first of a pass.
        next_column = Signal.like(self.column, reset_less=True)
        next_address = Signal.like(self.address, reset_less=True)
        columns_left = Signal.like(vector.stride_x, reset_less=True)
        rows_left = Signal.like(vector.stride_y, reset_less=True)

        column, address = Signal.like(self.column), Signal.like(self.address)
        before_x, before_y = Signal.like(columns_left), Signal.like(rows_left)
        ends_row, complete = Signal(), Signal()
        first_x, first_y = vector.kernel_width - 1, vector.kernel_height - 1
        m.d.comb += [
            column.eq(Mux(vector.swap, 0, next_column)),
            address.eq(Mux(vector.swap, vector.address, next_address)),
            before_x.eq(Mux(vector.swap, first_x, columns_left)),
            before_y.eq(Mux(vector.swap, first_y, rows_left)),
            ends_row.eq(column == (vector.width - 1)[: len(column)]),
            complete.eq(~before_x.any() & ~before_y.any()),
        ]
        m.d.sync += [
            self.valid.eq(vector.unit_valid),
            self.complete.eq(vector.unit_valid & complete),
            self.column.eq(column),
            self.address.eq(address),
        ]
        with m.If(vector.unit_valid):
            m.d.sync += [
                next_column.eq(column + 1),
                next_address.eq(address + complete),
                columns_left.eq(Mux(before_x.any(), before_x, vector.stride_x) - 1),
                rows_left.eq(before_y),
            ]
            with m.If(ends_row):
                m.d.sync += [
                    next_column.eq(0),
                    columns_left.eq(first_x),
                    rows_left.eq(Mux(before_y.any(), before_y, vector.stride_y) - 1),
                ]
        return ResetInserter(self.clear)(m)
