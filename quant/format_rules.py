"""Which formats a tensor may have: those an array decodes, or a family's at every width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dybit.quant.array_config import ArrayConfig
from dybit.quant.formats import ESB, DyBit, Integer, Minifloat, NumberFormat

__all__ = ["FAMILIES", "ArrayFormats", "FamilyFormats", "FormatRule"]


class FormatRule(Protocol):
    """The formats to choose from for one tensor, in order of preference, at least one."""

    def weights(self, bits: int, limit: int | None) -> Sequence[NumberFormat]:
        """Return candidates of `bits` bits; `limit` is an exponent limit the config asks for."""

    def activations(self, bits: int, signed: bool, limit: int | None) -> Sequence[NumberFormat]:
        """Return candidates of `bits` bits, unsigned ones where nothing is negative."""


@dataclass(frozen=True, slots=True)
class ArrayFormats:
    """What an array decodes: of DyBit one exponent limit at 4 bits and below, every one at 8.

    Widths the hardware lacks, which training may pass through, have all formats of the family.

    Parameters
    ----------
    array : ArrayConfig
    """

    array: ArrayConfig

    def weights(self, bits: int, limit: int | None) -> Sequence[NumberFormat]:
        """Return formats of the array's family, of DyBit the widest range first."""
        if bits in self._fixed_widths:
            return [self.array.weight_format(bits)]
        return self._open(bits, True, limit)

    def activations(self, bits: int, signed: bool, limit: int | None) -> Sequence[NumberFormat]:
        """Return formats of the array's family, of DyBit the widest range first."""
        if bits in self._fixed_widths:
            return [self.array.activation_format(bits, signed)]
        return self._open(bits, signed, limit)

    @property
    def _fixed_widths(self) -> tuple[int, ...]:
        return {"dybit": (2, 4), "esb": (4, 8)}[self.array.family]

    def _open(self, bits: int, signed: bool, limit: int | None) -> Sequence[NumberFormat]:
        return _fractions(bits) if self.array.family == "esb" else _limits(bits, signed, limit)


@dataclass(frozen=True, slots=True)
class FamilyFormats:
    """One family in software, whatever the array is built for; an exponent limit is not read.

    Parameters
    ----------
    family : str
        ``dybit`` (the exponent limit chosen for each tensor), ``dybit-plain``, ``esb`` (the
        fraction bits chosen), ``int``, or ``minifloat`` (E2M1 at 4 bits, at others the split
        chosen). ESB and minifloats are signed whatever the data is.
    """

    family: str

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"family must be one of {', '.join(FAMILIES)}, not {self.family!r}")

    def weights(self, bits: int, limit: int | None) -> Sequence[NumberFormat]:
        """Return the family's signed formats."""
        return self._formats(bits, True)

    def activations(self, bits: int, signed: bool, limit: int | None) -> Sequence[NumberFormat]:
        """Return the family's formats, unsigned where it has them and the data allows."""
        return self._formats(bits, signed)

    def _formats(self, bits: int, signed: bool) -> Sequence[NumberFormat]:
        match self.family:
            case "dybit":
                return _limits(bits, signed, None)
            case "dybit-plain":
                return [DyBit(bits, signed)]
            case "esb":
                return _fractions(bits)
            case "int":
                return [Integer(bits, signed)]
            case _:
                # One exponent bit is the uniform grid; at 2 bits there is no other.
                most = min(bits - 1, 5)
                splits = [2] if bits == 4 else range(min(2, most), most + 1)
                return [Minifloat(e, bits - 1 - e) for e in splits]


FAMILIES = ("dybit", "dybit-plain", "esb", "int", "minifloat")
"""Names that `FamilyFormats` takes."""


def _fractions(bits: int) -> list[ESB]:
    """Return ESB of every number of fraction bits: at most 4 are exponent, and at least 1."""
    return [ESB(bits, k) for k in range(max(0, bits - 5), bits - 1)]


def _limits(bits: int, signed: bool, limit: int | None) -> list[NumberFormat]:
    """Return the format of one exponent limit, or of each from the widest range down."""
    most = bits - signed
    limits = range(most, 0, -1) if limit is None else [min(limit, most)]
    return [DyBit(bits, signed, each) for each in limits]
