"""What `dybit search` prints and writes of its results."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.table import Column, Table

from dybit.quant.search import MinSpeedUp, Problem, Solution

__all__ = ["front_json", "front_table", "solution_table", "summary"]


def solution_table(problem: Problem, found: Solution) -> Table:
    """Return the mode of each layer, its cycles and its share in both totals."""
    table = Table(
        "layer",
        "weights",
        "activations",
        *(_right(text) for text in ("cycles", "of all", "speed-up", f"of {problem.measure}")),
        title=f"{problem.name}: {found.constraint}",
    )
    for place, (name, mode) in enumerate(found.modes.items()):
        index = found.choice[place]
        cycles = int(problem.cycles[place, index])
        share = problem.errors[place, index] / found.error if found.error else 0.0
        table.add_row(
            name,
            f"{mode.weight_bits} bits",
            f"{mode.activation_bits} bits",
            f"{cycles:,}",
            f"{cycles / found.cycles:.1%}",
            f"{problem.baselines[place] / max(1, cycles):.2f}x",
            f"{share:.1%}",
        )
    return table


def summary(problem: Problem, found: Solution, greedy: Solution, note: str) -> list[str]:
    """Return the totals, what was proved, and what greedy reaches."""
    lines = [
        f"speed-up: {found.speed_up:.4g}x, {found.cycles:,} cycles of {problem.baseline:,} at W8A8",
        f"{problem.measure}: {found.error:.6g} {note}",
    ]
    fast = isinstance(found.constraint, MinSpeedUp)
    if found.gap is None:
        lines.append(f"{found.method}: nothing is proved; --method exact finds the best")
        return lines
    best = f"{greedy.error:.6g}" if fast else f"{greedy.speed_up:.4g}x"
    excess = greedy.objective / found.objective - 1 if found.objective else 0.0
    what = problem.measure if fast else "cycles"
    proved = "proved to be the best" if not found.gap else f"at most {found.gap:.2g} from the best"
    lines.append(f"gap: {found.gap:.3g}, {proved}")
    lines.append(f"{greedy.method}: {best}, {excess:.2%} more {what}")
    return lines


def front_table(problem: Problem, front: Sequence[Solution]) -> Table:
    """Return the points of a front."""
    table = Table(
        *(_right(text) for text in ("speed-up", problem.measure, "cycles", "gap")),
        title=f"{problem.name}: Pareto front",
    )
    for point in front:
        gap = "" if point.gap is None else f"{point.gap:.2g}"
        table.add_row(f"{point.speed_up:.3f}x", f"{point.error:.6g}", f"{point.cycles:,}", gap)
    return table


def front_json(problem: Problem, fronts: Sequence[Sequence[Solution]]) -> str:
    """Return the points of several fronts, modes included, as JSON."""
    points = [
        {
            "method": point.method,
            "speed_up": point.speed_up,
            "error": point.error,
            "cycles": point.cycles,
            "gap": point.gap,
            "modes": {name: mode.name for name, mode in point.modes.items()},
        }
        for front in fronts
        for point in front
    ]
    table = {"name": problem.name, "measure": problem.measure, "baseline": problem.baseline}
    return json.dumps(table | {"points": points}, indent=1) + "\n"


def _right(text: str) -> Column:
    return Column(text, justify="right")
