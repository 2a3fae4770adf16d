"""Multiplier of 8-bit lanes without a DSP block."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["FloatingMultiplier"]


class FloatingMultiplier(wiring.Component):
    """Multiplies as floating-point numbers are: significands, exponents added, the product aligned.

    Two bits of `b`'s significand at a time select 0, 1, 2 or 3 times `a`'s, of which the edge of
    the array sends 1 and 3. The second of a pair of these partial products is selected in the LUTs
    that add it to the first; the pairs are added in the next cycle, and the sum is shifted in the
    one after, whose register is the reader's.

    Latency: ``LATENCY`` cycles. Throughput: one product a cycle. Exact.

    Parameters
    ----------
    a_bits, b_bits : int
        Widths of the significands.
    a_exponent_bits, b_exponent_bits : int
        Widths of the exponents, 0 for integers.
    max_exponent : int
        Largest sum of the exponents.
    largest : int
        Largest product.

    Members
    -------
    a : In
        `significand`, `tripled` (three times the significand) and `exponent`.
    b : In
        `significand` and `exponent`.
    product : Out
        ``a.significand * b.significand << (a.exponent + b.exponent)``.
    """

    LATENCY = 2

    def __init__(self, a_bits, b_bits, a_exponent_bits, b_exponent_bits, max_exponent, largest):
        self.b_bits, self.max_exponent = b_bits, max_exponent
        a_layout = data.StructLayout(
            {"significand": a_bits, "tripled": a_bits + 2, "exponent": a_exponent_bits}
        )
        b_layout = data.StructLayout({"significand": b_bits, "exponent": b_exponent_bits})
        super().__init__({"a": In(a_layout), "b": In(b_layout), "product": Out(range(largest + 1))})

    def elaborate(self, platform):
        m = Module()

        # Cycle 0: partial products in pairs, 16 times apart, and the exponents.
        pairs = []
        for position in range(0, self.b_bits, 4):
            low = self._partial_product(m, position)
            high = self._partial_product(m, position + 2)
            total = low + (high << 2)
            pair = Signal.like(total, name=f"pair_{position}", reset_less=True)
            m.d.sync += pair.eq(total)
            pairs.append(pair << position)
        exponent = Signal(range(max(1, self.max_exponent) + 1), reset_less=True)
        m.d.sync += exponent.eq(self.a.exponent + self.b.exponent)

        # Cycle 1: their sum.
        total = sum(pairs[1:], pairs[0])
        bits = len(self.a.significand) + self.b_bits
        significand = Signal(bits, name="significand", reset_less=True)
        shift = Signal.like(exponent, name="shift", reset_less=True)
        m.d.sync += [significand.eq(total), shift.eq(exponent)]

        # Cycle 2: shift, by two bits of the exponent in a level of LUTs.
        shifted = significand
        for bit in range(len(shift)):
            width = min(len(self.product), len(shifted) + (1 << bit))
            last, shifted = shifted, Signal(width, name=f"shifted_{bit}")
            m.d.comb += shifted.eq(Mux(shift[bit], last << (1 << bit), last))
        m.d.comb += self.product.eq(shifted)
        return m

    def _partial_product(self, m, position):
        """Return 0 to 3 times `a`, as bits `position` and up of `b` say."""
        a = self.a
        digit = self.b.significand[position : position + 2]
        product = Signal(len(a.tripled), name=f"partial_{position}")
        multiples = (Const(0), a.significand, a.significand << 1, a.tripled)
        with m.Switch(digit):
            for value, multiple in enumerate(multiples[: 1 << len(digit)]):
                with m.Case(value):
                    m.d.comb += product.eq(multiple)
        return product
