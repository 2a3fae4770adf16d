"""Precision modes of the array: which weight and activation widths meet, and what that implies.

A row of the array carries one 8-bit activation word: ``8/a`` consecutive input channels of
width ``a``. A processing element holds ``8/w`` weights of width ``w`` for each of them, one per
output channel, so it does ``(8/a)(8/w)`` multiply-accumulates a cycle into ``8/w`` lanes.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MODES", "WIDTHS", "PrecisionMode"]

WIDTHS = (2, 4, 8)
"""Operand widths the hardware computes in, in bits."""

WORD_BITS = 8
"""Width of the activation word of one row, and of one packed byte of weights."""


@dataclass(frozen=True, slots=True, order=True)
class PrecisionMode:
    """One pair of weight and activation widths.

    Parameters
    ----------
    weight_bits, activation_bits : int
        2, 4 or 8. W8A2 and W2A8 are refused: their lanes would set the size of the whole array.

    Raises
    ------
    ValueError
        If the pair is not one of the seven modes.
    """

    weight_bits: int
    activation_bits: int

    def __post_init__(self) -> None:
        pair = (self.weight_bits, self.activation_bits)
        if pair not in _PAIRS:
            raise ValueError(f"precision mode must be one of {_NAMES}, not {self.name}")

    @classmethod
    def parse(cls, name: str) -> PrecisionMode:
        """Return the mode called `name`, such as ``"W4A8"``."""
        for weight_bits, activation_bits in _PAIRS:
            if name == f"W{weight_bits}A{activation_bits}":
                return cls(weight_bits, activation_bits)
        raise ValueError(f"precision mode must be one of {_NAMES}, not {name}")

    @property
    def name(self) -> str:
        """The mode's name, ``W<weight bits>A<activation bits>``."""
        return f"W{self.weight_bits}A{self.activation_bits}"

    @property
    def channels(self) -> int:
        """Input channels in one activation word (8/a)."""
        return WORD_BITS // self.activation_bits

    @property
    def lanes(self) -> int:
        """Output channels one column computes at a time (8/w)."""
        return WORD_BITS // self.weight_bits

    @property
    def macs(self) -> int:
        """Multiply-accumulates an element does in one cycle."""
        return self.channels * self.lanes

    def __str__(self) -> str:
        return self.name


_PAIRS = ((8, 8), (8, 4), (4, 8), (4, 4), (2, 4), (4, 2), (2, 2))
_NAMES = ", ".join(f"W{w}A{a}" for w, a in _PAIRS)

MODES = tuple(PrecisionMode(w, a) for w, a in _PAIRS)
"""The seven modes, widest first."""
