"""``dybit sweep``: many designs at once, and those that no other beats."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.table import Column, Table

from dybit.quant.cache import cache_directory
from dybit.quant.precision import PrecisionMode
from dybit.scripts.console import UserError, console, progress, write
from dybit.scripts.estimate import CLOCK, LATENCY
from dybit.scripts.sweep_points import FIGURES, Point, Space
from dybit.scripts.sweep_run import sweep_points
from dybit.sim.toolchain import usable_cores

__all__ = ["pareto", "sweep"]

OBJECTIVES = ("milliseconds", "error", "elements", "memory_bits")
"""What the front is of: less of each is better."""

SHOWN = 24
"""Points of the front that are printed."""

T = TypeVar("T")


def sweep(
    workload: Annotated[
        str, typer.Argument(help="Networks as dybit estimate takes them, separated by commas.")
    ],
    arrays: Annotated[str, typer.Option(help="Rows x columns, such as 8x8,16x16.")] = "16x16",
    modes: Annotated[
        str, typer.Option(help="Modes an array is built for, such as W8A8,W8A8+W4A4.")
    ] = "W8A8+W4A4+W2A2",
    widths: Annotated[
        str,
        typer.Option(
            help="A mode for all layers, speedup=F or rmse=F for greedy search, or a quant config."
        ),
    ] = "W8A8,W4A4,W2A2",
    activation_words: Annotated[str, typer.Option(help="Words of a bank.")] = "4096",
    output_words: Annotated[str, typer.Option(help="Words of a bank.")] = "4096",
    accumulator_depth: Annotated[str, typer.Option(help="Pixels.")] = "1024",
    parameter_groups: Annotated[str, typer.Option(help="Groups of a bank.")] = "1024",
    clock: Annotated[float, typer.Option(help="Megahertz.")] = CLOCK,
    bandwidth: Annotated[
        str, typer.Option(help="Of the memory, GB/s each way; 0: 16 bytes a cycle.")
    ] = "0",
    latency: Annotated[
        int, typer.Option(min=0, help="Cycles from a read's address to its data.")
    ] = LATENCY,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: one for each core.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler, in place of processes here.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of what was computed; default: build/cache/sweep.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for points.csv and pareto.csv.")
    ] = Path("build/sweep"),
) -> None:
    """Evaluate all combinations of networks, arrays, modes, widths and memories.

    Options take lists, separated by commas. Errors are of synthetic distributions, cycles those
    of the accelerator's model. A sweep that was interrupted goes on where it was when started
    again; points that cannot be built say why. points.parquet is written besides where pyarrow is
    installed.

    \b
    dybit sweep resnet18 --arrays 8x8,16x16,32x32 --widths W8A8,W4A4,speedup=3
    dybit sweep resnet18,mobilenet_v2 --modes W8A8,W8A8+W4A4 --widths W8A8,W4A4 \\
        --activation-words 1024,2048,4096 --accumulator-depth 256,512,1024
    dybit sweep resnet50 --bandwidth 1.6,3.2,12.8 --scheduler tcp://10.0.0.5:8786
    """
    if clock <= 0:
        raise UserError(f"--clock must be positive, not {clock}")
    space = Space(
        workloads=_listed("workload", workload, str),
        arrays=_listed("--arrays", arrays, _size),
        modes=_listed("--modes", modes, _modes),
        widths=_listed("--widths", widths, str),
        activation_words=_listed("--activation-words", activation_words, int),
        output_words=_listed("--output-words", output_words, int),
        accumulator_depths=_listed("--accumulator-depth", accumulator_depth, int),
        parameter_groups=_listed("--parameter-groups", parameter_groups, int),
        clock=clock,
        bandwidths=_listed("--bandwidth", bandwidth, _not_negative),
        latency=latency,
    )
    space.check()
    points = space.points()
    with progress() as bar:
        task = bar.add_task("design points", total=len(points))
        figures = sweep_points(
            points,
            cache or cache_directory("sweep"),
            jobs or usable_cores(),
            scheduler,
            lambda done: bar.advance(task, done),
        )
    rows = [asdict(point) | found for point, found in zip(points, figures, strict=True)]
    front = pareto(rows)
    _write(output, rows, front)
    console.print(_table(front))
    failed = [row for row in rows if row["problem"]]
    console.print(
        f"{output}: {len(rows)} points, {len(front)} of them on the Pareto front, "
        f"{len(failed)} that cannot be",
        highlight=False,
        soft_wrap=True,
    )
    if failed:
        console.print(f"the first: {failed[0]['problem']}", highlight=False, soft_wrap=True)


def pareto(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows that no other of the same network beats in all `OBJECTIVES`."""
    kept: list[dict[str, Any]] = []
    possible = [row for row in rows if not row["problem"]]
    for row in sorted(possible, key=lambda row: [row[name] for name in OBJECTIVES]):
        # Whatever beats it has come before.
        if not any(
            other["workload"] == row["workload"]
            and all(other[name] <= row[name] for name in OBJECTIVES)
            for other in kept
        ):
            kept.append(row)
    return kept


def _listed(name: str, text: str, parse: Callable[[str], T]) -> tuple[T, ...]:
    try:
        found = tuple(dict.fromkeys(parse(part.strip()) for part in text.split(",")))
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None
    return found


def _size(text: str) -> tuple[int, int]:
    rows, by, columns = text.partition("x")
    if not (by and rows.isdigit() and columns.isdigit()):
        raise ValueError(f"must be rows x columns, such as 16x16, not {text!r}")
    return int(rows), int(columns)


def _modes(text: str) -> str:
    return "+".join(PrecisionMode.parse(name).name for name in text.split("+"))


def _not_negative(text: str) -> float:
    if float(text) < 0:
        raise ValueError(f"must be 0 or more, not {text}")
    return float(text)


def _write(output: Path, rows: list[dict[str, Any]], front: list[dict[str, Any]]) -> None:
    for name, part in (("points", rows), ("pareto", front)):
        text = io.StringIO()
        writer = csv.DictWriter(text, [*Point.__dataclass_fields__, *FIGURES], lineterminator="\n")
        writer.writeheader()
        writer.writerows(part)
        write(output / f"{name}.csv", text.getvalue())
    try:
        from pyarrow import Table as Columns
        from pyarrow.parquet import write_table
    except ImportError:
        console.print("no points.parquet: pyarrow is not installed", highlight=False)
        return
    write_table(Columns.from_pylist(rows), output / "points.parquet")


def _table(front: Sequence[dict[str, Any]]) -> Table:
    heads = ("ms", "images/s", "speed-up", "rmse", "used", "elements", "memory Kb")
    table = Table(
        *("network", "array", "modes", "widths"),
        *(Column(head, justify="right") for head in heads),
        title="Pareto front",
    )
    for row in front[:SHOWN]:
        table.add_row(
            row["workload"],
            f"{row['rows']} x {row['columns']}",
            row["modes"],
            row["widths"],
            f"{row['milliseconds']:.3f}",
            f"{row['images_per_second']:,.1f}",
            f"{row['speed_up']:.2f}x",
            f"{row['error']:.4g}",
            f"{row['utilisation']:.1%}",
            f"{row['elements']}",
            f"{row['memory_bits'] / 1024:,.0f}",
        )
    if len(front) > SHOWN:
        table.caption = f"the fastest {SHOWN} of {len(front)}; all are in pareto.csv"
    return table
