"""Depthwise convolution: every channel with a kernel of its own, all taps at once."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.depthwise_channel import DepthwiseChannel, channel_latency
from dybit.hw.depthwise_tap import activation_number, weight_number
from dybit.hw.lanes import extend_lanes
from dybit.hw.line_buffer import LineBuffer
from dybit.hw.matrix_engine import accumulator_tag
from dybit.hw.mode import mode_case, mode_width
from dybit.hw.number_decoder import NumberDecoder, number_layout
from dybit.hw.pipeline import delay
from dybit.hw.pixel_walker import Vector
from dybit.hw.systolic_array import PartialSumsSignature
from dybit.hw.weight_loader import WeightRow
from dybit.hw.width import Width
from dybit.hw.window_walk import WindowWalk

__all__ = ["DepthwiseUnit"]


class DepthwiseUnit(wiring.Component):
    """Convolves C channels at a time, each with its own kernel.

    A pass brings one vector for every pixel that the windows of a group of C channels cover,
    padding included, row by row and a cycle each. Whatever the stride, each window is summed in
    one cycle when its last pixel is there; the sums leave in the order of the output pixels, each
    in lane 0 of a column.

    The taps of the next group load while the present one computes. They may begin in the cycle
    of the `swap` of the group before and must be complete in the cycle before their own.
    `weights.ready` is 0 while a complete group waits for its swap.

    Latency: `latency` cycles from the last vector of a window to its sums. Throughput: one vector
    a cycle; the mode may change at any swap, without an idle cycle. No stalls.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig
        Has no more columns than rows.
    accelerator : dybit.quant.accelerator_config.AcceleratorConfig
        The largest kernel, whose sums fit the lanes of `array`, and the longest row.

    Members
    -------
    clear : In(1)
        Forget what is on its way, and the taps loaded.
    word : In
        Codes of R rows.
    vector : In(Vector(array))
        What goes with them. Those with `unit_valid` are the unit's; they follow each other within
        a pass. Rows have two vectors or more, or else the taps are one row.
    weights : In(stream.Signature(WeightRow(array, accelerator)))
        One row a tap, ``word[c][0]`` its code in column c, row by row of the kernel.
    taps_loaded : Out(1)
        The taps of a group are complete, one cycle.
    partial_sums : Out(PartialSumsSignature)
        Sums of a window; the tag is its accumulator.
    """

    def __init__(self, array, accelerator):
        self.array = array
        self.accelerator = accelerator
        super().__init__(
            {
                "clear": In(1),
                "word": In(8 * array.rows),
                "vector": In(Vector(array)),
                "weights": In(stream.Signature(WeightRow(array, accelerator))),
                "taps_loaded": Out(1),
                "partial_sums": Out(PartialSumsSignature(array, accumulator_tag(array))),
            }
        )

    @property
    def latency(self):
        """Cycles from the last vector of a window to its sums."""
        kernel = self.accelerator.depthwise_kernel
        return self._decoded + LineBuffer.LATENCY + channel_latency(self.array, kernel)

    @property
    def _decoded(self):
        """Cycles from a vector to its numbers."""
        return WindowWalk.LATENCY + NumberDecoder.LATENCY

    def elaborate(self, platform):
        m = Module()
        columns = self.array.columns
        kernel, width = self.accelerator.depthwise_kernel, self.accelerator.depthwise_width
        m.submodules.walk = walk = WindowWalk(self.array, width)
        m.d.comb += [walk.clear.eq(self.clear), walk.vector.eq(self.vector)]

        number = number_layout(*activation_number(self.array))
        m.submodules.line_buffer = lines = LineBuffer(columns * number.size, kernel, width)
        m.d.comb += [
            lines.valid.eq(delay(m, walk.valid, NumberDecoder.LATENCY, "valid", reset=True)),
            lines.column.eq(delay(m, walk.column, NumberDecoder.LATENCY, "column")),
            lines.word.eq(self._numbers(m)),
        ]
        channels = [DepthwiseChannel(self.array, kernel) for _ in range(columns)]
        for c, channel in enumerate(channels):
            m.submodules[f"channel_{c}"] = channel
            for y in range(kernel):
                pixel = lines.words[y].word_select(c, number.size)
                m.d.comb += channel.activations[y].eq(pixel)

        self._load(m, channels)
        self._send(m, walk, channels)
        return m

    def _numbers(self, m):
        """Return the numbers of the C channels of `part`, `_decoded` cycles later."""
        array, vector = self.array, self.vector
        width = mode_width(m, array, vector.mode, "activation")
        codes = Signal(data.ArrayLayout(8, array.columns), reset_less=True)
        keep = Signal(array.columns, reset_less=True)
        with m.Switch(width):
            for bits in array.activation_widths:
                channels = 8 // bits
                group = self.word.word_select(vector.part, array.columns * bits)
                kept = Cat(vector.keep[r][:channels] for r in range(array.rows))
                with m.Default() if bits == array.activation_widths[-1] else m.Case(Width.of(bits)):
                    m.d.sync += keep.eq(kept.word_select(vector.part, array.columns))
                    for c in range(array.columns):
                        m.d.sync += codes[c].eq(group.word_select(c, bits))

        given = {}
        for name, value in (
            ("width", width),
            ("is_signed", vector.signed),
            ("exponent_limit", vector.exponent_limit),
        ):
            given[name] = delay(m, value, WindowWalk.LATENCY, name)
        return Cat(
            self._decoder(m, f"activation_{c}", activation_number, codes[c], keep[c], given).number
            for c in range(array.columns)
        )

    def _decoder(self, m, name, number_of, code, keep, given):
        """Return a decoder of `code`, told what `given` says."""
        m.submodules[f"{name}_decoder"] = decoder = NumberDecoder(*number_of(self.array))
        m.d.comb += [decoder.code.eq(code), decoder.keep.eq(keep)]
        m.d.comb += [getattr(decoder, port).eq(value) for port, value in given.items()]
        return decoder

    def _load(self, m, channels):
        """Take weights in; they reach the taps when a swap of the same cycle would."""
        row, vector = self.weights.payload, self.vector
        swap, transfer = Signal(), Signal()
        complete, begins = Signal(), Signal(init=1)
        begins_row = Signal(reset_less=True)
        m.d.comb += [
            swap.eq(vector.unit_valid & vector.swap),
            self.weights.ready.eq(~complete | swap),
            transfer.eq(self.weights.valid & self.weights.ready),
            self.taps_loaded.eq(transfer & row.last),
        ]
        with m.If(swap | self.taps_loaded):
            m.d.sync += complete.eq(self.taps_loaded)
        with m.If(transfer):
            m.d.sync += [begins.eq(row.last), begins_row.eq(row.ends_row)]
        with m.If(self.clear):
            m.d.sync += [complete.eq(0), begins.eq(1)]

        # As long as a swap takes: registers before and behind the decoder fill up the time.
        cycles = self._decoded + LineBuffer.LATENCY
        loads = delay(m, transfer, cycles, "load", reset=True)
        begins_now = delay(m, begins, cycles, "begins")
        begins_row_now = delay(m, begins_row, cycles, "begins_row")
        swaps = delay(m, swap, cycles, "swap", reset=True)

        width = mode_width(m, self.array, row.mode, "weight")
        given = {"width": delay(m, width, 1, "weight_width"), "is_signed": Const(1)}
        given["exponent_limit"] = delay(m, row.exponent_limit, 1, "weight_limit")
        for c, channel in enumerate(channels):
            code = delay(m, row.word[c][0], 1, f"weight_code_{c}")
            decoder = self._decoder(m, f"weight_{c}", weight_number, code, Const(1), given)
            behind = cycles - 1 - NumberDecoder.LATENCY
            m.d.comb += [
                channel.weight.eq(delay(m, decoder.number, behind, f"weight_{c}")),
                channel.load.eq(loads),
                channel.begins.eq(begins_now),
                channel.begins_row.eq(begins_row_now),
                channel.swap.eq(swaps),
            ]

    def _send(self, m, walk, channels):
        """Send the sums of complete windows, and what goes with them."""
        array, sent = self.array, self.partial_sums
        cycles = self.latency - WindowWalk.LATENCY
        complete = Signal(cycles)
        m.d.sync += complete.eq(Cat(walk.complete, complete))
        with m.If(self.clear):
            m.d.sync += complete.eq(0)
        m.d.comb += [
            sent.valid.eq(complete[-1]),
            sent.mode.eq(delay(m, self.vector.mode, self.latency, "mode")),
            sent.tag.address.eq(delay(m, walk.address, cycles, "address")),
            sent.tag.first.eq(1),
        ]
        with m.Switch(sent.mode):
            for index, mode in enumerate(array.modes):
                lane_bits = array.partial_sum_lane_bits(mode)
                with mode_case(m, array, index):
                    for c, channel in enumerate(channels):
                        total = channel.total
                        lane = extend_lanes(total, 1, len(total), lane_bits)
                        m.d.comb += sent.sums[c].eq(lane)
