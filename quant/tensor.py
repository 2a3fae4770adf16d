"""Quantised tensors, and the integers that take one to the scale of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dybit.quant.formats import NumberFormat

__all__ = [
    "MAX_SHIFT",
    "MULTIPLIER_BITS",
    "NetworkError",
    "QuantTensor",
    "fixed_point",
    "shared_fixed_point",
]

MULTIPLIER_BITS = 16
"""Width of a multiplier, unsigned."""

MAX_SHIFT = 63
"""Largest shift."""


class NetworkError(ValueError):
    """A network or a file of one that cannot be used; the message is one line."""


@dataclass(frozen=True, slots=True)
class QuantTensor:
    """How the codes of a tensor are read: ``x ~ scale * value(code)``.

    Parameters
    ----------
    format : NumberFormat
    scale : float
        Positive.
    """

    format: NumberFormat
    scale: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise NetworkError(f"scale must be positive and finite, not {self.scale!r}")

    @property
    def unit(self) -> float:
        """The real number that the integer 1 of the format stands for."""
        return self.scale * self.format.unit


def fixed_point(ratio: ArrayLike, name: str) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Return multiplier M and shift S with ``M / 2^S`` nearest to each ratio.

    M is 2^15 to 2^16 - 1, the relative error then at most 2^-16, unless the ratio is so small
    that S would exceed 63.

    Parameters
    ----------
    ratio : array_like of float
        Positive.
    name : str
        The layer's name, for the message.

    Raises
    ------
    NetworkError
        If a ratio exceeds what 16 bits hold without a shift.
    """
    wanted = np.asarray(ratio, np.float64)
    largest = (1 << MULTIPLIER_BITS) - 1
    if not (wanted < largest + 0.5).all():
        raise NetworkError(
            f"{name}: output units must be at least 1/{largest} of the accumulator's, "
            f"not 1/{wanted.max():.6g}"
        )
    _, exponent = np.frexp(wanted)
    shift = np.minimum(MULTIPLIER_BITS - exponent, MAX_SHIFT)
    multiplier = np.rint(np.ldexp(wanted, shift))
    # Rounding up to 2^16 needs one bit less of shift.
    carry = multiplier == 1 << MULTIPLIER_BITS
    multiplier, shift = np.where(carry, multiplier / 2, multiplier), shift - carry
    return multiplier.astype(np.uint16), shift.astype(np.uint8)


def shared_fixed_point(ratios: Sequence[float], name: str) -> tuple[tuple[int, ...], int]:
    """Return multipliers and the one shift with which they are nearest to the ratios.

    The shift is that of the largest ratio; a smaller one has fewer bits of multiplier.

    Raises
    ------
    NetworkError
        As `fixed_point`.
    """
    _, (shift,) = fixed_point([max(ratios)], name)
    scaled = np.rint(np.ldexp(np.asarray(ratios, np.float64), int(shift)))
    return tuple(scaled.astype(int).tolist()), int(shift)
