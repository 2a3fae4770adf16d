"""Mixed-precision decoder: an 8-bit word of packed codes to an operand of the array."""

from amaranth import *

from dybit.hw.edge_decoder import EdgeDecoder
from dybit.hw.operand import Operand, Signedness, magnitude_integer

__all__ = ["MPDecoder"]


class MPDecoder(EdgeDecoder):
    """Decodes one word a cycle: one 8-bit, two 4-bit or four 2-bit DyBit codes.

    8-bit codes become sign, significand and exponent; the limit on the exponent field is an
    input. The integer of a magnitude with ``i = min(leading ones, limit)`` is
    ``significand << i``: below the first octave the significand is the code itself, above it is
    a hidden one followed by the fraction, which the shift by ``i - 1`` left-aligns.

    4- and 2-bit codes stay codes, with the sign apart: a product of two is cheaper as a table of
    both codes than as arithmetic. Where both signednesses meet, a signed magnitude becomes the
    unsigned code of the same integer, and where limits do, all become odd part and exponent, so
    that one table serves all.

    Latency and throughput: see `EdgeDecoder`.

    Parameters
    ----------
    spec : Operand
        Lanes, signedness and limits built.

    Members
    -------
    word, keep, width, operand : In, Out
        See `EdgeDecoder`.
    is_signed : In(1)
        The codes have a sign bit. Ignored unless the signedness is ``BOTH``.
    exponent_limit : In(4)
        Limit on the exponent field of an 8-bit code, 1 to its magnitude bits, and of signed 4-bit
        codes where they choose theirs at run time. 2-bit lanes are plain DyBit.
    """

    def __init__(self, spec):
        if not isinstance(spec, Operand):
            raise TypeError(f"spec must be an Operand, not {spec!r}")
        super().__init__(spec)

    @property
    def _is_signed(self):
        """Whether the codes have a sign bit."""
        signedness = self.spec.signedness
        if signedness is Signedness.BOTH:
            return self.is_signed
        return Const(signedness is Signedness.SIGNED, 1)

    def decode_wide(self, m):
        """Return the fields of the 8-bit lane."""
        is_signed = self._is_signed
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

    def decode_narrow(self, m, bits, k):
        """Return the fields of lane `k` of the 4- or 2-bit lanes."""
        code = self.word.word_select(k, bits)
        is_signed, spec = self._is_signed, self.spec
        lane_bits = spec.code_bits(bits)
        signed_code = Signal(lane_bits, name=f"signed_code_{bits}_{k}")
        limits = spec.signed_limits(bits)
        if spec.signedness is not Signedness.UNSIGNED:
            with m.Switch(self.exponent_limit):
                for limit in limits:
                    with m.Default() if limit == limits[-1] else m.Case(limit):
                        self._recode(m, signed_code, code[:-1], bits - 1, limit)
        unsigned_code = Signal(lane_bits, name=f"unsigned_code_{bits}_{k}")
        if spec.signedness is not Signedness.SIGNED:
            self._recode(m, unsigned_code, code, bits, 2 if bits == 2 else spec.limit)
        magnitude = Signal(lane_bits, name=f"magnitude_{bits}_{k}")
        with m.If(self.keep[k]):
            m.d.comb += magnitude.eq(Mux(is_signed, signed_code, unsigned_code))
        return {"sign": is_signed & code[-1], "magnitude": magnitude}

    def _recode(self, m, lane_code, code, magnitude_bits, limit):
        """Assign the lane code whose integer is that of a magnitude code under `limit`."""
        width = 4 if magnitude_bits > 2 else 2
        integers = self.spec.lane_integers(width)
        with m.Switch(code):
            for value in range(1 << magnitude_bits):
                with m.Case(value):
                    integer = magnitude_integer(value, magnitude_bits, limit)
                    m.d.comb += lane_code.eq(integers.index(integer))
