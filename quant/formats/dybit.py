"""DyBit: a unary exponent field that grows with the magnitude, and a limit on its length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dybit.quant.formats.base import checked_bool, checked_int
from dybit.quant.formats.sign_magnitude import SignMagnitude

__all__ = ["DyBit"]


@dataclass(frozen=True, slots=True)
class DyBit(SignMagnitude):
    """DyBit number of `bits` bits.

    A magnitude of N bits starts with i ones and a terminating zero, where m = N - i - 1 bits f are
    left: it is worth ``c / 2**(N-1)`` for i = 0 (c the whole code) and ``2**(i-1) (1 + f / 2**m)``
    otherwise. At i = `max_exponent_bits` no zero is spent, so m = N - i.

    Parameters
    ----------
    bits : int
        2 to 8.
    signed : bool
        With a sign bit N is ``bits - 1``, without one ``bits``.
    max_exponent_bits : int, optional
        Longest exponent field, 1 to N. N (the default) is plain DyBit with the widest range, 1 the
        uniform grid.
    """

    FAMILY: ClassVar[str] = "dybit"
    PARAMETERS: ClassVar[tuple[str, ...]] = ("bits", "signed", "max_exponent_bits")

    bits: int
    signed: bool = True
    max_exponent_bits: int | None = None

    def __post_init__(self) -> None:
        bits = checked_int("bits", self.bits, 2, 8)
        signed = checked_bool("signed", self.signed)
        kind = "signed" if signed else "unsigned"
        limit = bits - signed
        if self.max_exponent_bits is not None:
            where = f" for {bits} bits {kind}"
            limit = checked_int("max_exponent_bits", self.max_exponent_bits, 1, limit, where)
        # One spelling of the default, so that equal formats compare equal.
        for field, value in zip(self.PARAMETERS, (bits, signed, limit), strict=True):
            object.__setattr__(self, field, value)

    @property
    def exponent_limit(self) -> int:
        """Longest exponent field, `max_exponent_bits` with its default filled in."""
        return self.max_exponent_bits or self.magnitude_bits

    @property
    def name(self) -> str:
        """``dybit4``, with ``u`` for unsigned and ``r2`` for a limit below the default."""
        suffix = "" if self.signed else "u"
        if self.exponent_limit < self.magnitude_bits:
            suffix += f"r{self.exponent_limit}"
        return f"dybit{self.bits}{suffix}"

    @property
    def unit(self) -> float:
        """``2**(1-N)``, the step next to zero."""
        return 2.0 ** (1 - self.magnitude_bits)

    def _magnitude_integer(self, code: int) -> int:
        n, limit = self.magnitude_bits, self.exponent_limit
        if n == 1:
            return code
        ones = n - (~code & ((1 << n) - 1)).bit_length()
        exponent = min(ones, limit)
        if exponent == 0:
            return code
        # Significand and exponent over the unit: (2**m + f) 2**(i-1) 2**(n-1-m).
        fraction_bits = n - limit if exponent == limit else n - exponent - 1
        fraction = code & ((1 << fraction_bits) - 1)
        significand = (1 << fraction_bits) + fraction
        return significand << (exponent - 1 + n - 1 - fraction_bits)
