r"""The best choice there is, by mixed-integer programming, with what was proved of it.

A binary variable :math:`x_{lm}` for each layer l and mode m it may have. Each layer has one,
:math:`\sum_m x_{lm} = 1`; layers l and k that read one tensor have one activation width,
:math:`\sum_{m: a_m = a} x_{lm} = \sum_{m: a_m = a} x_{km}` for each width a. Total error is to be
least with total cycles limited, or the other way round: both are sums over :math:`x`. HiGHS
solves it by branch and bound, and what it has not ruled out is the gap.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array, csr_array

from dybit.quant.search.constraints import Constraint, MinSpeedUp
from dybit.quant.search.greedy import Ranking, greedy
from dybit.quant.search.problem import Choice, Problem
from dybit.quant.search.solution import Solution

__all__ = ["exact"]

SCALE = 1e4
"""What limit and objective are scaled to: HiGHS tells numbers apart that differ by 1e-6."""

NODES = 50_000
"""Nodes after which branching ends without a proof. Unlike seconds, the same on all machines."""

INFEASIBLE = 2
"""Status of a program without solutions, as `scipy.optimize.milp` numbers them."""

ATTEMPTS = 64
"""Programs solved, each without the choices before it that exceeded the limit by rounding."""

_Array = NDArray[np.float64]


def exact(problem: Problem, constraint: Constraint, nodes: int = NODES) -> Solution:
    """Return the best choice within a constraint.

    Of choices equally fast, where the error is constrained, it is the one of least error.

    Parameters
    ----------
    problem : Problem
    constraint : Constraint
    nodes : int
        Most nodes of the branch and bound; beyond, the best choice met is returned, never worse
        than `greedy`'s, with the gap that is left.

    Raises
    ------
    SearchError
        If no choice keeps to the constraint; the message says how near one comes.
    """
    constraint.check(problem)
    known = min((greedy(problem, constraint, by) for by in Ranking), key=lambda s: s.objective)
    cycles = problem.cycles.astype(np.float64)
    program = _Program(problem, nodes)
    if isinstance(constraint, MinSpeedUp):
        limit = float(constraint.budget(problem) - problem.other_cycles)
        choice, bound = program.solve(problem.errors, cycles, limit, constraint, known)
    else:
        choice, least = program.solve(cycles, problem.errors, constraint.bound, constraint, known)
        # A number of cycles is whole.
        bound = float(problem.other_cycles + np.ceil(least - 0.5))
        fastest = Solution.of(problem, constraint, choice, "")
        limit = float(fastest.cycles - problem.other_cycles)
        choice, _ = program.solve(problem.errors, cycles, limit, constraint, fastest)
    return Solution.of(problem, constraint, choice, "exact", bound)


class _Program:
    """The rows that every program of a problem has."""

    def __init__(self, problem: Problem, nodes: int) -> None:
        self._problem, self._nodes = problem, nodes
        self._shape = problem.cycles.shape
        rows: list[NDArray[np.intp]] = []
        signs: list[_Array] = []
        right: list[float] = []
        places = np.arange(problem.cycles.size).reshape(self._shape)

        def equal(one: NDArray[np.intp], other: NDArray[np.intp], value: float) -> None:
            rows.append(np.concatenate([one, other]))
            signs.append(np.concatenate([np.ones(one.size), -np.ones(other.size)]))
            right.append(value)

        for row in places:
            equal(row, row[:0], 1.0)
        for first, *others in problem.members:
            for other in others:
                for bits in np.unique(problem.widths):
                    same = problem.widths == bits
                    equal(places[first, same], places[other, same], 0.0)
        numbers = np.repeat(np.arange(len(rows)), [row.size for row in rows])
        entries = (np.concatenate(signs), (numbers, np.concatenate(rows)))
        shape = (len(rows), places.size)
        self._rules = LinearConstraint(csr_array(coo_array(entries, shape)), right, right)

    def solve(
        self,
        objective: _Array,
        limited: _Array,
        limit: float,
        constraint: Constraint,
        known: Solution,
    ) -> tuple[Choice, float]:
        """Return the choice of least total `objective`, the other total limited, and its bound."""
        rows = np.arange(self._shape[0])
        best, total = known.choice, float(objective[rows, known.choice].sum())
        excluded: list[Choice] = []
        bound = 0.0
        for _ in range(ATTEMPTS):
            choice, bound = self._run(objective, limited, limit, total, excluded)
            if choice is None:
                break
            if limited[rows, choice].sum() <= limit and constraint.holds(self._problem, choice):
                if objective[rows, choice].sum() < total:
                    best = choice
                break
            excluded.append(choice)
        return best, min(bound, float(objective[rows, best].sum()))

    def _run(
        self,
        objective: _Array,
        limited: _Array,
        limit: float,
        known: float,
        excluded: list[Choice],
    ) -> tuple[Choice | None, float]:
        unit = SCALE / known if known > 0 else 1.0
        row = limited.reshape(1, -1) * (SCALE / limit if limit > 0 else 1.0)
        rules = [self._rules, LinearConstraint(row, -np.inf, SCALE if limit > 0 else 0)]
        for choice in excluded:
            # At least one layer must differ.
            chosen = np.zeros(self._shape)
            chosen[np.arange(len(choice)), choice] = 1
            rules.append(LinearConstraint(chosen.reshape(1, -1), -np.inf, len(choice) - 1))
        with _muted():
            result = milp(
                objective.reshape(-1) * unit,
                integrality=np.ones(objective.size),
                bounds=Bounds(0, self._problem.allowed.reshape(-1).astype(np.float64)),
                constraints=rules,
                options={"mip_rel_gap": 0.0, "node_limit": self._nodes},
            )
        if result.status == INFEASIBLE:
            return None, float("inf")
        bound = 0.0 if result.mip_dual_bound is None else float(result.mip_dual_bound) / unit
        if result.x is None:
            return None, bound
        found: Choice = result.x.reshape(self._shape).argmax(axis=1)
        return found, bound


@contextmanager
def _muted() -> Iterator[None]:
    """Drop what HiGHS prints of itself, past Python, whatever it is told."""
    sys.stdout.flush()
    kept = os.dup(1)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(sink)
