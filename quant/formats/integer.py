"""Integers: the uniform grid every other format is measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dybit.quant.formats.base import checked_bool, checked_int
from dybit.quant.formats.sign_magnitude import SignMagnitude

__all__ = ["Integer"]


@dataclass(frozen=True, slots=True)
class Integer(SignMagnitude):
    """Sign-magnitude integer, symmetric about zero, or an unsigned one.

    Parameters
    ----------
    bits : int
        2 to 8.
    signed : bool
        Values are ``-(2**(bits-1) - 1)`` to ``2**(bits-1) - 1``, or 0 to ``2**bits - 1``.
    """

    FAMILY: ClassVar[str] = "integer"
    PARAMETERS: ClassVar[tuple[str, ...]] = ("bits", "signed")

    bits: int
    signed: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "bits", checked_int("bits", self.bits, 2, 8))
        object.__setattr__(self, "signed", checked_bool("signed", self.signed))

    @property
    def name(self) -> str:
        """``int4`` or ``uint4``."""
        return f"int{self.bits}" if self.signed else f"uint{self.bits}"

    @property
    def unit(self) -> float:
        """One."""
        return 1.0

    def _magnitude_integer(self, code: int) -> int:
        return code
