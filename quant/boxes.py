"""Boxes: elements of one axis at equal steps, in as many nested rows as it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Box", "find_box"]


@dataclass(frozen=True, slots=True)
class Box:
    """Positions ``start + i strides[0] + j strides[1] + ...``, the last index the fastest."""

    start: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]


def find_box(positions: NDArray[np.integer[Any]]) -> Box | None:
    """Return the box of the fewest axes whose positions are these, in this order.

    What views of an array do (reshaping, transposing, slicing, expanding) always is one.

    Parameters
    ----------
    positions : ndarray of int
        At least one; read in C order.

    Returns
    -------
    Box or None
        None if the positions are no box's.
    """
    rows = np.asarray(positions, np.int64).reshape(-1)
    sizes: list[int] = []
    strides: list[int] = []
    while len(rows) > 1:
        steps = np.diff(rows)
        # The innermost row ends where the step first changes.
        breaks = np.flatnonzero(steps != steps[0])
        size = int(breaks[0]) + 1 if breaks.size else len(rows)
        if len(rows) % size:
            return None
        table = rows.reshape(-1, size)
        if (table != table[:, :1] + steps[0] * np.arange(size)).any():
            return None
        sizes.insert(0, size)
        strides.insert(0, int(steps[0]))
        rows = table[:, 0]
    return Box(int(rows[0]), tuple(sizes) or (1,), tuple(strides) or (1,))
