"""ESB: elastic significant bits, the number system of arXiv 2109.03513."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from dybit.quant.formats.base import checked_int
from dybit.quant.formats.sign_magnitude import SignMagnitude

__all__ = ["ESB"]

MAX_EXPONENT_BITS = 4


@dataclass(frozen=True, slots=True)
class ESB(SignMagnitude):
    """Signed number of `bits` bits, `k` of them a fraction and e = bits - 1 - k an exponent field.

    For e >= 2, field 0 holds ``j / 2**k`` and field n + 1 ``2**n (1 + j / 2**k)``. For e = 1 the
    bits below the sign are one number j, worth ``j + 1/2``: the uniform grid without a zero.

    Parameters
    ----------
    bits : int
        2 to 8.
    k : int
        Fraction bits, such that e is 1 to 4.
    """

    FAMILY: ClassVar[str] = "esb"
    PARAMETERS: ClassVar[tuple[str, ...]] = ("bits", "k")

    bits: int
    k: int
    signed: bool = field(init=False, repr=False, default=True)

    def __post_init__(self) -> None:
        bits = checked_int("bits", self.bits, 2, 8)
        low = max(0, bits - 1 - MAX_EXPONENT_BITS)
        k = checked_int("k", self.k, low, bits - 2, f" for {bits} bits")
        object.__setattr__(self, "bits", bits)
        object.__setattr__(self, "k", k)

    @property
    def exponent_bits(self) -> int:
        """Width of the exponent field, 1 to 4."""
        return self.bits - 1 - self.k

    @property
    def name(self) -> str:
        """Bits and fraction bits, such as ``esb4k1``."""
        return f"esb{self.bits}k{self.k}"

    @property
    def unit(self) -> float:
        """``2**-k``, or 1/2 on the grid without a zero."""
        return 0.5 if self.exponent_bits == 1 else 2.0**-self.k

    def _magnitude_integer(self, code: int) -> int:
        if self.exponent_bits == 1:
            return 2 * code + 1
        exponent, fraction = divmod(code, 1 << self.k)
        if exponent == 0:
            return fraction
        return ((1 << self.k) + fraction) << (exponent - 1)
