"""Formats whose codes are a sign bit above a magnitude."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from dybit.quant.formats.base import NumberFormat

__all__ = ["SignMagnitude"]


class SignMagnitude(NumberFormat):
    """A format whose top bit, where it is signed, is the sign (1 = negative) of the bits below.

    A family states the integer of each magnitude code in units of a power of two.
    """

    __slots__ = ()

    @abstractmethod
    def _magnitude_integer(self, code: int) -> int:
        """Return the value of magnitude code `code` over `unit`."""

    @property
    def magnitude_bits(self) -> int:
        """Bits of a code below the sign bit, if there is one."""
        return self.bits - self.signed

    @property
    def magnitude_integers(self) -> NDArray[np.int64]:
        """Magnitude over `unit` of every magnitude code, in code order (read-only)."""
        codes = np.arange(1 << self.magnitude_bits)
        magnitudes = self.integers(codes)
        magnitudes.setflags(write=False)
        return magnitudes

    def _code_values(self) -> list[float]:
        codes = range(1 << self.magnitude_bits)
        magnitudes = [self._magnitude_integer(code) * self.unit for code in codes]
        return magnitudes + [-m for m in magnitudes] if self.signed else magnitudes
