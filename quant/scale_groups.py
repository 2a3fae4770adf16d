"""Which elements of a tensor share a scale: all, a channel's, or neighbours along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dybit.quant.formats.base import checked_int
from dybit.quant.scale import checked_axis

__all__ = ["Grouping"]

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Grouping:
    """A partition of tensors of one shape.

    Parameters
    ----------
    shape : tuple of int
        Of the tensors; no side empty.
    axis : int, optional
        Without `group`, the channel axis: what lies at one index along it shares a scale. With
        one, the axis along which groups lie. Without an axis, everything shares a scale.
    group : int, optional
        So many neighbours along `axis`, all other indices alike, share a scale; the last group
        may have fewer.
    """

    shape: tuple[int, ...]
    axis: int | None = None
    group: int | None = None

    def __post_init__(self) -> None:
        if self.axis is not None:
            object.__setattr__(self, "axis", checked_axis(self.axis, self.shape) % len(self.shape))
        if self.group is not None:
            if self.axis is None:
                raise ValueError(f"group must be given with an axis, not alone as {self.group!r}")
            where = f" for shape {self.shape}, axis {self.axis}"
            group = checked_int("group", self.group, 1, self.shape[self.axis], where)
            object.__setattr__(self, "group", group)

    def rows(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the members of each group as a row; shorter groups as an array of their own."""
        if self.axis is None:
            return [array.reshape(1, -1)]
        if self.group is None:
            return [np.moveaxis(array, self.axis, 0).reshape(self.shape[self.axis], -1)]
        last, length = np.moveaxis(array, self.axis, -1), self.shape[self.axis]
        whole = length - length % self.group
        rows = [last[..., :whole].reshape(-1, self.group)]
        return rows if whole == length else [*rows, last[..., whole:].reshape(-1, length - whole)]

    def gather(self, pieces: Sequence[_Array]) -> _Array:
        """Return one number a group, given for the arrays of `rows`, in the groups' own shape.

        That is () for one group, (channels,) for channels, and otherwise the tensor's with the
        number of groups in place of the axis.
        """
        if self.axis is None:
            return pieces[0].reshape(())
        if self.group is None:
            return pieces[0]
        others = self.shape[: self.axis] + self.shape[self.axis + 1 :]
        last = np.concatenate([piece.reshape(*others, -1) for piece in pieces], axis=-1)
        return np.moveaxis(last, -1, self.axis)

    def spread(self, numbers: _Array) -> _Array:
        """Return what `gather` gave in a shape that broadcasts against the tensors."""
        if self.axis is None:
            return numbers
        if self.group is None:
            return numbers.reshape(-1, *[1] * (len(self.shape) - 1 - self.axis))
        spread = np.repeat(numbers, self.group, axis=self.axis)
        return spread.take(np.arange(self.shape[self.axis]), axis=self.axis)
