"""One way to ask for a solution, by whichever method, and to find it again."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from dybit.quant.search.cache import Cache
from dybit.quant.search.constraints import Constraint
from dybit.quant.search.exact import exact
from dybit.quant.search.greedy import Ranking, greedy
from dybit.quant.search.problem import Problem
from dybit.quant.search.solution import Solution

__all__ = ["Method", "solve"]


class Method(StrEnum):
    """How a choice is found."""

    EXACT = "exact"
    GREEDY = "greedy"


def solve(
    problem: Problem,
    constraint: Constraint,
    method: Method = Method.EXACT,
    *,
    ranking: Ranking | None = None,
    top: int = 1,
    cache: Cache | None = None,
) -> Solution:
    """Return what `exact` or `greedy` finds, from the cache if it was found before.

    Parameters
    ----------
    problem, constraint
        As there.
    method : Method
    ranking, top
        As in `greedy`.
    cache : Cache, optional
    """
    constraint.check(problem)
    kept = Cache(None) if cache is None else cache

    def compute() -> dict[str, object]:
        if method is Method.EXACT:
            found = exact(problem, constraint)
        else:
            found = greedy(problem, constraint, ranking, top)
        return {"choice": found.choice.tolist(), "method": found.method, "bound": found.bound}

    asked = (method.value, None if ranking is None else ranking.value, top)
    found = kept.get(("solution", problem.digest(), repr(constraint), asked), compute)
    choice = np.array(found["choice"], np.intp)
    return Solution.of(problem, constraint, choice, found["method"], found["bound"])
