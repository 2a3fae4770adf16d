"""Mixed-precision decoder: an 8-bit word of packed codes to an operand of the array."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from dybit.hw.operand import Operand, Signedness, magnitude_integer
from dybit.hw.width import Width

__all__ = ["MPDecoder"]


class MPDecoder(wiring.Component):
    """Decodes one word a cycle: one 8-bit, two 4-bit or four 2-bit DyBit codes.

    8-bit codes become sign, significand and exponent; the limit on the exponent field is an
    input. The integer of a magnitude with ``i = min(leading ones, limit)`` is
    ``significand << i``: below the first octave the significand is the code itself, above it is
    a hidden one followed by the fraction, which the shift by ``i - 1`` left-aligns. What becomes
    of them in the second cycle, the multiplier decides: see `Operand`.

    4- and 2-bit codes stay codes, with the sign apart: a product of two is cheaper as a table of
    both codes than as arithmetic. Where lanes are recoded, a signed magnitude becomes the
    unsigned code of the same integer, so that one table serves both signednesses, or every limit.

    Latency: ``LATENCY`` cycles. Throughput: one word a cycle. No stalls.

    Parameters
    ----------
    spec : Operand
        Lanes, signedness and limits built.

    Members
    -------
    word : In(8)
        Packed codes, lane 0 in the least significant bits.
    keep : In(8 // min(widths))
        A lane whose bit is 0 gets the value 0, whatever its code.
    width : In(Width)
        Width of the lanes; must be one of those built.
    is_signed : In(1)
        The codes have a sign bit. Ignored unless the signedness is ``BOTH``.
    exponent_limit : In(4)
        Limit on the exponent field of an 8-bit code, 1 to its magnitude bits, and of signed 4-bit
        codes where they choose theirs at run time. 2-bit lanes are plain DyBit.
    operand : Out(spec.layout())
    """

    LATENCY = 2

    def __init__(self, spec):
        if not isinstance(spec, Operand):
            raise TypeError(f"spec must be an Operand, not {spec!r}")
        self.spec = spec
        super().__init__(
            {
                "word": In(8),
                "keep": In(8 // spec.widths[0]),
                "width": In(Width),
                "is_signed": In(1),
                "exponent_limit": In(4),
                "operand": Out(spec.layout()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec = self.spec

        is_signed = Signal()
        signedness = spec.signedness
        if signedness is Signedness.BOTH:
            m.d.comb += is_signed.eq(self.is_signed)
        else:
            m.d.comb += is_signed.eq(signedness is Signedness.SIGNED)

        # Cycle 0: find out what the codes are.
        found = Signal(_found_layout(spec), reset_less=True)
        width = Signal(Width, reset_less=True)
        m.d.sync += [width.eq(self.width), found.as_value().eq(0)]
        lanes = {
            bits: [
                self._decode_wide(m, is_signed)
                if bits == 8
                else self._decode_narrow(m, bits, k, is_signed)
                for k in range(8 // bits)
            ]
            for bits in spec.widths
        }
        with m.Switch(self.width):
            for bits in spec.widths:
                with m.Default() if bits == spec.widths[-1] else m.Case(Width.of(bits)):
                    for k, fields in enumerate(lanes[bits]):
                        lane = found[f"w{bits}"][k]
                        m.d.sync += [getattr(lane, name).eq(fields[name]) for name in fields]

        # Cycle 1: give an 8-bit lane the form that the multiplier takes.
        operand = Signal(self.operand.shape(), reset_less=True)
        m.d.comb += self.operand.eq(operand)
        m.d.sync += operand.as_value().eq(found.as_value())
        if 8 in spec.widths:
            with m.If((width == Width.BITS_8) if len(spec.widths) > 1 else 1):
                m.d.sync += operand.as_value().eq(self._finish_wide(m, found.w8[0]))

        return m

    def _finish_wide(self, m, lane):
        """Return the 8-bit lane of the operand."""
        if self.spec.linear:
            shifted = Signal(self.operand.w8[0].integer.shape(), name="shifted")
            m.d.comb += shifted.eq(lane.significand << lane.exponent)
            flip = lane.sign.replicate(len(shifted))
            # With the sign once more as the carry in.
            return (shifted ^ flip) + lane.sign
        tripled = Signal(len(lane.significand) + 2, name="tripled")
        m.d.comb += tripled.eq(lane.significand + (lane.significand << 1))
        return Cat(lane.sign, lane.significand, tripled, lane.exponent)

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
        spec = self.spec
        recoded = Signal(bits, name=f"recoded_{bits}_{k}")
        limits = spec.signed_limits(bits)
        with m.Switch(self.exponent_limit):
            for limit in limits:
                case = m.Default() if limit == limits[-1] else m.Case(limit)
                with case, m.Switch(code[:-1]):
                    for signed_code, lane_code in enumerate(self._recoding(bits, limit)):
                        with m.Case(signed_code):
                            m.d.comb += recoded.eq(lane_code)
        magnitude = Signal(spec.code_bits(bits), name=f"magnitude_{bits}_{k}")
        with m.If(self.keep[k]):
            m.d.comb += magnitude.eq(Mux(is_signed, recoded, code))
        return {"sign": is_signed & code[-1], "magnitude": magnitude}

    def _recoding(self, bits, limit):
        """Return, for each signed magnitude code under `limit`, the lane code of its integer."""
        spec = self.spec
        if spec.code_bits(bits) < bits:
            return range(1 << (bits - 1))
        lane_code = {integer: code for code, integer in enumerate(spec.lane_integers(bits))}
        return [lane_code[magnitude_integer(c, bits - 1, limit)] for c in range(1 << (bits - 1))]


def _found_layout(spec):
    """Return the layout between the cycles: an 8-bit lane as sign, significand and exponent."""
    fields = {f"w{bits}": spec.layout()[f"w{bits}"].shape for bits in spec.widths if bits < 8}
    if 8 in spec.widths:
        magnitude_bits = spec.signedness.magnitude_bits(8)
        lane = {"sign": 1, "significand": magnitude_bits, "exponent": bits_for(magnitude_bits)}
        fields["w8"] = data.ArrayLayout(data.StructLayout(lane), 1)
    return data.UnionLayout(fields)
