"""Which widths each layer gets: hardware-aware search by greedy strategies, or exactly."""

from __future__ import annotations

from dybit.quant.search.constraints import Constraint, MaxError, MinSpeedUp
from dybit.quant.search.errors import SearchError
from dybit.quant.search.exact import exact
from dybit.quant.search.front import exact_front, greedy_front, undominated
from dybit.quant.search.greedy import Ranking, greedy
from dybit.quant.search.problem import CostModel, Problem
from dybit.quant.search.sensitivity import Measure, OperandErrors, Sensitivity, rmse
from dybit.quant.search.solution import Solution

__all__ = [
    "Constraint",
    "CostModel",
    "MaxError",
    "Measure",
    "MinSpeedUp",
    "OperandErrors",
    "Problem",
    "Ranking",
    "SearchError",
    "Sensitivity",
    "Solution",
    "exact",
    "exact_front",
    "greedy",
    "greedy_front",
    "rmse",
    "undominated",
]
