"""Works through design points, on processes here or on a Dask cluster, each of them once.

What a point comes to is kept in a file by its content, written whole by whoever computed it. A
sweep that was stopped goes on with the points that have none.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

from dybit.quant.search.cache import Cache
from dybit.scripts.console import UserError
from dybit.scripts.sweep_points import Point, evaluate

__all__ = ["sweep_points"]

CHUNK = 32
"""Points that go to a worker together: those of one hardware share what they compute."""

PATIENCE = 5
"""Times in a row that all processes may die without a result."""

CONNECT_SECONDS = 10.0
"""How long a scheduler may take to answer."""

Numbered = list[tuple[int, Point]]
Results = list[tuple[int, dict[str, Any]]]


def sweep_points(
    points: Sequence[Point],
    cache: Path,
    jobs: int,
    scheduler: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[dict[str, Any]]:
    """Return the figures of points, in their order.

    Parameters
    ----------
    points : sequence of Point
    cache : Path
        Folder of what was computed.
    jobs : int
        Processes.
    scheduler : str, optional
        Address of a Dask scheduler, which takes their place.
    progress : callable, optional
        Called with the number of points done since it was last called.
    """
    numbered = list(enumerate(points))
    run = (
        _on_processes(_cut(numbered), cache, jobs)
        if scheduler is None
        else _on_dask(numbered, cache, scheduler)
    )
    found: dict[int, dict[str, Any]] = {}
    for results in run:
        found.update(results)
        if progress is not None:
            progress(len(results))
    return [found[index] for index in range(len(points))]


def work(chunk: Numbered, cache: Path) -> Results:
    """Return the figures of a chunk's points, from the cache or computed now."""
    kept = Cache(cache)
    return [(index, kept.get(point.key, partial(evaluate, point))) for index, point in chunk]


def _cut(points: Numbered) -> list[Numbered]:
    return [points[first : first + CHUNK] for first in range(0, len(points), CHUNK)]


def _on_processes(chunks: list[Numbered], cache: Path, jobs: int) -> Iterator[Results]:
    if jobs == 1:
        yield from (work(chunk, cache) for chunk in chunks)
        return
    left = dict(enumerate(chunks))
    failures = 0
    while left:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(jobs, len(left)), context) as pool:
            futures = {pool.submit(work, chunk, cache): number for number, chunk in left.items()}
            try:
                for future in as_completed(futures):
                    results = future.result()
                    failures = 0
                    del left[futures[future]]
                    yield results
            except BrokenProcessPool:
                # A process was killed, and the pool with it. What was computed is kept.
                failures += 1
                if failures == PATIENCE:
                    raise UserError(
                        f"processes ended {PATIENCE} times in a row without a result; "
                        "try fewer --jobs; what was computed is kept"
                    ) from None


def _on_dask(points: Numbered, cache: Path, scheduler: str) -> Iterator[Results]:
    try:
        import distributed
    except ImportError:
        raise UserError("--scheduler needs Dask: pip install 'dybit[cluster]'") from None
    # Errors end in one line of ours, not in tracebacks of what runs behind.
    for name in [*logging.root.manager.loggerDict, "asyncio"]:
        if name.startswith(("distributed", "asyncio")):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client = distributed.Client(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise UserError(f"--scheduler {scheduler}: no scheduler answers: {error}") from None
    # Workers elsewhere have folders of their own, which may know less than the one here.
    kept = Cache(cache)
    known = [(index, found) for index, point in points if (found := _known(kept, point))]
    if known:
        yield known
    done = {index for index, _ in known}
    left = {index: point for index, point in points if index not in done}
    with client:
        futures = [
            client.submit(work, chunk, cache, pure=False) for chunk in _cut(list(left.items()))
        ]
        try:
            for future in distributed.as_completed(futures):
                results = future.result()
                for index, figures in results:
                    kept.get(left[index].key, partial(dict, figures))
                future.release()
                yield results
        except (distributed.KilledWorker, CancelledError, OSError) as error:
            raise UserError(
                f"--scheduler {scheduler}: workers or the scheduler went away: "
                f"{str(error) or type(error).__name__}; what was computed is kept: run it again"
            ) from None


def _known(kept: Cache, point: Point) -> dict[str, Any] | None:
    """Return what is kept of a point, or None."""

    def nothing() -> None:
        raise LookupError

    try:
        found: dict[str, Any] = kept.get(point.key, nothing)
    except LookupError:
        return None
    return found
