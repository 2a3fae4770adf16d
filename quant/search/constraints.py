"""What a search must keep to, and what it says when nothing does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from dybit.quant.search.errors import SearchError
from dybit.quant.search.problem import Choice, Problem

__all__ = ["Constraint", "MaxError", "MinSpeedUp"]


@dataclass(frozen=True, slots=True)
class MinSpeedUp:
    """At least `factor` times as fast as W8A8 on the same array, with least error.

    Parameters
    ----------
    factor : float
        The paper's alpha.
    """

    factor: float

    def __post_init__(self) -> None:
        _check("speed-up", self.factor)

    def budget(self, problem: Problem) -> int:
        """Return the most cycles with which the speed-up, as a float, is reached."""
        cycles = max(1, math.floor(problem.baseline / self.factor))
        # The quotient's rounding may be a cycle off.
        while problem.baseline / (cycles + 1) >= self.factor:
            cycles += 1
        while cycles and problem.baseline / cycles < self.factor:
            cycles -= 1
        return cycles

    def holds(self, problem: Problem, choice: Choice) -> bool:
        """Return whether a choice keeps to it."""
        return problem.total_cycles(choice) <= self.budget(problem)

    def check(self, problem: Problem) -> None:
        """Raise `SearchError` if no choice keeps to it."""
        fastest = problem.fastest
        if not self.holds(problem, fastest):
            raise SearchError(
                f"speed-up must be at most {_below(problem.speed_up(fastest))} for {problem.name} "
                f"in modes {_modes(problem)}, not {self.factor:.10g}"
            )

    def __str__(self) -> str:
        return f"speed-up of at least {self.factor:g}"


@dataclass(frozen=True, slots=True)
class MaxError:
    """A network's error of at most `bound`, in fewest cycles.

    Parameters
    ----------
    bound : float
        The paper's beta, where the error is RMSE.
    """

    bound: float

    def __post_init__(self) -> None:
        _check("error", self.bound)

    def holds(self, problem: Problem, choice: Choice) -> bool:
        """Return whether a choice keeps to it."""
        return problem.error(choice) <= self.bound

    def check(self, problem: Problem) -> None:
        """Raise `SearchError` if no choice keeps to it."""
        exact = problem.most_exact
        if not self.holds(problem, exact):
            raise SearchError(
                f"{problem.measure} must be at least {_above(problem.error(exact))} for "
                f"{problem.name} in modes {_modes(problem)}, not {self.bound:.10g}"
            )

    def __str__(self) -> str:
        return f"error of at most {self.bound:g}"


Constraint: TypeAlias = MinSpeedUp | MaxError


def _check(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SearchError(f"{name} must be a number, not {value!r}")
    if not (math.isfinite(value) and value > 0):
        raise SearchError(f"{name} must be positive and finite, not {value!r}")


def _modes(problem: Problem) -> str:
    return ", ".join(mode.name for mode in problem.modes)


def _below(value: float) -> str:
    """Return a short number that is feasible as a lower bound: rounded down."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 5)
    return f"{math.floor(value / unit) * unit:.6g}"


def _above(value: float) -> str:
    """Return a short number that is feasible as an upper bound: rounded up."""
    if not value:
        return "0"
    unit = 10.0 ** (math.floor(math.log10(value)) - 5)
    return f"{math.ceil(value / unit) * unit:.6g}"
