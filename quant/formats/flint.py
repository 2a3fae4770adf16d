"""Flint: the values of DyBit under the codes of ANT (MICRO 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dybit.quant.formats.base import checked_bool, checked_int
from dybit.quant.formats.sign_magnitude import SignMagnitude

__all__ = ["Flint"]


@dataclass(frozen=True, slots=True)
class Flint(SignMagnitude):
    """Float-int number of `bits` bits, whose first one below the top bit ends the exponent.

    A magnitude of N bits with the top bit 0 is worth ``c / 2**(N-1)``, c being the code. Below a
    top bit of 1 follow i - 1 zeros, a one and m = N - i - 1 bits f, worth
    ``2**(i-1) (1 + f / 2**m)``; only zeros are worth ``2**(N-1)``. Codes do not grow with their
    values.

    Parameters
    ----------
    bits : int
        2 to 8.
    signed : bool
        With a sign bit N is ``bits - 1``, without one ``bits``.
    """

    FAMILY: ClassVar[str] = "flint"
    PARAMETERS: ClassVar[tuple[str, ...]] = ("bits", "signed")

    bits: int
    signed: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "bits", checked_int("bits", self.bits, 2, 8))
        object.__setattr__(self, "signed", checked_bool("signed", self.signed))

    @property
    def name(self) -> str:
        """``flint4``, or ``flint4u`` unsigned."""
        return f"flint{self.bits}" if self.signed else f"flint{self.bits}u"

    @property
    def unit(self) -> float:
        """``2**(1-N)``, the step next to zero."""
        return 2.0 ** (1 - self.magnitude_bits)

    def _magnitude_integer(self, code: int) -> int:
        top = 1 << (self.magnitude_bits - 1)
        if code < top:
            return code
        # What follows the top bit is the significand 2**m + f, or nothing at all.
        significand = code - top
        zeros = self.magnitude_bits - 1 - significand.bit_length()
        return max(1, significand) << max(0, 2 * zeros + (significand > 0))
