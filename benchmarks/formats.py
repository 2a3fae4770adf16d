"""Speed of the number-format codecs on one thread, beside codebook search and memory copy."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from dybit.quant.formats import DyBit, NormalFloat

SEED = 0
ELEMENTS = 1 << 22
REPEATS = 5
UNIT = "million elements/s"


def run() -> list[dict[str, Any]]:
    """Return encode and decode rates of DyBit and of a codebook, beside their rival and a copy."""
    results: list[dict[str, Any]] = []
    normal = np.random.default_rng(SEED).standard_normal(ELEMENTS)
    for fmt in (DyBit(4), DyBit(8), NormalFloat(4)):
        # The usual way: search the midpoints between neighbouring values, look the code up.
        midpoints = (fmt.values[1:] + fmt.values[:-1]) / 2
        for dtype in (np.float32, np.float64):
            x = normal.astype(dtype)
            codebook = midpoints.astype(dtype)
            ours, search, copy = _rates(
                lambda x=x, fmt=fmt: fmt.encode(x),
                lambda x=x, fmt=fmt, book=codebook: fmt.sorted_codes[np.searchsorted(book, x)],
                lambda x=x: x.copy(),
            )
            name = f"encode {fmt} {x.dtype}"
            results += _entries(name, ours, {"np.searchsorted": search, "copy": copy})
        codes = fmt.encode(normal)
        table = fmt.decode(np.arange(1 << fmt.bits))
        ours, indexing, copy = _rates(
            lambda codes=codes, fmt=fmt: fmt.decode(codes),
            lambda codes=codes, table=table: table[codes],
            normal.copy,
        )
        name = f"decode {fmt} float64"
        results += _entries(name, ours, {"NumPy indexing": indexing, "copy": copy})
    return results


def _rates(*jobs: Callable[[], Any]) -> list[float]:
    """Return the best rate of each job, taken in turns so that all see the same machine."""
    seconds = [float("inf")] * len(jobs)
    for _ in range(REPEATS):
        for index, job in enumerate(jobs):
            start = perf_counter()
            job()
            seconds[index] = min(seconds[index], perf_counter() - start)
    return [ELEMENTS / s / 1e6 for s in seconds]


def _entries(name: str, rate: float, rivals: dict[str, float]) -> list[dict[str, Any]]:
    return [
        {
            "name": f"{name} / {rival}",
            "value": rate,
            "unit": UNIT,
            "rival": f"{rival}, {other:.0f} {UNIT}",
            "ratio": rate / other,
        }
        for rival, other in rivals.items()
    ]
