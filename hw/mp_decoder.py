"""Mixed-precision decoder: an 8-bit word of packed codes to an operand of the array."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.operand import Signedness, magnitude_integer, operand_layout
from dybit.hw.width import Width, sorted_widths

__all__ = ["MPDecoder"]


class MPDecoder(wiring.Component):
    """Decodes one word a cycle: one 8-bit, two 4-bit or four 2-bit DyBit codes.

    8-bit codes become sign, significand and exponent; the limit on the exponent field is an
    input. The integer of a magnitude with ``i = min(leading ones, limit)`` is
    ``significand << i``: below the first octave the significand is the code itself, above it is
    a hidden one followed by the fraction, which the shift by ``i - 1`` left-aligns.

    4- and 2-bit codes stay codes, with the sign apart: a product of two is cheaper as a table of
    both codes than as arithmetic. Where the decoder takes signed and unsigned codes, a signed
    magnitude is recoded into the unsigned code of the same integer, so that one table serves.

    Latency: ``LATENCY`` cycles. Throughput: one word a cycle. No stalls.

    Parameters
    ----------
    widths : iterable of int
        Lane widths built, from 2, 4 and 8.
    signedness : Signedness
        Codes built for; with ``BOTH``, `is_signed` chooses.
    limit : int
        Exponent limit of the 4-bit lanes of this build, 1 to 4; a signed lane has at most 3.
        8-bit lanes take theirs from `exponent_limit`; 2-bit lanes are plain DyBit.

    Members
    -------
    word : In(8)
        Packed codes, lane 0 in the least significant bits.
    keep : In(8 // min(widths))
        A lane whose bit is 0 gets the value 0, whatever its code.
    width : In(Width)
        Width of the lanes; must be one of `widths`.
    is_signed : In(1)
        The codes have a sign bit. Ignored unless `signedness` is ``BOTH``.
    exponent_limit : In(4)
        Limit on the exponent field of an 8-bit code, 1 to its magnitude bits.
    operand : Out(operand_layout(widths, signedness))
    """

    LATENCY = 1

    def __init__(self, widths, signedness=Signedness.BOTH, limit=4):
        self.widths = sorted_widths(widths)
        if not isinstance(signedness, Signedness):
            raise TypeError(f"signedness must be a Signedness, not {signedness!r}")
        if limit not in range(1, 5):
            raise ValueError(f"limit must be 1 to 4, not {limit!r}")
        self.signedness = signedness
        self.limit = limit
        super().__init__(
            {
                "word": In(8),
                "keep": In(8 // self.widths[0]),
                "width": In(Width),
                "is_signed": In(1),
                "exponent_limit": In(4),
                "operand": Out(operand_layout(self.widths, signedness)),
            }
        )

    def elaborate(self, platform):
        m = Module()

        is_signed = Signal()
        if self.signedness is Signedness.BOTH:
            m.d.comb += is_signed.eq(self.is_signed)
        else:
            m.d.comb += is_signed.eq(self.signedness is Signedness.SIGNED)

        lanes = {
            bits: [
                self._decode_wide(m, is_signed)
                if bits == 8
                else self._decode_narrow(m, bits, k, is_signed)
                for k in range(8 // bits)
            ]
            for bits in self.widths
        }

        operand = Signal(self.operand.shape(), reset_less=True)
        m.d.comb += self.operand.eq(operand)
        m.d.sync += operand.as_value().eq(0)
        with m.Switch(self.width):
            for bits in self.widths:
                with m.Default() if bits == self.widths[-1] else m.Case(Width.of(bits)):
                    for k, fields in enumerate(lanes[bits]):
                        lane = operand[f"w{bits}"][k]
                        m.d.sync += [getattr(lane, name).eq(fields[name]) for name in fields]

        return m

    def _decode_wide(self, m, is_signed):
        """Return the fields of the 8-bit lane."""
        # Left-aligned, a signed magnitude is an unsigned one with a zero behind it: the same
        # leading ones, the same exponent, twice the significand.
        magnitude = Signal(8)
        m.d.comb += magnitude.eq(Mux(is_signed, self.word << 1, self.word))

        exponent = Signal(4)
        fraction = Signal(6)
        doubled = Signal(8)
        m.d.comb += doubled.eq(magnitude)
        with m.If(magnitude[7] & (self.exponent_limit > 1)):
            # Later assignments, of longer runs of ones, win.
            m.d.comb += [
                exponent.eq(1),
                fraction.eq(magnitude),
                doubled.eq(Cat(fraction, 1)),
            ]
            for ones in range(2, 9):
                with m.If(magnitude[8 - ones :].all() & (self.exponent_limit >= ones)):
                    m.d.comb += exponent.eq(ones)
                    # At the limit there is no terminating zero to shift out.
                    with m.If(self.exponent_limit == ones):
                        m.d.comb += fraction.eq(magnitude << (ones - 2))
                    with m.Else():
                        m.d.comb += fraction.eq(magnitude << (ones - 1))

        significand = Signal(8)
        with m.If(self.keep[0]):
            m.d.comb += significand.eq(Mux(is_signed, doubled[1:], doubled))
        return {
            "sign": is_signed & self.word[-1],
            "significand": significand,
            "exponent": exponent,
        }

    def _decode_narrow(self, m, bits, k, is_signed):
        """Return the fields of lane `k` of the 4- or 2-bit lanes."""
        code = self.word.word_select(k, bits)
        recoded = Signal(bits, name=f"recoded_{bits}_{k}")
        with m.Switch(code[:-1]):
            for signed_code, lane_code in enumerate(self._recoding(bits)):
                with m.Case(signed_code):
                    m.d.comb += recoded.eq(lane_code)
        magnitude = Signal(bits, name=f"magnitude_{bits}_{k}")
        with m.If(self.keep[k]):
            m.d.comb += magnitude.eq(Mux(is_signed, recoded, code))
        return {"sign": is_signed & code[-1], "magnitude": magnitude}

    def _recoding(self, bits):
        """Return, for each signed magnitude code, this build's lane code of the same integer."""
        lane_bits = self.signedness.magnitude_bits(bits)
        limit = self.limit if bits == 4 else bits
        lane_code = {magnitude_integer(c, lane_bits, limit): c for c in range(1 << lane_bits)}
        return [lane_code[magnitude_integer(c, bits - 1, limit)] for c in range(1 << (bits - 1))]
