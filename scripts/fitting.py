"""Whether a config fits a part, and which smaller one does where it does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dybit.hw.platforms.part import Part
from dybit.quant.array_config import ArrayConfig
from dybit.quant.config import ConfigError

__all__ = ["Counts", "fit"]

Counts = dict[str, float]


def fit(
    name: str,
    array: ArrayConfig,
    part: Part,
    measure: Callable[[ArrayConfig], Counts],
    sides: Sequence[int] | None = None,
) -> Counts:
    """Return what a design around `array` takes of `part`.

    Parameters
    ----------
    name : str
        The config's, for messages.
    array : ArrayConfig
    part : Part
    measure : callable
        Synthesises the design around an array and counts.
    sides : sequence of int, optional
        Rows and columns there may be; default: any.

    Raises
    ------
    ConfigError
        In one line, if it does not fit: each resource, how many it takes, how many it may, and the
        largest array of the same shape that was measured to fit.
    """
    counts = measure(array)
    excess = part.excess(counts)
    if not excess:
        return counts
    over = ", ".join(
        f"{kind.upper()} {taken:,g} of at most {allowed:,} ({taken / allowed - 1:.0%} over)"
        for kind, (taken, allowed) in excess.items()
    )
    found = _nearest(array, part, measure, sides, excess)
    remedy = (
        f"rows = {found.rows}, columns = {found.columns} fits"
        if found
        else "no smaller array fits; take fewer modes or less accumulator_depth"
    )
    raise ConfigError(
        f"{name}: array.rows, array.columns: {array.rows} x {array.columns} is not allowed on "
        f"{part.name}: {over}; {remedy}"
    )


def _nearest(
    array: ArrayConfig,
    part: Part,
    measure: Callable[[ArrayConfig], Counts],
    sides: Sequence[int] | None,
    excess: dict[str, tuple[float, int]],
) -> ArrayConfig | None:
    """Return the largest smaller array that fits, by the share each try says is left."""
    allowed = range(1, max(array.rows, array.columns) + 1) if sides is None else sides
    size: float = array.rows * array.columns
    while True:
        size *= min(limit / taken for taken, limit in excess.values())
        candidates = [
            (rows, columns)
            for rows in allowed
            for columns in allowed
            if rows <= array.rows and columns <= array.columns and rows * columns <= size
        ]
        if not candidates:
            return None
        shape = array.rows / array.columns
        rows, columns = max(
            candidates,
            key=lambda c: (c[0] * c[1] / max(c[0] / c[1] / shape, shape * c[1] / c[0]), c),
        )
        smaller = array.model_copy(update={"rows": rows, "columns": columns})
        excess = part.excess(measure(smaller))
        if not excess:
            return smaller
        size = rows * columns
