"""The multiplier between decoders and an adder, so that its vectors can be written as codes."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.decoders import decoder_of
from dybit.hw.edge_decoder import EdgeDecoder
from dybit.hw.lanes import add_lanes, lane_starts
from dybit.hw.mantissa_multiplier import MantissaMultiplier
from dybit.hw.mode import mode_case, mode_shape
from dybit.hw.operand import activation_operand, weight_operand
from dybit.hw.width import Width


class DecodedMultiplier(wiring.Component):
    """One activation word and the weight bytes of an element to the element's sums.

    Members
    -------
    mode, word, keep, is_signed, activation_limit : In
        Activations, as `EdgeDecoder` takes them.
    weights, weight_limit : In
        Weight bytes, byte k for activation lane k.
    sums : Out
        The mode's lanes, exact.
    """

    def __init__(self, array):
        self.array = array
        self._multiplier = MantissaMultiplier(array)
        super().__init__(
            {
                "mode": In(mode_shape(array)),
                "word": In(8),
                "keep": In(array.max_channels),
                "is_signed": In(1),
                "activation_limit": In(4),
                "weights": In(8 * array.word_bytes),
                "weight_limit": In(4),
                "sums": Out(array.partial_sum_bits),
            }
        )

    @property
    def latency(self):
        return EdgeDecoder.LATENCY + self._multiplier.latency

    def _add(self, m):
        """Add the lanes to what makes up for their offsets."""
        multiplier, bits = self._multiplier, len(self.sums)
        start = Signal(bits)
        with m.Switch(multiplier.sums_mode):
            for index, mode in enumerate(self.array.modes):
                with mode_case(m, self.array, index):
                    lane_bits = bits // mode.lanes
                    lanes = [Const(-multiplier.offset(mode), lane_bits)] * mode.lanes
                    m.d.comb += start.eq(Cat(lanes))
        starts = lane_starts(self.array, bits, multiplier.sums_mode)
        total = add_lanes(m, start, multiplier.sums, starts, multiplier.carries)
        m.d.comb += self.sums.eq(total)

    def elaborate(self, platform):
        m = Module()
        m.submodules.multiplier = multiplier = self._multiplier
        activation_width, weight_width = Signal(Width), Signal(Width)
        with m.Switch(self.mode):
            for index, mode in enumerate(self.array.modes):
                with mode_case(m, self.array, index):
                    m.d.comb += [
                        activation_width.eq(Width.of(mode.activation_bits)),
                        weight_width.eq(Width.of(mode.weight_bits)),
                    ]
        m.submodules.activation_decoder = decoder = decoder_of(activation_operand(self.array))
        m.d.comb += [
            decoder.word.eq(self.word),
            decoder.keep.eq(self.keep),
            decoder.width.eq(activation_width),
            decoder.is_signed.eq(self.is_signed),
            decoder.exponent_limit.eq(self.activation_limit),
            multiplier.activation.eq(decoder.operand),
        ]
        last = self.mode
        for stage in range(EdgeDecoder.LATENCY):
            delayed = Signal.like(last, name=f"chosen_{stage}")
            m.d.sync += delayed.eq(last)
            last = delayed
        m.d.comb += multiplier.mode.eq(last)
        self._add(m)
        for k in range(self.array.word_bytes):
            decoder = decoder_of(weight_operand(self.array, k))
            m.submodules[f"weight_decoder_{k}"] = decoder
            m.d.comb += [
                decoder.word.eq(self.weights.word_select(k, 8)),
                decoder.keep.eq(~0),
                decoder.width.eq(weight_width),
                decoder.exponent_limit.eq(self.weight_limit),
                getattr(multiplier, f"weight_{k}").eq(decoder.operand),
            ]
        return m
