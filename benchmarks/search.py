"""The width search on published networks: how long it takes, and what it finds.

Errors are of synthetic distributions, cycles those of the 16 x 16 matrix engine without memory.
Seconds are the process's own, which a busy machine does not lengthen much.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import process_time
from typing import Any

import numpy as np

from dybit.quant.array_config import ArrayConfig
from dybit.quant.precision import MODES, PrecisionMode
from dybit.quant.search import MaxError, MinSpeedUp, Problem, Ranking, exact, greedy, rmse
from dybit.quant.search.synthetic import synthetic_errors
from dybit.quant.workloads import TABLES, table
from dybit.scripts.engine_cost import engine_cost

__all__ = ["run"]

UNIFORM = PrecisionMode(4, 4)
SPEED_UPS = (2.0, 3.0, 4.0, 6.0, 8.0)


def run(names: Sequence[str] = tuple(TABLES)) -> list[dict[str, Any]]:
    """Return seconds of searches, and errors and speed-ups beside those of W4A4 throughout."""
    array = ArrayConfig(
        rows=16, columns=16, max_reduction=9216, accumulator_depth=1024, modes=MODES
    )
    return [entry for name in names for entry in _network(name, array)]


def _network(name: str, array: ArrayConfig) -> Iterator[dict[str, Any]]:
    workload = table(name)
    start = process_time()
    errors = synthetic_errors(workload, array)
    problem = Problem.build(workload, MODES, engine_cost(array), rmse(workload, MODES, *errors))
    yield _seconds(f"{name}: errors and cycles", process_time() - start)
    fastest = problem.speed_up(problem.fastest)
    asked = [MinSpeedUp(factor) for factor in SPEED_UPS if factor <= fastest]
    # A network that no width makes much faster is asked for half of what there is.
    asked = asked or [MinSpeedUp(fastest**0.5)]
    excess = []
    spent = {"greedy": 0.0, "exact": 0.0}
    for constraint in asked:
        start = process_time()
        found = [greedy(problem, constraint, ranking) for ranking in Ranking]
        middle = process_time()
        best = exact(problem, constraint)
        spent["greedy"] = max(spent["greedy"], (middle - start) / len(found))
        spent["exact"] = max(spent["exact"], process_time() - middle)
        excess.append([each.error / best.error for each in found])
    for method, seconds in spent.items():
        yield _seconds(f"{name}: {method}, the longest of {len(asked)} searches", seconds)
    for ranking, ratios in zip(Ranking, np.transpose(excess), strict=True):
        yield {
            "name": f"{name}: rmse of greedy by {ranking}, mean over {len(asked)} speed-ups",
            "value": float(np.mean(ratios)),
            "unit": "x the least",
            "rival": "exact",
            "ratio": float(1 / np.mean(ratios)),
        }
    uniform = np.full(len(problem.layers), MODES.index(UNIFORM))
    same_speed = exact(problem, MinSpeedUp(problem.speed_up(uniform)))
    yield {
        "name": f"{name}: rmse at the speed-up of W4A4, {problem.speed_up(uniform):.2f}x",
        "value": same_speed.error,
        "unit": "rmse",
        "rival": f"W4A4, {problem.error(uniform):.4g}",
        "ratio": problem.error(uniform) / same_speed.error,
    }
    same_error = exact(problem, MaxError(problem.error(uniform)))
    yield {
        "name": f"{name}: speed-up at the rmse of W4A4",
        "value": same_error.speed_up,
        "unit": "x W8A8",
        "rival": f"W4A4, {problem.speed_up(uniform):.2f}x",
        "ratio": same_error.speed_up / problem.speed_up(uniform),
    }


def _seconds(name: str, seconds: float) -> dict[str, Any]:
    return {"name": name, "value": seconds, "unit": "s"}
