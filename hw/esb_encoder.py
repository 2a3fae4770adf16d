"""From an exact rational number to the ESB code nearest to it."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.encoder import encoder_input
from dybit.hw.esb import integer_bits, is_uniform
from dybit.hw.output_format import CODE_BITS
from dybit.hw.pipeline import carry, handshake, stage_register
from dybit.hw.significant_bits import significant_bits
from dybit.hw.sticky_shift import shift_right
from dybit.hw.width import Width

__all__ = ["ESBEncoder"]


class ESBEncoder(wiring.Component):
    """Encodes a number as the nearest value of an ESB format, its width chosen with every number.

    One rounding to the nearest representable value; a tie goes to the even code; beyond the
    largest value, or above ``max_code``, the result saturates there. Under ``relu`` a negative
    number becomes 0, or on a grid without a zero its smallest positive value, as 0 itself does.
    Negative zero is never produced. Of the output format, `signed` and `exponent_limit` mean
    nothing here: ESB is signed and its fraction bits are built in.

    **Throughput and latency.** As `Encoder`: one number a cycle, ``LATENCY`` cycles,
    back-pressure stops the whole pipeline at once.

    **How.** With k fraction bits the values lie in octaves: octave 0 is ``[0, 2^(k+1))`` in steps
    of 1, octave n is ``[2^(k+n), 2^(k+n+1))`` in steps of ``2^n``. Shifted right by n, a number's
    leading one adds itself to n as exponent field, and the code is ``n 2^k`` plus what is left. On
    the grid without a zero half of a number, rounded down, is its code, but an even number lies
    midway between two. The four stages measure, locate, shift and round.

    Parameters
    ----------
    formats : iterable of dybit.quant.formats.ESB
        The formats to build, of different widths of 4 and 8 bits. What comes out for another
        ``output_format.width`` is not specified.

    Members
    -------
    i : In(stream.Signature(encoder_input(magnitude_bits)))
        Numbers and their formats.
    o : Out(stream.Signature(8))
        Codes, sign above magnitude, in the least significant bits.

    Raises
    ------
    ValueError
        If there is no format, or two of one width.
    """

    LATENCY = 4

    def __init__(self, formats):
        self.formats = sorted(formats, key=lambda fmt: fmt.bits)
        widths = [fmt.bits for fmt in self.formats]
        if not widths or len(set(widths)) < len(widths) or not set(widths) <= {4, 8}:
            raise ValueError(f"formats must be one or two, of 4 and 8 bits, not {formats!r}")
        number = encoder_input(self.magnitude_bits)
        super().__init__({"i": In(stream.Signature(number)), "o": Out(stream.Signature(CODE_BITS))})

    @property
    def magnitude_bits(self):
        """Bits of `magnitude`: those of the largest integer of any format built."""
        return max(integer_bits(fmt) for fmt in self.formats)

    def elaborate(self, platform):
        m = Module()

        number_bits = self.magnitude_bits
        code_bits = self.formats[-1].bits - 1  # without the sign
        largest_shift = max(self._largest_shift(fmt) for fmt in self.formats)

        common = {"negative": 1, "nonzero": 1, "format": 1, "limit": code_bits}
        number_members = {"magnitude": number_bits, "half": 1, "sticky": 1}
        measured = stage_register(common | number_members | {"length": range(number_bits + 1)})
        located = stage_register(
            common | number_members | {"shift": range(largest_shift + 1), "beyond": 1}
        )
        # One bit more than a code has, for what is beyond all of them.
        shifted = stage_register(common | {"code": code_bits + 1, "next_bit": 1, "more": 1})
        code = Signal(CODE_BITS, reset_less=True)

        ready = ~self.o.valid | self.o.ready
        advance = handshake(m, self.i, self.o, self.LATENCY, ready)
        m.d.comb += self.o.payload.eq(code)

        # Measure the number's significant bits, and find what the format allows.
        number = self.i.payload
        dropped = Signal()
        index = Signal()
        limit = Signal(code_bits)
        m.d.comb += [
            dropped.eq(number.negative & number.output_format.relu),
            index.eq(number.output_format.width == Width.of(self.formats[-1].bits)),
        ]
        for fmt in self._each_format(m, index):
            size = fmt.bits - 1
            max_code = number.output_format.max_code
            m.d.comb += limit.eq(max_code[:size] | max_code[size:].any().replicate(size))
        with m.If(advance):
            m.d.sync += [
                measured.negative.eq(number.negative & ~dropped),
                measured.nonzero.eq(Cat(number.magnitude, number.half, number.sticky).any()),
                measured.format.eq(index),
                measured.limit.eq(Mux(dropped, 0, limit)),
                measured.length.eq(significant_bits(m, number.magnitude)),
                measured.magnitude.eq(number.magnitude),
                measured.half.eq(number.half),
                measured.sticky.eq(number.sticky),
            ]

        # Locate the octave, and the shift that takes its step to 1.
        shift = Signal(range(largest_shift + 1))
        beyond = Signal()
        for fmt in self._each_format(m, measured.format):
            m.d.comb += beyond.eq(measured.length > integer_bits(fmt))
            if is_uniform(fmt):
                m.d.comb += shift.eq(1)
            else:
                with m.If(measured.length > fmt.k + 1):
                    m.d.comb += shift.eq(measured.length - (fmt.k + 1))
        with m.If(advance):
            m.d.sync += [
                carry(located, measured),
                located.shift.eq(shift),
                located.beyond.eq(beyond),
            ]

        # Shift, then add the leading one to the octave.
        fixed_point = Cat(located.half, located.magnitude)
        coarse, coarse_lost = shift_right(m, fixed_point, located.shift[2:], 4, name="coarse")
        fine, fine_lost = shift_right(m, coarse, located.shift[:2], 1, name="fine")
        rest = fine[1:]
        magnitude = Signal(code_bits + 1)
        for fmt in self._each_format(m, located.format):
            if is_uniform(fmt):
                m.d.comb += magnitude.eq(rest[: fmt.bits - 1])
            else:
                field = located.shift + rest[fmt.k]
                m.d.comb += magnitude.eq(Cat(rest[: fmt.k], field))
            with m.If(located.beyond):
                m.d.comb += magnitude.eq(1 << fmt.bits - 1)
        with m.If(advance):
            m.d.sync += [
                carry(shifted, located),
                shifted.code.eq(magnitude),
                shifted.next_bit.eq(fine[0]),
                shifted.more.eq(located.sticky | coarse_lost | fine_lost),
            ]

        # Round, saturate, and give the sign to what is not zero.
        up = Signal()
        down = Signal()
        rounded = Signal(code_bits + 1)
        saturated = Signal(code_bits)
        for fmt in self._each_format(m, shifted.format):
            uniform = is_uniform(fmt)
            m.d.comb += [
                up.eq(shifted.next_bit & (shifted.more | shifted.code[0]) & (not uniform)),
                # Clearing the last bit of an odd code is a step down; an even one stays.
                down.eq(~shifted.next_bit & ~shifted.more & uniform),
            ]
        above = Mux(up, shifted.code >= shifted.limit, shifted.code > shifted.limit)
        m.d.comb += [
            rounded.eq(Cat(shifted.code[0] & ~down, shifted.code[1:]) + up),
            saturated.eq(Mux(above, shifted.limit, rounded)),
        ]
        with m.If(advance):
            m.d.sync += code.eq(saturated)
            for fmt in self._each_format(m, shifted.format):
                something = shifted.nonzero if is_uniform(fmt) else saturated.any()
                with m.If(shifted.negative & something):
                    m.d.sync += code[fmt.bits - 1].eq(1)

        return m

    @staticmethod
    def _largest_shift(fmt):
        return 1 if is_uniform(fmt) else integer_bits(fmt) - (fmt.k + 1)

    def _each_format(self, m, index):
        """Yield each format built inside the case of `index` that is its own."""
        with m.Switch(index):
            for place, fmt in enumerate(self.formats):
                with m.Case(place) if place < len(self.formats) - 1 else m.Default():
                    yield fmt
