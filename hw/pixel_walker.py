"""Walks the input words of a pass, a vector a cycle: im2col as a sequence of addresses."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.mode import mode_case, mode_shape
from dybit.hw.pass_generator import Pass
from dybit.hw.tile import COUNT_BITS, POSITION_BITS

__all__ = ["PixelWalker", "Vector"]


class Vector(data.StructLayout):
    """What goes with the word of a vector.

    Fields
    ------
    valid : a vector for the array
    unit_valid : a vector for the depthwise unit
    keep : for each row, a bit a lane; 0 where the lane counts as zero
    mode, signed, exponent_limit : of its codes
    swap : first vector of a pass
    address, first : accumulator, and whether it is overwritten
    part : depthwise: which C channels of the word
    walk : depthwise: the tile's shape
    """

    def __init__(self, array):
        walk = Pass(array)["walk"].shape
        super().__init__(
            {
                "valid": 1,
                "unit_valid": 1,
                "keep": data.ArrayLayout(array.max_channels, array.rows),
                "mode": mode_shape(array),
                "signed": 1,
                "exponent_limit": 4,
                "swap": 1,
                "address": range(max(2, array.accumulator_depth)),
                "first": 1,
                "part": Pass(array)["part"].shape,
                "kernel_height": walk["kernel_height"].shape,
                "kernel_width": walk["kernel_width"].shape,
                "stride_y": walk["unit_stride_y"].shape,
                "stride_x": walk["unit_stride_x"].shape,
                "width": walk["width"].shape,
            }
        )


class PixelWalker(wiring.Component):
    """Issues the vectors of pass after pass, without an idle cycle while nothing is missing.

    A pass begins once its weights are loaded; the first of a tile also once the tile's input is
    there; the first of a column tile once half the accumulators is free. From then on nothing
    holds it. A pass takes at least `revisit` cycles, since the next one adds to the same
    accumulators, and one of the other unit waits until the accumulators have seen the last.

    Latency: a vector comes out `LATENCY` cycles after its address; the memory has one of them.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig
    accelerator : dybit.quant.accelerator_config.AcceleratorConfig
    latency : dict of str to int
        Of the matrix engine.

    Members
    -------
    clear : In(1)
        Forget everything.
    i : In(stream.Signature(Pass(array)))
    loaded : In(1)
        Another tile's input is there.
    half_freed : In(1)
        Half the accumulators has been read out.
    weights_loaded, taps_loaded : In(1)
        The array, or the depthwise unit, has the weights of another pass, one cycle.
    read_address : Out
        To the activation memory; the top bit is the bank.
    vector : Out(Vector(array))
        With the word that `read_address` named `LATENCY` cycles before.
    bank_freed : Out(1)
        The bank's last word has been asked for.
    summed : Out(1)
        The array's last pass over a column tile begins, or the depthwise unit's ends.
    issues, unit_issues : Out(1)
        A vector is issued.
    waits_weights, waits_input, waits_results : Out(1)
        A pass is at hand and this keeps it from beginning.
    """

    LATENCY = 2

    def __init__(self, array, accelerator, latency):
        self.array = array
        self.accelerator = accelerator
        self.latency = latency
        super().__init__(
            {
                "clear": In(1),
                "i": In(stream.Signature(Pass(array))),
                "loaded": In(1),
                "half_freed": In(1),
                "weights_loaded": In(1),
                "taps_loaded": In(1),
                "read_address": Out(range(2 * accelerator.activation_words)),
                "vector": Out(Vector(array)),
                "bank_freed": Out(1),
                "summed": Out(1),
                "issues": Out(1),
                "unit_issues": Out(1),
                "waits_weights": Out(1),
                "waits_input": Out(1),
                "waits_results": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        half_words = self.array.accumulator_depth // 2
        offered = self.i.payload
        current = Signal.like(offered, reset_less=True)
        walk = current.walk

        active = Signal()
        ends = Signal()
        begin = Signal()
        tiles = Signal(2)
        halves = Signal(2, init=2)
        weights = Signal(2)
        taps = Signal(2)
        age = Signal(range(self.latency["revisit"] + 1), init=self.latency["revisit"])
        quiet = Signal(range(self.latency["accumulate"] + 1))
        lacks_weights = Signal()
        lacks_input = Signal()
        lacks_results = Signal()
        other_unit = Signal()
        m.d.comb += [
            lacks_weights.eq(~Mux(offered.walk.depthwise, taps, weights).any()),
            lacks_input.eq(offered.begin & ~tiles.any()),
            lacks_results.eq(offered.first & ~halves.any()),
            other_unit.eq((offered.walk.depthwise != walk.depthwise) & (active | quiet.any())),
            begin.eq(
                self.i.valid
                & ~(lacks_weights | lacks_input | lacks_results | other_unit)
                & (~active | ends)
                # The vectors of this pass so far, this one included.
                & (age >= self.latency["revisit"] - 1)
            ),
            self.i.ready.eq(begin),
            self.waits_weights.eq(self.i.valid & ~active & lacks_weights),
            self.waits_input.eq(self.i.valid & ~active & ~lacks_weights & lacks_input),
            self.waits_results.eq(
                self.i.valid & ~active & ~lacks_weights & ~lacks_input & lacks_results
            ),
        ]
        m.d.sync += [
            tiles.eq(tiles + self.loaded - (begin & offered.begin)),
            halves.eq(halves + self.half_freed - (begin & offered.first)),
            weights.eq(weights + self.weights_loaded - (begin & ~offered.walk.depthwise)),
            taps.eq(taps + self.taps_loaded - (begin & offered.walk.depthwise)),
            age.eq(Mux(begin, 0, Mux(age == self.latency["revisit"], age, age + 1))),
            quiet.eq(Mux(active, self.latency["accumulate"], Mux(quiet.any(), quiet - 1, 0))),
        ]

        bank = Signal()
        half = Signal()
        word = Signal(COUNT_BITS, reset_less=True)
        row_word = Signal(COUNT_BITS, reset_less=True)
        row = Signal(signed(POSITION_BITS), reset_less=True)
        column = Signal(signed(POSITION_BITS), reset_less=True)
        columns_left = Signal(COUNT_BITS, reset_less=True)
        rows_left = Signal(COUNT_BITS, reset_less=True)
        accumulator = Signal(range(max(2, self.array.accumulator_depth)), reset_less=True)
        starts = Signal()
        summed = Signal(self.LATENCY)

        inside = Signal()
        last_column = Signal()
        m.d.comb += [
            # Negative positions are beyond every size once their sign is a bit like others.
            inside.eq(
                (row.as_unsigned() < walk.input_height) & (column.as_unsigned() < walk.input_width)
            ),
            last_column.eq(columns_left == 1),
            ends.eq(active & last_column & (rows_left == 1)),
            self.read_address.eq(Cat(word[: len(self.read_address) - 1], bank)),
            self.bank_freed.eq(ends & current.end),
            self.summed.eq(summed[-1]),
            self.issues.eq(active & ~walk.depthwise),
            self.unit_issues.eq(active & walk.depthwise),
        ]
        m.d.sync += [
            starts.eq(0),
            summed.eq(Cat(current.last & Mux(walk.depthwise, ends, active & starts), summed)),
        ]
        with m.If(active):
            m.d.sync += [
                columns_left.eq(columns_left - 1),
                column.eq(column + walk.stride_x),
                word.eq(word + walk.step_x),
                accumulator.eq(accumulator + 1),
            ]
            with m.If(last_column):
                m.d.sync += [
                    columns_left.eq(walk.width),
                    rows_left.eq(rows_left - 1),
                    column.eq(current.column),
                    row.eq(row + walk.stride_y),
                    word.eq(row_word + walk.step_y),
                    row_word.eq(row_word + walk.step_y),
                ]
        with m.If(ends):
            m.d.sync += [
                active.eq(0),
                bank.eq(bank ^ current.end),
                half.eq(half ^ current.last),
            ]
        with m.If(begin):
            next_half = Signal()
            m.d.comb += next_half.eq(half ^ (ends & current.last))
            m.d.sync += [
                active.eq(1),
                starts.eq(1),
                current.eq(offered),
                word.eq(offered.address),
                row_word.eq(offered.address),
                row.eq(offered.row),
                column.eq(offered.column),
                columns_left.eq(offered.walk.width),
                rows_left.eq(offered.walk.height),
                accumulator.eq(Mux(next_half, half_words, 0)),
            ]

        self._send(m, current, (active, starts, inside, accumulator))
        return ResetInserter(self.clear)(m)

    def _send(self, m, current, issued):
        """Send what goes with a word along with it."""
        active, starts, inside, accumulator = issued
        walk = current.walk
        counted = Signal(self.vector.keep.shape(), reset_less=True)
        with m.Switch(walk.mode):
            for index, mode in enumerate(self.array.modes):
                with mode_case(m, self.array, index):
                    for r in range(self.array.rows):
                        for lane in range(mode.channels):
                            channel = r * mode.channels + lane
                            m.d.comb += counted[r][lane].eq(~current.tail | (channel < walk.tail))
        asked = Signal(self.vector.shape(), reset_less=True)
        valid = Signal(self.LATENCY)
        unit_valid = Signal(self.LATENCY)
        m.d.sync += [
            valid.eq(Cat(active & ~walk.depthwise, valid)),
            unit_valid.eq(Cat(active & walk.depthwise, unit_valid)),
            asked.keep.eq(Mux(inside, counted, 0)),
            asked.mode.eq(walk.mode),
            asked.signed.eq(walk.signed),
            asked.exponent_limit.eq(walk.exponent_limit),
            asked.swap.eq(starts),
            asked.address.eq(accumulator),
            asked.first.eq(current.first),
            asked.part.eq(current.part),
            asked.kernel_height.eq(walk.kernel_height),
            asked.kernel_width.eq(walk.kernel_width),
            asked.stride_y.eq(walk.unit_stride_y),
            asked.stride_x.eq(walk.unit_stride_x),
            asked.width.eq(walk.width),
        ]
        sent = Signal(self.vector.shape(), reset_less=True)
        m.d.sync += sent.eq(asked)
        m.d.comb += [
            self.vector.eq(sent),
            self.vector.valid.eq(valid[-1]),
            self.vector.unit_valid.eq(unit_valid[-1]),
        ]
