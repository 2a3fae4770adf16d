"""Speed-up against error: the choices that no other beats in both."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from dybit.quant.search.constraints import MaxError, MinSpeedUp
from dybit.quant.search.errors import SearchError
from dybit.quant.search.exact import exact
from dybit.quant.search.greedy import Ranking, greedy
from dybit.quant.search.problem import Choice, Problem
from dybit.quant.search.solution import Solution

__all__ = ["exact_front", "greedy_front", "undominated"]

POINTS = 16


def exact_front(
    problem: Problem,
    points: int = POINTS,
    progress: Callable[[], None] | None = None,
    solve: Callable[[Problem, MinSpeedUp], Solution] = exact,
) -> list[Solution]:
    """Return optimal choices from the most exact to the fastest, both among them.

    Parameters
    ----------
    problem : Problem
    points : int
        Speed-ups asked for, in equal ratios; at least 2.
    progress : callable, optional
        Called after each.
    solve : callable
        `exact`, or what remembers its results.
    """
    if type(points) is not int or points < 2:
        raise SearchError(f"points must be an integer of at least 2, not {points!r}")
    slowest, fastest = (problem.speed_up(c) for c in (problem.most_exact, problem.fastest))
    found = []
    for factor in np.geomspace(slowest, fastest, points):
        # The ends as they are: a power's last bit may lie beyond the fastest.
        found.append(solve(problem, MinSpeedUp(float(np.clip(factor, slowest, fastest)))))
        if progress is not None:
            progress()
    return undominated(found)


def greedy_front(
    problem: Problem, ranking: Ranking = Ranking.RATIO, top: int = 1
) -> list[Solution]:
    """Return the choices that one greedy descent passes through, but for those others beat."""
    passed: list[Choice] = [problem.most_exact]
    greedy(problem, MaxError(_worst(problem)), ranking, top, passed.append)
    method = f"greedy by {ranking}, top {top}"
    return undominated(
        Solution.of(problem, MinSpeedUp(problem.speed_up(choice)), choice, method)
        for choice in passed
    )


def undominated(solutions: Iterable[Solution]) -> list[Solution]:
    """Return the solutions that no other beats in cycles and error, the slowest first."""
    kept: list[Solution] = []
    for solution in sorted(solutions, key=lambda s: (s.cycles, s.error)):
        if not kept or solution.error < kept[-1].error:
            kept.append(solution)
    return kept[::-1]


def _worst(problem: Problem) -> float:
    """Return an error that no choice exceeds."""
    return float(problem.errors.max(axis=1).sum() * 2) or 1.0
