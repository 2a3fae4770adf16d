"""The multiplier behind its decoders, so that its vectors can be written as codes."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.mantissa_multiplier import MantissaMultiplier
from dybit.hw.mode import mode_case, mode_shape
from dybit.hw.mp_decoder import MPDecoder
from dybit.hw.operand import Signedness
from dybit.hw.width import Width


class DecodedMultiplier(wiring.Component):
    """One activation word and the weight bytes of an element to the element's sums.

    Members
    -------
    mode, word, keep, is_signed, activation_limit : In
        Activations, as `MPDecoder` takes them.
    weights, weight_limit : In
        Weight bytes, byte k for activation lane k.
    sums : Out
        See `MantissaMultiplier`.
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
        return MPDecoder.LATENCY + self._multiplier.latency

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
        m.submodules.activation_decoder = decoder = MPDecoder(
            {mode.activation_bits for mode in self.array.modes},
            Signedness(self.array.activations),
            self.array.activation_exponent_limit,
        )
        m.d.comb += [
            decoder.word.eq(self.word),
            decoder.keep.eq(self.keep),
            decoder.width.eq(activation_width),
            decoder.is_signed.eq(self.is_signed),
            decoder.exponent_limit.eq(self.activation_limit),
            multiplier.activation.eq(decoder.operand),
            self.sums.eq(multiplier.sums),
        ]
        mode = Signal.like(self.mode)
        m.d.sync += mode.eq(self.mode)
        m.d.comb += multiplier.mode.eq(mode)
        for k in range(self.array.word_bytes):
            decoder = MPDecoder(
                {mode.weight_bits for mode in self.array.modes if mode.channels > k},
                Signedness.SIGNED,
                self.array.weight_exponent_limit,
            )
            m.submodules[f"weight_decoder_{k}"] = decoder
            m.d.comb += [
                decoder.word.eq(self.weights.word_select(k, 8)),
                decoder.keep.eq(~0),
                decoder.width.eq(weight_width),
                decoder.exponent_limit.eq(self.weight_limit),
                getattr(multiplier, f"weight_{k}").eq(decoder.operand),
            ]
        return m
