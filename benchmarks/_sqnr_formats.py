"""The rows of the SQNR tables: families of formats, and what only rivals have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from dybit.quant.formats import (
    ESB,
    DyBit,
    Flint,
    Integer,
    Minifloat,
    NormalFloat,
    NumberFormat,
    Posit,
    PowerOfTwo,
    SignMagnitude,
)

BITS = tuple(range(2, 9))
FAMILY, PLAIN = "DyBit, best r", "plain DyBit"
ADAPTIVE = "ANT adaptive"
INTEGER, MINIFLOAT = "INT", "minifloat, best split"


@dataclass(frozen=True, slots=True)
class TwosComplement(NumberFormat):
    """Two's-complement integers, with one negative value more: ANT's ``int``."""

    FAMILY: ClassVar[str] = "twos_complement"
    PARAMETERS: ClassVar[tuple[str, ...]] = ("bits",)

    bits: int
    signed: ClassVar[bool] = True
    unit: ClassVar[float] = 1.0

    @property
    def name(self) -> str:
        return f"twos_complement{self.bits}"

    def _code_values(self) -> list[float]:
        half = 1 << (self.bits - 1)
        return [float(code - 2 * half * (code >= half)) for code in range(2 * half)]


@dataclass(frozen=True, slots=True)
class UnsignedMinifloat(SignMagnitude):
    """A minifloat that spends its sign bit on its mantissa."""

    FAMILY: ClassVar[str] = "unsigned_minifloat"
    PARAMETERS: ClassVar[tuple[str, ...]] = ("exponent_bits", "mantissa_bits")

    exponent_bits: int
    mantissa_bits: int
    signed: ClassVar[bool] = False
    unit: ClassVar[float] = 1.0

    @property
    def bits(self) -> int:
        return self.exponent_bits + self.mantissa_bits

    @property
    def name(self) -> str:
        return f"e{self.exponent_bits}m{self.mantissa_bits}u"

    def _magnitude_integer(self, code: int) -> int:
        exponent, mantissa = divmod(code, 1 << self.mantissa_bits)
        return mantissa if not exponent else ((1 << self.mantissa_bits) + mantissa) << exponent - 1


def minifloats(bits: int, signed: bool) -> list[NumberFormat]:
    """Return every split but the single exponent bit, a uniform grid, where there is another."""
    kind, magnitude = (Minifloat, bits - 1) if signed else (UnsignedMinifloat, bits)
    return [kind(e, magnitude - e) for e in range(min(2, magnitude), min(5, magnitude) + 1)]


def two_exponent_bits(bits: int, signed: bool) -> list[NumberFormat]:
    """Return E2M1 at 4 bits, and what has its two exponent bits at other widths."""
    magnitude = bits - signed
    kind = Minifloat if signed else UnsignedMinifloat
    return [kind(min(2, magnitude), magnitude - min(2, magnitude))]


def powers_of_two(bits: int, signed: bool) -> list[NumberFormat]:
    """Return powers of two, which more than 4 bits of magnitude make too wide."""
    return [PowerOfTwo(bits, signed)] if bits - signed <= 4 else []


def adaptive(bits: int, signed: bool) -> list[NumberFormat]:
    """Return what ANT chooses from: integer, flint and power of two, at 8 bits the integer."""
    integer = TwosComplement(bits) if signed else Integer(bits, False)
    others = [] if bits == 8 else [Flint(bits, signed), *powers_of_two(bits, signed)]
    return [integer, *others]


def family(bits: int, signed: bool) -> list[NumberFormat]:
    """Return DyBit with every exponent limit, the widest range first."""
    return [DyBit(bits, signed, limit) for limit in range(bits - signed, 0, -1)]


def fractions(bits: int, signed: bool) -> list[NumberFormat]:
    """Return ESB with every number of fraction bits; it is signed."""
    return [ESB(bits, k) for k in range(max(0, bits - 5), bits - 1)] if signed else []


def codebooks(bits: int, signed: bool) -> list[NumberFormat]:
    """Return the NormalFloat codebook, which is signed and short."""
    return [NormalFloat(bits)] if signed and bits <= 4 else []


ROWS: dict[str, Callable[[int, bool], Sequence[NumberFormat]]] = {
    INTEGER: lambda bits, signed: [Integer(bits, signed)],
    "power of two": powers_of_two,
    MINIFLOAT: minifloats,
    "posit es 1": lambda bits, signed: [Posit(bits, 1)] if signed else [],
    "posit es 2": lambda bits, signed: [Posit(bits, 2)] if signed else [],
    "NF": codebooks,
    ADAPTIVE: adaptive,
    "ESB, best k": fractions,
    PLAIN: lambda bits, signed: [DyBit(bits, signed)],
    FAMILY: family,
}
"""Formats of each row by width and signedness; none where the row has none."""
