"""Powers of two: multiplication becomes a shift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dybit.quant.formats.base import checked_bool, checked_int
from dybit.quant.formats.sign_magnitude import SignMagnitude

__all__ = ["PowerOfTwo"]

MAX_MAGNITUDE_BITS = 4


@dataclass(frozen=True, slots=True)
class PowerOfTwo(SignMagnitude):
    """Zero and powers of two: magnitude code j is 0 for j = 0, ``2**(j-1)`` otherwise.

    Parameters
    ----------
    bits : int
        2 to 5 with a sign bit, 2 to 4 without.
    signed : bool
        Whether the top bit is a sign.
    """

    FAMILY: ClassVar[str] = "power_of_two"
    PARAMETERS: ClassVar[tuple[str, ...]] = ("bits", "signed")

    bits: int
    signed: bool = True

    def __post_init__(self) -> None:
        signed = checked_bool("signed", self.signed)
        where = " for a signed power of two" if signed else " for an unsigned power of two"
        bits = checked_int("bits", self.bits, 2, MAX_MAGNITUDE_BITS + signed, where)
        object.__setattr__(self, "bits", bits)
        object.__setattr__(self, "signed", signed)

    @property
    def name(self) -> str:
        """``pot4``, or ``pot4u`` unsigned."""
        return f"pot{self.bits}" if self.signed else f"pot{self.bits}u"

    @property
    def unit(self) -> float:
        """One."""
        return 1.0

    def _magnitude_integer(self, code: int) -> int:
        return 1 << (code - 1) if code else 0
