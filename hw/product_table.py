"""Product of two narrow lanes, looked up by their codes."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ProductTable"]


class ProductTable(wiring.Component):
    """The product of two lanes, a function of their codes.

    At 4 x 4 bits a table of both codes is smaller than decoding and multiplying: each bit of the
    product of two signed 4-bit magnitudes is a function of six bits.

    Combinational.

    Parameters
    ----------
    a_integers, b_integers : sequence of int
        Integer of each code; the lengths are powers of two. A negative integer makes the product
        a signed one.

    Members
    -------
    a, b : In
        Codes.
    product : Out
        ``a_integers[a] * b_integers[b]``.
    """

    def __init__(self, a_integers, b_integers):
        self.a_integers = tuple(a_integers)
        self.b_integers = tuple(b_integers)
        for name, integers in (("a", self.a_integers), ("b", self.b_integers)):
            if len(integers) < 2 or len(integers) & (len(integers) - 1):
                raise ValueError(
                    f"{name}_integers must have a power of two of entries, not {len(integers)}"
                )
        products = [a * b for a in self.a_integers for b in self.b_integers]
        super().__init__(
            {
                "a": In(range(len(self.a_integers))),
                "b": In(range(len(self.b_integers))),
                "product": Out(range(min(products), max(products) + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        a, a_integers, product = self.a, self.a_integers, self.product
        half = len(a_integers) // 2
        if half > 1 and not any(a_integers[:half]):
            # Where the top bit of a code only tells 0 from the rest, it is no part of the table.
            a, a_integers = self.a[:-1], a_integers[half:]
            product = Signal.like(self.product, name="full_product")
            m.d.comb += self.product.eq(product & self.a[-1].replicate(len(product)))
        with m.Switch(Cat(a, self.b)):
            for b, b_integer in enumerate(self.b_integers):
                for code, a_integer in enumerate(a_integers):
                    with m.Case(b * len(a_integers) + code):
                        m.d.comb += product.eq(a_integer * b_integer)
        return m
