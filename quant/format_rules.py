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
    """What an array decodes: one exponent limit at 4 bits and below, every one at 8.

    Widths the hardware lacks, which training may pass through, have the limits of 8 bits.

    Parameters
    ----------
    array : ArrayConfig
    """

    array: ArrayConfig

    def weights(self, bits: int, limit: int | None) -> Sequence[NumberFormat]:
        """Return DyBit formats, widest range first."""
        if bits in (2, 4):
            return [self.array.weight_format(bits)]
        return _limits(bits, True, limit)

    def activations(self, bits: int, signed: bool, limit: int | None) -> Sequence[NumberFormat]:
        """Return DyBit formats, widest range first."""
        if bits in (2, 4):
            return [self.array.activation_format(bits, signed)]
        return _limits(bits, signed, limit)


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
                # At most 4 exponent bits, and at least 1.
                return [ESB(bits, k) for k in range(max(0, bits - 5), bits - 1)]
            case "int":
                return [Integer(bits, signed)]
            case _:
                # One exponent bit is the uniform grid; at 2 bits there is no other.
                most = min(bits - 1, 5)
                splits = [2] if bits == 4 else range(min(2, most), most + 1)
                return [Minifloat(e, bits - 1 - e) for e in splits]


FAMILIES = ("dybit", "dybit-plain", "esb", "int", "minifloat")
"""Names that `FamilyFormats` takes."""


def _limits(bits: int, signed: bool, limit: int | None) -> list[NumberFormat]:
    """Return the format of one exponent limit, or of each from the widest range down."""
    most = bits - signed
    limits = range(most, 0, -1) if limit is None else [min(limit, most)]
    return [DyBit(bits, signed, each) for each in limits]
