"""Which formats a tensor may have: those an array decodes, or a family's at every width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dybit.quant.array_config import ArrayConfig
from dybit.quant.format_choice import decoded_formats
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
    """What an array decodes.

    Widths it lacks, which training may pass through, have every format of its family.

    Parameters
    ----------
    array : ArrayConfig
    """

    array: ArrayConfig

    def weights(self, bits: int, limit: int | None) -> Sequence[NumberFormat]:
        """Return the formats of weights, widest range first."""
        if bits not in {mode.weight_bits for mode in self.array.modes}:
            return self._family.weights(bits, limit)
        if limit is not None:
            return [self.array.weight_format(bits, limit)]
        return decoded_formats(self.array, "weight", bits)

    def activations(self, bits: int, signed: bool, limit: int | None) -> Sequence[NumberFormat]:
        """Return the formats of activations, widest range first."""
        signed = signed or self.array.activations == "signed"
        if bits not in self.array.activation_widths:
            return self._family.activations(bits, signed, limit)
        if limit is not None:
            return [self.array.activation_format(bits, signed, limit)]
        return decoded_formats(self.array, "activation", bits, signed)

    @property
    def _family(self) -> FamilyFormats:
        return FamilyFormats(self.array.family)


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
                return [DyBit(bits, signed, limit) for limit in range(bits - signed, 0, -1)]
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
