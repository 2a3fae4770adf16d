"""From an exact rational number to the DyBit code nearest to it."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.output_format import CODE_BITS, OutputFormat
from dybit.hw.pipeline import carry, handshake, stage_register
from dybit.hw.significant_bits import significant_bits
from dybit.hw.sticky_shift import shift_right
from dybit.hw.width import Width, sorted_widths

__all__ = ["Encoder", "encoder_input"]


def encoder_input(magnitude_bits):
    """Return the layout of a number in units of the output format's integers, and the format.

    Fields
    ------
    negative : 1
        Whether the number is below 0. Meaningless, and harmless, when it is 0.
    magnitude : magnitude_bits
        Integer part of the absolute value; anything larger is given as all ones.
    half : 1
        First bit after the point.
    sticky : 1
        Whether any bit after that one is set.
    output_format : OutputFormat
    """
    return data.StructLayout(
        {
            "negative": 1,
            "magnitude": magnitude_bits,
            "half": 1,
            "sticky": 1,
            "output_format": OutputFormat,
        }
    )


class Encoder(wiring.Component):
    """Encodes a number as the nearest value of a DyBit format chosen with every number.

    One rounding to the nearest representable value; a tie goes to the even code; beyond the
    largest value, or above ``max_code``, the result saturates there. A negative number becomes
    0 in an unsigned format or under ``relu``. Negative zero is never produced.

    **Throughput and latency.** One number a cycle; a code appears ``LATENCY`` cycles after its
    number was accepted. Back-pressure stops the whole pipeline at once: while a code waits for
    ``o.ready``, nothing is accepted.

    **How.** Let N be the magnitude bits and r the exponent limit. The values lie in octaves:
    octave 0 is ``[0, 2^(N-1))`` in steps of 1, octave i is ``[2^(N-2+i), 2^(N-1+i))`` in steps
    of ``2^(2i-1)``, or of ``2^(2r-2)`` for the last, i = r. The number's significant bits thus
    give the octave, the octave gives the shift that leaves one code per integer, and the code
    is i leading ones, a zero unless i = r, and the shifted number less its own leading one.
    As codes are monotone in value, a carry out of the rounding runs into the next octave by
    itself. The four stages measure, locate, shift and round.

    Parameters
    ----------
    widths : sequence of int
        Code widths to build, any of 2, 4 and 8. Logic is built for these only; what comes out
        for another ``output_format.width`` is not specified.

    Members
    -------
    i : In(stream.Signature(encoder_input(magnitude_bits)))
        Numbers and their formats.
    o : Out(stream.Signature(8))
        Codes, sign above magnitude, in the least significant bits.

    Raises
    ------
    ValueError
        If `widths` is empty or names another width.
    """

    LATENCY = 4

    def __init__(self, widths=(2, 4, 8)):
        self.widths = sorted_widths(widths)
        number = encoder_input(self.magnitude_bits)
        super().__init__({"i": In(stream.Signature(number)), "o": Out(stream.Signature(CODE_BITS))})

    @property
    def magnitude_bits(self):
        """Bits of `magnitude`: those of the largest integer, 2^(2N-2), and of its binade."""
        return 2 * self.widths[-1] - 1

    def elaborate(self, platform):
        m = Module()

        code_bits = self.widths[-1]
        number_bits = self.magnitude_bits
        magnitude_sizes = sorted({width - signed for width in self.widths for signed in (0, 1)})

        common = {"negative": 1, "last_bit": range(code_bits), "limit": code_bits}
        number_members = {"magnitude": number_bits, "half": 1, "sticky": 1}
        measured = stage_register(
            common | number_members | {"exponent_limit": 4, "length": range(number_bits + 1)}
        )
        located = stage_register(
            common
            | number_members
            | {"ones": range(code_bits + 1), "terminated": 1, "shift": range(number_bits)}
        )
        shifted = stage_register(common | {"code": code_bits, "next_bit": 1, "more": 1})
        code = Signal(CODE_BITS, reset_less=True)

        ready = ~self.o.valid | self.o.ready
        advance = handshake(m, self.i, self.o, self.LATENCY, ready)
        m.d.comb += self.o.payload.eq(code)

        # Measure the number's significant bits, and find what the format allows.
        number = self.i.payload
        dropped = Signal()
        last_bit = Signal(range(code_bits))  # N - 1
        limit = Signal(code_bits)
        m.d.comb += dropped.eq(
            number.negative & (~number.output_format.signed | number.output_format.relu)
        )
        with m.Switch(number.output_format.width):
            for width in self.widths:
                with m.Case(Width.of(width)) if width < code_bits else m.Default():
                    m.d.comb += last_bit.eq(width - 1 - number.output_format.signed)
        with m.Switch(last_bit):
            for size in magnitude_sizes:
                with m.Case(size - 1) if size < code_bits else m.Default():
                    largest = (1 << size) - 1
                    m.d.comb += limit.eq(
                        Mux(
                            number.output_format.max_code[size:].any(),
                            largest,
                            number.output_format.max_code[:size],
                        )
                    )
        with m.If(advance):
            m.d.sync += [
                measured.negative.eq(number.negative),
                measured.last_bit.eq(last_bit),
                measured.limit.eq(Mux(dropped, 0, limit)),
                measured.exponent_limit.eq(number.output_format.exponent_limit),
                measured.length.eq(significant_bits(m, number.magnitude)),
                measured.magnitude.eq(number.magnitude),
                measured.half.eq(number.half),
                measured.sticky.eq(number.sticky),
            ]

        # Locate the octave: its leading ones, and the shift that takes its step to 1.
        octave = Signal(range(-code_bits, number_bits + 1))
        ones = Signal(range(code_bits + 1))
        terminated = Signal()
        m.d.comb += [
            octave.eq(measured.length - measured.last_bit),
            terminated.eq(octave < measured.exponent_limit),
        ]
        with m.If(octave > 0):
            m.d.comb += ones.eq(Mux(terminated, octave, measured.exponent_limit))
        with m.If(advance):
            m.d.sync += [
                carry(located, measured),
                # Beyond the last octave, as many ones as there can be saturate the code.
                located.ones.eq(Mux(octave > measured.exponent_limit, code_bits, ones)),
                located.terminated.eq(terminated),
                located.shift.eq(Mux(octave > 0, Cat(terminated, (ones - 1)[:3]), 0)),
            ]

        # Shift, then put the leading ones above what is left.
        fixed_point = Cat(located.half, located.magnitude)
        coarse, coarse_lost = shift_right(m, fixed_point, located.shift[2:], 4, name="coarse")
        fine, fine_lost = shift_right(m, coarse, located.shift[:2], 1, name="fine")
        prefix = Signal(code_bits)
        with m.Switch(located.last_bit):
            for size in magnitude_sizes:
                with m.Case(size - 1) if size < code_bits else m.Default():
                    m.d.comb += prefix.eq(Cat(located.ones >= size - bit for bit in range(size)))
        # The bit below the prefix is the number's leading one, where the code has a zero.
        cleared = prefix[1:] & located.terminated.replicate(code_bits - 1)
        with m.If(advance):
            m.d.sync += [
                carry(shifted, located),
                shifted.code.eq(prefix | (fine[1:] & ~cleared)),
                shifted.next_bit.eq(fine[0]),
                shifted.more.eq(located.sticky | coarse_lost | fine_lost),
            ]

        # Round, saturate, and give the sign to what is not zero.
        up = Signal()
        saturated = Signal(code_bits)
        m.d.comb += [
            up.eq(shifted.next_bit & (shifted.more | shifted.code[0])),
            saturated.eq(
                Mux(
                    Mux(up, shifted.code >= shifted.limit, shifted.code > shifted.limit),
                    shifted.limit,
                    shifted.code + up,
                )
            ),
        ]
        with m.If(advance):
            m.d.sync += code.eq(saturated)
            with m.If(shifted.negative & saturated.any()), m.Switch(shifted.last_bit):
                for width in self.widths:
                    with m.Case(width - 2) if width < code_bits else m.Default():
                        m.d.sync += code[width - 1].eq(1)

        return m
