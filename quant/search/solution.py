"""What a search found, and the quant config made of it."""

from __future__ import annotations

from dataclasses import dataclass

from dybit.quant.precision import PrecisionMode
from dybit.quant.search.constraints import Constraint, MinSpeedUp
from dybit.quant.search.problem import Choice, Problem

__all__ = ["Solution"]

ROUNDING = 1e-9
"""Share of the objective that is no gap."""


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """A choice that keeps to its constraint.

    Attributes
    ----------
    modes : dict of str to PrecisionMode
        Of each layer on the array.
    cycles : int
    speed_up, error : float
    constraint : Constraint
    method : str
    bound : float, optional
        No choice within the constraint does better: at least this error where the speed-up is
        constrained, at least so many cycles where the error is. None where nothing was proved.
    choice : Choice
    """

    modes: dict[str, PrecisionMode]
    cycles: int
    speed_up: float
    error: float
    constraint: Constraint
    method: str
    bound: float | None
    choice: Choice

    @classmethod
    def of(
        cls,
        problem: Problem,
        constraint: Constraint,
        choice: Choice,
        method: str,
        bound: float | None = None,
    ) -> Solution:
        """Return what a choice amounts to."""
        problem.check(choice)
        return cls(
            problem.by_name(choice),
            problem.total_cycles(choice),
            problem.speed_up(choice),
            problem.error(choice),
            constraint,
            method,
            bound,
            choice,
        )

    @property
    def objective(self) -> float:
        """What was to be small: the error where the speed-up is constrained, else cycles."""
        return self.error if isinstance(self.constraint, MinSpeedUp) else float(self.cycles)

    @property
    def gap(self) -> float | None:
        """Share of the objective by which the optimum may be better; None if nothing is proved."""
        if self.bound is None:
            return None
        excess = self.objective - self.bound
        # Both are sums of floats, added up in different orders.
        return excess / self.objective if excess > ROUNDING * self.objective else 0.0
