"""NormalFloat: a codebook of the normal distribution's quantiles (QLoRA, arXiv 2305.14314)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from dybit.quant.formats.base import NumberFormat, checked_int

__all__ = ["NormalFloat"]


@dataclass(frozen=True, slots=True)
class NormalFloat(NumberFormat):
    """Quantiles of N(0, 1) between -1 and 1, and 0; NF4 for 4 bits. Codes count the values up.

    The outermost quantiles are those of ``1 - d`` and d, d being the mean of ``1 / 2**(bits+1)``
    and ``1 / (2**(bits+1) - 2)``. From there to 1/2, 2**(bits-1) positive ones and one negative
    one less are spaced evenly in probability, then divided by the largest and held in float32.

    These are no multiples of any step: there are no integers and no `unit`, and integer hardware
    cannot multiply them.

    Parameters
    ----------
    bits : int
        2 to 4.
    """

    FAMILY: ClassVar[str] = "normal_float"
    PARAMETERS: ClassVar[tuple[str, ...]] = ("bits",)

    bits: int = 4
    signed: bool = field(init=False, repr=False, default=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bits", checked_int("bits", self.bits, 2, 4))

    @property
    def name(self) -> str:
        """``nf4``."""
        return f"nf{self.bits}"

    @property
    def has_grid(self) -> bool:
        """False."""
        return False

    @property
    def unit(self) -> float:
        """There is none, which raises ValueError."""
        raise ValueError(
            f"{self.name} has no integers: its values are quantiles of the normal distribution; "
            "integer arithmetic needs a format of another family"
        )

    def _code_values(self) -> NDArray[np.float32]:
        half = 1 << (self.bits - 1)
        outermost = (1 / (4 * half) + 1 / (4 * half - 2)) / 2
        positive = -ndtri(np.linspace(outermost, 0.5, half + 1)[:-1])
        negative = ndtri(np.linspace(outermost, 0.5, half)[:-1])
        quantiles = np.concatenate([negative, [0.0], positive[::-1]]) / positive[0]
        values: NDArray[np.float32] = quantiles.astype(np.float32)
        return values
