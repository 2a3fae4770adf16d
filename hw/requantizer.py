"""From an accumulator to the code of the layer's output."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.encoder import Encoder, encoder_input
from dybit.hw.output_format import CODE_BITS, OutputFormat
from dybit.hw.pipeline import carry, handshake, stage_register
from dybit.hw.sticky_shift import shift_right

__all__ = ["BIAS_BITS", "DSP48E2_BITS", "MULTIPLIER_BITS", "SHIFT_BITS", "Requantizer"]

BIAS_BITS = 48
"""Width of a bias, and the widest sum there is: every layer keeps |acc + bias| below 2^47."""

MULTIPLIER_BITS = 16
SHIFT_BITS = 6

DSP48E2_BITS = 26
"""Widest unsigned operand of a DSP48E2: its multiplier is 27 x 18, signed."""

_PARTS = 3
"""Products of which a product may be put together."""


class Requantizer(wiring.Component):
    """Scales an accumulator and encodes it: ``(acc + bias) * M / 2^S``, rounded once.

    The scaled number stays exact up to the encoder: every bit shifted out is kept in its
    sticky bit, and what is beyond every format saturates. All of bias, multiplier M, shift S
    and output format come with each accumulator.

    **Throughput and latency.** One accumulator a cycle; a code appears ``LATENCY`` cycles after
    its accumulator was accepted. Back-pressure stops the whole pipeline, encoder included, at
    once: while a code waits for ``o.ready``, nothing is accepted.

    **How.** The stages add, take the absolute value, multiply (three stages, whose registers
    are those inside a DSP block: the low 26 bits, then the high bits added on top of what the
    low product carries up), and shift (sixteens, then fours and ones). The encoder follows.

    Parameters
    ----------
    accumulator_bits : int
        Width of the accumulator, sign included: 2 to 48.
    sum_bits : int
        Width of acc + bias, sign included: `accumulator_bits` to 48. ``|acc + bias|`` must be
        below ``2^(sum_bits - 1)``. Up to 27 bits the product takes one DSP block, above two.
    encoder : Encoder or ESBEncoder, optional
        What makes the codes; an `Encoder` of every width by default.
    factor_bits : int
        Widest unsigned operand of one of the FPGA's multipliers, at least a third of the sum.

    Members
    -------
    i : In(stream.Signature(StructLayout))
        ``accumulator`` (signed), ``bias`` (signed, 48 bits), ``multiplier`` (16 bits), ``shift``
        (6 bits) and ``output_format`` (OutputFormat).
    o : Out(stream.Signature(8))
        Codes, sign above magnitude, in the least significant bits.

    Raises
    ------
    ValueError
        If a parameter is out of its range.
    """

    LATENCY = 7 + Encoder.LATENCY

    def __init__(
        self, accumulator_bits, sum_bits=BIAS_BITS, encoder=None, factor_bits=DSP48E2_BITS
    ):
        if accumulator_bits not in range(2, BIAS_BITS + 1):
            raise ValueError(f"accumulator_bits must be 2 to {BIAS_BITS}, not {accumulator_bits!r}")
        if sum_bits not in range(accumulator_bits, BIAS_BITS + 1):
            raise ValueError(
                f"sum_bits must be accumulator_bits, {accumulator_bits}, to {BIAS_BITS}, "
                f"not {sum_bits!r}"
            )
        least = -(-(sum_bits - 1) // _PARTS)
        if factor_bits < least:
            raise ValueError(f"factor_bits must be at least {least}, not {factor_bits!r}")
        self.factor_bits = factor_bits
        self.accumulator_bits = accumulator_bits
        self.sum_bits = sum_bits
        if encoder is None:
            encoder = Encoder()
        self.encoder = encoder
        super().__init__(
            {
                "i": In(
                    stream.Signature(
                        data.StructLayout(
                            {
                                "accumulator": signed(accumulator_bits),
                                "bias": signed(BIAS_BITS),
                                "multiplier": MULTIPLIER_BITS,
                                "shift": SHIFT_BITS,
                                "output_format": OutputFormat,
                            }
                        )
                    )
                ),
                "o": Out(stream.Signature(CODE_BITS)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.encoder = encoder = self.encoder

        size_bits = self.sum_bits - 1
        # One multiplier, two, or three: then the low product is put together from two.
        first_bits = min(size_bits, self.factor_bits)
        three = size_bits > 2 * self.factor_bits
        low_bits = 2 * first_bits if three else first_bits
        high_bits = size_bits - low_bits
        product_bits = size_bits + MULTIPLIER_BITS
        # The number with its first bit after the point, and above it what the last two digits
        # of the shift can still bring down.
        result_bits = encoder.magnitude_bits + 1
        coarse_bits = result_bits + 15

        common = {"shift": SHIFT_BITS, "output_format": OutputFormat}
        summed = stage_register(
            common | {"multiplier": MULTIPLIER_BITS, "sum": signed(self.sum_bits)}
        )
        common |= {"negative": 1}
        sized = stage_register(common | {"multiplier": MULTIPLIER_BITS, "size": size_bits})
        low_done = stage_register(
            common
            | {
                "multiplier": MULTIPLIER_BITS,
                "low": first_bits + MULTIPLIER_BITS,
                "high_size": high_bits,
            }
            | ({"middle": first_bits + MULTIPLIER_BITS} if three else {})
        )
        high_done = stage_register(
            common | {"low": low_bits + MULTIPLIER_BITS, "high": high_bits + MULTIPLIER_BITS}
        )
        multiplied = stage_register(common | {"product": product_bits})
        coarse = stage_register(common | {"number": coarse_bits, "beyond": 1, "sticky": 1})
        scaled = Signal(encoder_input(encoder.magnitude_bits), reset_less=True)

        stages = self.LATENCY - encoder.LATENCY
        advance = handshake(m, self.i, encoder.i, stages, encoder.i.ready)
        m.d.comb += encoder.i.payload.eq(scaled)
        wiring.connect(m, wiring.flipped(self.o), encoder.o)

        doubled = Cat(C(0, 1), multiplied.product)
        sixteens, sixteens_lost = shift_right(m, doubled, multiplied.shift[4:], 16, name="sixteens")
        fours, fours_lost = shift_right(m, coarse.number, coarse.shift[2:4], 4, name="fours")
        ones, ones_lost = shift_right(m, fours, coarse.shift[:2], 1, name="ones")
        beyond = Signal()
        m.d.comb += beyond.eq(coarse.beyond | ones[result_bits:].any())

        with m.If(advance):
            m.d.sync += [
                carry(summed, self.i.payload),
                summed.sum.eq(self.i.payload.accumulator + self.i.payload.bias),
                carry(sized, summed),
                sized.negative.eq(summed.sum < 0),
                sized.size.eq(abs(summed.sum)),
                carry(low_done, sized),
                low_done.low.eq(sized.size[:first_bits] * sized.multiplier),
                low_done.high_size.eq(sized.size[low_bits:]),
                carry(high_done, low_done),
                high_done.high.eq(low_done.high_size * low_done.multiplier),
                carry(multiplied, high_done),
                multiplied.product.eq(
                    Cat(high_done.low[:low_bits], high_done.high + high_done.low[low_bits:])
                ),
                carry(coarse, multiplied),
                coarse.number.eq(sixteens),
                coarse.beyond.eq(sixteens[coarse_bits:].any()),
                coarse.sticky.eq(sixteens_lost),
                scaled.negative.eq(coarse.negative),
                scaled.magnitude.eq(Mux(beyond, ~0, ones[1:])),
                scaled.half.eq(ones[0]),
                scaled.sticky.eq(coarse.sticky | fours_lost | ones_lost),
                scaled.output_format.eq(coarse.output_format),
            ]
            if three:
                middle = sized.size[first_bits:low_bits] * sized.multiplier
                carried = low_done.middle + low_done.low[first_bits:]
                m.d.sync += [
                    low_done.middle.eq(middle),
                    high_done.low.eq(Cat(low_done.low[:first_bits], carried)),
                ]

        return m
