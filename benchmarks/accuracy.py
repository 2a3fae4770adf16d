"""Accuracy of three networks for handwritten digits in every format, beside FP32 and Brevitas.

Five-fold cross-validation over all 1,797 images with three seeds: 45 float networks, each
quantised by every method of the plan. Results are kept in ``build/accuracy``, one file each, so an
interrupted run goes on where it stopped; all of it is an estimated two hours of one core. Writes
``accuracy.md`` and ``accuracy.svg`` beside the entries. Brevitas is left out where it is not
installed (``make rivals`` brings it).
"""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks._accuracy_jobs import missing, run_unit
from benchmarks._accuracy_plan import FULL, Plan
from benchmarks._accuracy_report import Report
from dybit.scripts.console import console, progress, write
from dybit.sim.toolchain import usable_cores

POLL = 1.0
"""Seconds between two looks at how many results there are."""


def run(
    folder: Path = Path("build/bench"),
    cache: Path = Path("build/accuracy"),
    plan: Plan = FULL,
    workers: int | None = None,
) -> list[dict[str, Any]]:
    """Return accuracies and losses, and write table and picture."""
    results = plan.cache(cache)
    _fill(plan, results, workers or usable_cores())
    report = Report(plan, results)
    write(folder / "accuracy.md", report.markdown())
    report.plot(folder / "accuracy.svg")
    for network in plan.networks:
        title = f"{network}, FP32 {report.accuracy(network):.2f} %: points lost"
        heading, *rows = report.rows(network)
        table = Table(*heading, title=title)
        for cells in rows:
            table.add_row(*(cell.replace("**", "") for cell in cells))
        console.print(table)
        for remark in report.remarks(network):
            console.print(remark, highlight=False)
    return list(report.entries())


def _fill(plan: Plan, cache: Path, workers: int) -> None:
    """Run what the cache lacks, a float network at a time to each process."""
    units = [unit for unit in plan.units() if missing(unit, plan, cache)]

    def left() -> int:
        return sum(len(missing(unit, plan, cache)) for unit in units)

    if not units:
        return
    total = left()
    with (
        progress() as bar,
        ProcessPoolExecutor(min(workers, len(units)), get_context("spawn")) as pool,
    ):
        task = bar.add_task("networks trained and quantised", total=total)
        futures = [pool.submit(run_unit, unit, plan, cache) for unit in units]
        pending = set(futures)
        while pending:
            done, pending = wait(pending, POLL, FIRST_EXCEPTION)
            bar.update(task, completed=total - left())
            for future in done:
                if future.exception() is not None:
                    pool.shutdown(cancel_futures=True)
                future.result()
