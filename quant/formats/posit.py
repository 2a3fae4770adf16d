"""Posits: a run-length exponent in two's complement, tapered on both sides of one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from dybit.quant.formats.base import NumberFormat, checked_int

__all__ = ["Posit"]


@dataclass(frozen=True, slots=True)
class Posit(NumberFormat):
    """Posit of `bits` bits with `es` bits of exponent after the regime.

    A positive code is a 0, a regime (a run of ones or zeros and the bit that ends it), the
    exponent and a fraction, each cut short where the bits end. A run of r ones has k = r - 1, one
    of r zeros k = -r; the value is ``2**(k * 2**es + exponent) (1 + fraction)``. Negative codes
    are two's complements. The code 10..0, NaR, is no number: it is refused, as NaN is.

    Values are rounded to as every format's are here, to the nearest; the posit standard rounds
    the code and never to zero.

    Parameters
    ----------
    bits : int
        2 to 8.
    es : int
        Exponent bits, 0 to 2.
    """

    FAMILY: ClassVar[str] = "posit"
    PARAMETERS: ClassVar[tuple[str, ...]] = ("bits", "es")

    bits: int
    es: int
    signed: bool = field(init=False, repr=False, default=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bits", checked_int("bits", self.bits, 2, 8))
        object.__setattr__(self, "es", checked_int("es", self.es, 0, 2))

    @property
    def name(self) -> str:
        """Bits and exponent bits, such as ``posit8es1``."""
        return f"posit{self.bits}es{self.es}"

    @property
    def unit(self) -> float:
        """The smallest positive value, ``2**(-2**es * (bits - 2))``."""
        return 2.0 ** -((self.bits - 2) << self.es)

    def _code_values(self) -> Iterator[float]:
        half = 1 << (self.bits - 1)
        positive = [self._positive_value(code) for code in range(1, half)]
        yield from [0.0, *positive, math.nan, *(-value for value in reversed(positive))]

    def _positive_value(self, code: int) -> float:
        text = f"{code:0{self.bits - 1}b}"
        after = text.lstrip(text[0])
        run = len(text) - len(after)
        regime = run - 1 if text[0] == "1" else -run
        # What is cut off counts as zeros.
        rest = after[1:].ljust(self.es, "0")
        exponent, fraction = rest[: self.es], rest[self.es :]
        scale = (regime << self.es) + int(exponent or "0", 2)
        return math.ldexp(1 + int(fraction or "0", 2) / (1 << len(fraction)), scale)
