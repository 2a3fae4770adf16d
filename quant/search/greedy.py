"""The two strategies of the paper's Algorithm 1, as far as its description reaches.

Layers are ranked, the widths of the first k lowered, the network evaluated again, until the
constraint is met or nothing can be lowered within it. What the description leaves open is ours:
the ratio is the error that a step adds for each cycle it saves; a step takes one layer to the
narrower mode of least ratio; an activation width that other layers share goes down for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from dybit.quant.precision import PrecisionMode
from dybit.quant.search.constraints import Constraint, MinSpeedUp
from dybit.quant.search.errors import SearchError
from dybit.quant.search.problem import Choice, Problem
from dybit.quant.search.solution import Solution

__all__ = ["Ranking", "greedy"]


class Ranking(StrEnum):
    """By what layers are ranked."""

    LATENCY = "latency"
    RATIO = "ratio"


def greedy(
    problem: Problem,
    constraint: Constraint,
    ranking: Ranking | None = None,
    top: int = 1,
    progress: Callable[[Choice], None] | None = None,
) -> Solution:
    """Lower widths until the speed-up is reached, or as long as the error allows.

    Parameters
    ----------
    problem : Problem
    constraint : Constraint
    ranking : Ranking, optional
        Of layers: by latency, the slowest first, where the speed-up is constrained; by ratio, the
        least first, where the error is.
    top : int
        Layers whose widths are lowered before all are ranked anew, k.
    progress : callable, optional
        Called with the choice after each step.

    Raises
    ------
    SearchError
        If no choice keeps to the constraint; the message says how near one comes.
    """
    if type(top) is not int or top < 1:
        raise SearchError(f"top must be an integer of at least 1, not {top!r}")
    constraint.check(problem)
    fast = isinstance(constraint, MinSpeedUp)
    rank = ranking or (Ranking.LATENCY if fast else Ranking.RATIO)
    most = float("inf") if isinstance(constraint, MinSpeedUp) else constraint.bound
    descent = _Descent(problem, most)
    done = fast and constraint.holds(problem, descent.result)
    while not done:
        ranked = descent.ranked(rank)[:top]
        # A step may be out of reach by now, if those before it took the layer along.
        for step in filter(None, map(descent.step, ranked)):
            descent.take(step)
            if progress is not None:
                progress(descent.result)
            done = fast and constraint.holds(problem, descent.result)
            if done:
                break
        done = done or not ranked
    # Each step saves cycles, and the fastest choice may lie beyond ones that do not.
    choice = descent.result if constraint.holds(problem, descent.result) else problem.fastest
    return Solution.of(problem, constraint, choice, f"greedy by {rank}, top {top}")


@dataclass(frozen=True, slots=True)
class _Step:
    """One layer, and those it takes along, to lower widths.

    Attributes
    ----------
    changes : tuple of (int, int)
        Layers and their new modes.
    saved : int
        Cycles.
    added : float
        Error.
    """

    changes: tuple[tuple[int, int], ...]
    saved: int
    added: float

    @property
    def order(self) -> tuple[float, int]:
        """Least ratio first, of equals the one that saves most."""
        return self.added / self.saved, -self.saved


class _Descent:
    """The choice so far, and the steps that lead down from it.

    Python's own numbers: the arrays are too small for NumPy to pay.
    """

    def __init__(self, problem: Problem, bound: float) -> None:
        self._problem, self._bound = problem, bound
        self._cycles: list[list[int]] = problem.cycles.tolist()
        self._errors: list[list[float]] = problem.errors.tolist()
        self._choice: list[int] = problem.most_exact.tolist()
        self._mates: list[list[int]] = [[] for _ in problem.layers]
        for members in problem.members:
            for place in members:
                self._mates[place] = members.tolist()
        places = range(len(problem.layers))
        self._lower = [
            [list(self._below(place, mode)) for mode in problem.modes] for place in places
        ]
        self._carried = [
            [
                {
                    bits: self._carry(place, mode, bits)
                    for bits in {m.activation_bits for m in problem.modes}
                }
                for mode in problem.modes
            ]
            for place in places
        ]

    @property
    def result(self) -> Choice:
        """The choice."""
        return np.array(self._choice, np.intp)

    def ranked(self, ranking: Ranking) -> list[int]:
        """Return the layers that have a step, the first to go down first."""
        steps = {place: self.step(place) for place in range(len(self._choice))}
        able = {place: step for place, step in steps.items() if step is not None}
        if ranking is Ranking.RATIO:
            return sorted(able, key=lambda place: able[place].order)
        return sorted(able, key=lambda place: -self._cycles[place][self._choice[place]])

    def step(self, place: int) -> _Step | None:
        """Return the best step of a layer that saves cycles and keeps to the bound."""
        error = sum(self._errors[i][mode] for i, mode in enumerate(self._choice))
        steps = (self._towards(place, mode) for mode in self._lower[place][self._choice[place]])
        able = [
            step
            for step in steps
            if step is not None and step.saved > 0 and error + step.added <= self._bound
        ]
        return min(able, key=lambda step: step.order, default=None)

    def take(self, step: _Step) -> None:
        """Go down one step."""
        for place, mode in step.changes:
            self._choice[place] = mode

    def _towards(self, place: int, target: int) -> _Step | None:
        bits = self._problem.modes[target].activation_bits
        changes, saved, added = [], 0, 0.0
        for mate in self._mates[place]:
            now = self._choice[mate]
            mode = target if mate == place else self._carried[mate][now][bits]
            if mode is None:
                return None
            if mode != now:
                changes.append((mate, mode))
                saved += self._cycles[mate][now] - self._cycles[mate][mode]
                added += self._errors[mate][mode] - self._errors[mate][now]
        return _Step(tuple(changes), saved, added)

    def _below(self, place: int, mode: PrecisionMode) -> Iterator[int]:
        """Yield the modes of a layer that are narrower in one width and wider in none."""
        for index, other in enumerate(self._problem.modes):
            wider = (
                other.weight_bits > mode.weight_bits or other.activation_bits > mode.activation_bits
            )
            if other != mode and not wider and self._problem.allowed[place, index]:
                yield index

    def _carry(self, place: int, mode: PrecisionMode, bits: int) -> int | None:
        """Return the mode that a layer takes when its activations get so wide: its weights stay.

        If they cannot, they get as little narrower, or else as little wider, as there is.
        """
        found = [
            index
            for index, other in enumerate(self._problem.modes)
            if other.activation_bits == bits and self._problem.allowed[place, index]
        ]
        excess = {i: self._problem.modes[i].weight_bits - mode.weight_bits for i in found}
        return min(found, key=lambda i: (excess[i] > 0, abs(excess[i])), default=None)
