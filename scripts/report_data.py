"""What a report shows of a network: the choices of both strategies, and where their cycles go."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from dybit.quant.config import QuantConfig
from dybit.quant.search import (
    Constraint,
    CostModel,
    MaxError,
    MinSpeedUp,
    Problem,
    Ranking,
    Solution,
    greedy_front,
    undominated,
)
from dybit.quant.search.cache import Cache
from dybit.quant.search.found_config import found_config
from dybit.quant.search.solver import Method, solve
from dybit.scripts.search_target import Target
from dybit.sim.cycles import AcceleratorCost, LayerCycles, network_cycles

__all__ = ["NetworkResults", "StrategyResults", "network_results", "steps"]


@dataclass(frozen=True, slots=True, eq=False)
class StrategyResults:
    """What one strategy finds.

    Attributes
    ----------
    name : str
        Such as "speed-up constrained".
    greedy, exact : list of Solution
        For constraints from the loosest to the tightest.
    shown, shown_greedy : Solution
        For the one constraint that is looked at layer by layer.
    layers : list of LayerCycles
        Of `shown`, as the search counts them; none where it counts the matrix engine's cycles.
    cycles : int
        Of `shown`, outputs as wide as they are read; 0 where there are no `layers`.
    config : str
        Of `shown`, as TOML.
    """

    name: str
    greedy: list[Solution]
    exact: list[Solution]
    shown: Solution
    shown_greedy: Solution
    layers: list[LayerCycles]
    cycles: int
    config: str


@dataclass(frozen=True, slots=True, eq=False)
class NetworkResults:
    """What a report shows of one network.

    Attributes
    ----------
    target : Target
    problem : Problem
    note : str
        Of what the cycles are.
    uniform : list of Solution
        Every layer in one mode, for each mode; the mode is the method's name.
    front : list of Solution
        Of all optima, those that no other beats.
    descents : list of list of Solution
        Of the greedy algorithm, by each ranking.
    strategies : tuple of StrategyResults
    """

    target: Target
    problem: Problem
    note: str
    uniform: list[Solution]
    front: list[Solution]
    descents: list[list[Solution]]
    strategies: tuple[StrategyResults, StrategyResults]


def steps(points: int) -> int:
    """Return how often `network_results` reports progress."""
    return 4 * (points + 1)


def network_results(
    target: Target,
    problem: Problem,
    base: QuantConfig,
    cost: tuple[CostModel, str],
    points: int,
    shown: tuple[float | None, float | None],
    cache: Cache,
    progress: Callable[[], None],
) -> NetworkResults:
    """Search a network under constraints from end to end.

    Parameters
    ----------
    target : Target
    problem : Problem
    base : QuantConfig
        Its array has all modes of the problem.
    cost : tuple of CostModel and str
        As the problem has it, and of what its cycles are.
    points : int
        Constraints of each strategy, in equal ratios.
    shown : pair of float or None
        Speed-up and error that are looked at layer by layer; default: the middle of what can be
        had, in ratio.
    cache : Cache
    progress : callable
        Called `steps` times.
    """
    exactest, fastest = problem.most_exact, problem.fastest
    speeds = problem.speed_up(exactest), problem.speed_up(fastest)
    errors = problem.error(exactest), problem.error(fastest)
    found = []
    for name, kind, ends, value in (
        ("speed-up constrained", MinSpeedUp, speeds, shown[0]),
        ("RMSE constrained", MaxError, errors, shown[1]),
    ):
        bounds = [float(each) for each in np.geomspace(*ends, points).clip(min(ends), max(ends))]
        one = kind(_middle(*ends) if value is None else value)
        found.append(
            _strategy(
                name,
                [kind(each) for each in bounds],
                one,
                target,
                problem,
                base,
                cost[0],
                partial(_solved, problem, cache, progress),
            )
        )
    return NetworkResults(
        target,
        problem,
        cost[1],
        _uniform(problem),
        undominated([*found[0].exact, *found[1].exact]),
        [greedy_front(problem, ranking) for ranking in Ranking],
        (found[0], found[1]),
    )


def _middle(start: float, end: float) -> float:
    """Return a short number near the middle, in ratio, that lies between two."""
    return float(np.clip(float(f"{np.sqrt(start * end):.3g}"), min(start, end), max(start, end)))


def _solved(
    problem: Problem,
    cache: Cache,
    progress: Callable[[], None],
    constraint: Constraint,
    method: Method,
) -> Solution:
    solution = solve(problem, constraint, method, cache=cache)
    progress()
    return solution


def _strategy(
    name: str,
    constraints: Sequence[Constraint],
    shown: Constraint,
    target: Target,
    problem: Problem,
    base: QuantConfig,
    cost: CostModel,
    solved: Callable[[Constraint, Method], Solution],
) -> StrategyResults:
    best = solved(shown, Method.EXACT)
    kind = name.partition(" ")[0].lower()
    title = re.sub(r"[^A-Za-z0-9]+", "-", f"{problem.name}-{kind}").strip("-")
    config = found_config(base, target.workload, best.modes, name=title)
    layers, cycles = [], 0
    if isinstance(cost, AcceleratorCost):
        on_array = target.workload.array_layers
        layers = [cost.layer(layer, best.modes[layer.name]) for layer in on_array]
        cycles = sum(each.cycles for each in network_cycles(target.workload, best.modes, cost))
    return StrategyResults(
        name,
        [solved(each, Method.GREEDY) for each in constraints],
        [solved(each, Method.EXACT) for each in constraints],
        best,
        solved(shown, Method.GREEDY),
        layers,
        cycles,
        config.dumps(),
    )


def _uniform(problem: Problem) -> list[Solution]:
    found = []
    for place, mode in enumerate(problem.modes):
        choice = np.full(len(problem.layers), place)
        constraint = MinSpeedUp(problem.speed_up(choice))
        found.append(Solution.of(problem, constraint, choice, mode.name))
    return found
