"""One channel of a depthwise convolution: its taps, loaded ahead, and the sum over them."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from dybit.hw.depthwise_tap import (
    DepthwiseTap,
    activation_number,
    tap_activation_layout,
    tap_latency,
    weight_number,
)
from dybit.hw.number_decoder import number_layout
from dybit.hw.pipeline import delay

__all__ = ["DepthwiseChannel", "channel_latency"]


def channel_latency(array, kernel):
    """Return the cycles from a column of activations to the sum over the window it ends."""
    return 1 + tap_latency(array) + ceil_log2(kernel)


class DepthwiseChannel(wiring.Component):
    """Slides a kernel over columns of activations, one a cycle.

    A kernel's weights come one by one, row by row, and settle where its end is the end of the
    window: a weight pushes those of its row one tap on, the first of a row those of all rows one
    row up, and the first of all empties what is left, so that a kernel of any size has zeros
    where it has no weights. They are a second copy beside those in use.

    Latency: `channel_latency` cycles from a column to the sum over the window that ends with it.
    Throughput: one column and one weight a cycle. No stalls, so a window is right if its columns
    came one after the other.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig
    kernel : int
        Rows and columns of taps.

    Members
    -------
    activations : In
        A column of the window, the newest row first.
    swap : In(1)
        `activations` is the first column to meet the weights loaded last.
    weight : In
    load : In(1)
        Take `weight`. In the cycle of a swap it already belongs to the kernel after.
    begins, begins_row : In(1)
        It is the first of a kernel, or of a kernel's row.
    total : Out
    """

    def __init__(self, array, kernel):
        self.array = array
        self.kernel = kernel
        largest = max(
            array.max_activation(mode.activation_bits) * array.max_weight(mode.weight_bits)
            for mode in array.modes
        )
        self._row_bits = (largest * kernel).bit_length() + 1
        bits = (largest * kernel**2).bit_length() + 1
        super().__init__(
            {
                "activations": In(
                    data.ArrayLayout(number_layout(*activation_number(array)), kernel)
                ),
                "swap": In(1),
                "weight": In(number_layout(*weight_number(array))),
                "load": In(1),
                "begins": In(1),
                "begins_row": In(1),
                "total": Out(signed(bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        loaded = self._load(m)
        # The first column's sums begin with it: what is under way in a row of taps goes no further.
        flush = delay(m, self.swap, tap_latency(self.array) - 1, "flush", reset=True)
        sums: list[Value] = []
        for y in range(self.kernel):
            activation = Signal(
                tap_activation_layout(self.array), name=f"activation_{y}", reset_less=True
            )
            for name in self.activations[y].shape().members:
                m.d.sync += activation[name].eq(self.activations[y][name])
            if "tripled" in activation.shape().members:
                significand = self.activations[y].significand
                m.d.sync += activation.tripled.eq(significand + (significand << 1))
            row_sum: Value = Const(0)
            for x in reversed(range(self.kernel)):
                m.submodules[f"tap_{y}_{x}"] = tap = DepthwiseTap(self.array, self._row_bits)
                m.d.comb += [
                    tap.activation.eq(activation),
                    tap.weight.eq(loaded[y][x]),
                    tap.swap.eq(self.swap),
                    tap.sum_i.eq(row_sum),
                    # The newest tap's sum is a row's, and complete.
                    tap.flush.eq(flush if x > 0 else 0),
                ]
                row_sum = tap.sum_o
            sums.append(row_sum)

        # A tree with a register in every level.
        level = 0
        while len(sums) > 1:
            level += 1
            pairs = [sums[i : i + 2] for i in range(0, len(sums), 2)]
            sums = []
            for index, pair in enumerate(pairs):
                total = pair[0] + pair[1] if len(pair) == 2 else pair[0]
                added = Signal(total.shape(), name=f"sum_{level}_{index}", reset_less=True)
                m.d.sync += added.eq(total)
                sums.append(added)
        m.d.comb += self.total.eq(sums[0])
        return m

    def _load(self, m):
        """Return the weights loaded, tap by tap."""
        loaded = [
            [
                Signal.like(self.weight, name=f"loaded_{y}_{x}", reset_less=True)
                for x in range(self.kernel)
            ]
            for y in range(self.kernel)
        ]
        with m.If(self.load):
            for y, row in enumerate(loaded):
                for x, weight in enumerate(row):
                    if y == x == 0:
                        m.d.sync += weight.eq(self.weight)
                    elif y == 0:
                        m.d.sync += weight.eq(
                            Mux(self.begins | self.begins_row, 0, row[x - 1].as_value())
                        )
                    else:
                        with m.If(self.begins):
                            m.d.sync += weight.eq(0)
                        with m.Elif(self.begins_row):
                            m.d.sync += weight.eq(loaded[y - 1][x])
        return loaded
