"""Small floating-point numbers without infinities and NaN."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from dybit.quant.formats.base import checked_int
from dybit.quant.formats.sign_magnitude import SignMagnitude

__all__ = ["Minifloat"]

MAX_EXPONENT_BITS = 5
MAX_BITS = 8


@dataclass(frozen=True, slots=True)
class Minifloat(SignMagnitude):
    """Signed float: sign, exponent field, mantissa; subnormals at field 0; every code a number.

    The exponent bias is ``2**(exponent_bits-1) - 1``.

    Parameters
    ----------
    exponent_bits : int
        1 to 5, so that every value is an exact integer multiple of the unit in float64.
    mantissa_bits : int
        0 or more, at most 8 bits with exponent and sign.
    """

    FAMILY: ClassVar[str] = "minifloat"
    PARAMETERS: ClassVar[tuple[str, ...]] = ("exponent_bits", "mantissa_bits")

    exponent_bits: int
    mantissa_bits: int
    bits: int = field(init=False, repr=False, default=0)
    signed: bool = field(init=False, repr=False, default=True)

    def __post_init__(self) -> None:
        exponent_bits = checked_int("exponent_bits", self.exponent_bits, 1, MAX_EXPONENT_BITS)
        most = MAX_BITS - 1 - exponent_bits
        where = f" for {exponent_bits} exponent bits"
        mantissa_bits = checked_int("mantissa_bits", self.mantissa_bits, 0, most, where)
        object.__setattr__(self, "exponent_bits", exponent_bits)
        object.__setattr__(self, "mantissa_bits", mantissa_bits)
        object.__setattr__(self, "bits", 1 + exponent_bits + mantissa_bits)

    @property
    def name(self) -> str:
        """Exponent and mantissa bits, such as ``e2m1``."""
        return f"e{self.exponent_bits}m{self.mantissa_bits}"

    @property
    def unit(self) -> float:
        """Smallest subnormal, or the smallest number where there are none."""
        bias = (1 << (self.exponent_bits - 1)) - 1
        return 2.0 ** (1 - bias - self.mantissa_bits)

    def _magnitude_integer(self, code: int) -> int:
        exponent, mantissa = divmod(code, 1 << self.mantissa_bits)
        if exponent == 0:
            return mantissa
        return ((1 << self.mantissa_bits) + mantissa) << (exponent - 1)
