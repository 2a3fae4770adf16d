"""The search itself: greedy, exact and fronts, with every combination tried as the oracle."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from dybit.quant.precision import MODES, PrecisionMode
from dybit.quant.search import (
    MaxError,
    MinSpeedUp,
    OperandErrors,
    Problem,
    Ranking,
    SearchError,
    exact,
    exact_front,
    greedy,
    greedy_front,
    rmse,
)
from dybit.quant.search.cache import Cache
from dybit.quant.search.problem import Choice
from dybit.quant.search.solver import Method, solve
from dybit.quant.workloads import LayerShape, Workload, table

W8A8, W4A4, W2A2 = (PrecisionMode.parse(name) for name in ("W8A8", "W4A4", "W2A2"))


def random_problem(seed: int, monotone: bool) -> Problem:
    """A few layers, some of which share a tensor, in some of the modes."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 6))
    chosen = rng.permutation(len(MODES))[: rng.integers(1, len(MODES) + 1)]
    modes = tuple(MODES[i] for i in sorted(chosen))
    groups, numbers = rng.integers(0, 3, count), {}
    for group in groups:
        numbers.setdefault(int(group), len(numbers))
    cycles = rng.integers(0 if not monotone else 50, 200, (count, len(modes)))
    errors = rng.random((count, len(modes))) ** 3
    if monotone:
        widths = np.array([mode.weight_bits * mode.activation_bits for mode in modes])
        cycles, errors = cycles * widths, errors / 4.0**widths**0.5
    return Problem(
        f"problem {seed}",
        tuple(f"layer{i}" for i in range(count)),
        modes,
        cycles.astype(np.int64),
        rng.integers(100, 9000, count),
        int(rng.integers(0, 50)),
        errors,
        np.ones((count, len(modes)), np.bool_),
        np.array([numbers[int(group)] for group in groups], np.intp),
        "rmse",
    )


def combinations(problem: Problem) -> Iterator[tuple[int, float, Choice]]:
    """Every choice in which layers of a group agree: its cycles, its error, and itself."""
    for modes in itertools.product(range(len(problem.modes)), repeat=len(problem.layers)):
        widths: dict[int, set[int]] = {}
        for group, mode in zip(problem.groups, modes, strict=True):
            widths.setdefault(int(group), set()).add(problem.modes[mode].activation_bits)
        if all(len(found) == 1 for found in widths.values()):
            cycles = problem.other_cycles + sum(
                int(problem.cycles[i, m]) for i, m in enumerate(modes)
            )
            error = sum(float(problem.errors[i, m]) for i, m in enumerate(modes))
            yield cycles, error, np.array(modes)


SEEDS = range(60)


@pytest.mark.parametrize("seed", SEEDS)
def test_exact_is_the_best_of_all_combinations(seed: int) -> None:
    problem = random_problem(seed, monotone=seed % 2 == 0)
    known = [(cycles, error) for cycles, error, _ in combinations(problem)]
    rng = np.random.default_rng(seed)
    for cycles, error in (known[int(i)] for i in rng.integers(0, len(known), 3)):
        factor = problem.baseline / max(1, cycles)
        found = exact(problem, MinSpeedUp(factor))
        least = min(e for c, e in known if problem.baseline / max(1, c) >= factor)
        assert found.error == pytest.approx(least, rel=1e-9)
        assert found.speed_up >= factor
        assert found.gap == pytest.approx(0, abs=1e-6)

        bound = error * (1 + 1e-12)
        fast = exact(problem, MaxError(bound))
        fewest = min(c for c, e in known if e <= bound)
        assert fast.cycles == fewest
        assert fast.error == pytest.approx(min(e for c, e in known if c == fewest), rel=1e-9)
        assert fast.error <= bound
        assert fast.gap == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_greedy_keeps_to_its_constraint_and_to_the_groups(seed: int) -> None:
    problem = random_problem(seed, monotone=seed % 2 == 0)
    known = list(combinations(problem))
    allowed = {tuple(choice) for _, _, choice in known}
    rng = np.random.default_rng(seed)
    for place in rng.integers(0, len(known), 3):
        cycles, error, _ = known[int(place)]
        for ranking, top in itertools.product(Ranking, (1, 2, 9)):
            factor = problem.baseline / max(1, cycles)
            found = greedy(problem, MinSpeedUp(factor), ranking, top)
            assert tuple(found.choice) in allowed
            assert problem.baseline / max(1, found.cycles) >= factor
            assert found.gap is None
            bound = error * (1 + 1e-12)
            found = greedy(problem, MaxError(bound), ranking, top)
            assert tuple(found.choice) in allowed
            assert sum(problem.errors[i, m] for i, m in enumerate(found.choice)) <= bound


@pytest.mark.parametrize("seed", SEEDS[:20])
def test_exact_where_many_choices_are_equal_or_nearly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (4, 3)
    # Errors that a solver's tolerance does not tell from tenths, and few different cycles.
    errors = rng.integers(0, 4, shape) / 10 + rng.integers(0, 2, shape) * 1e-11
    problem = small(rng.integers(1, 5, shape).tolist(), errors.tolist(), [0, 1, 2, 2])
    known = [(cycles, error) for cycles, error, _ in combinations(problem)]
    for tenths in range(1, 8):
        bound = tenths / 10 + 1e-14
        if not any(error <= bound for _, error in known):
            continue
        found = exact(problem, MaxError(bound))
        fewest = min(cycles for cycles, error in known if error <= bound)
        assert (found.cycles, found.error <= bound) == (fewest, True)
        least = min(error for cycles, error in known if cycles == fewest)
        assert found.error == pytest.approx(least, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_budget_is_the_most_cycles_that_reach_the_factor(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(300):
        cycles = int(rng.integers(2, 10 ** int(rng.integers(1, 10))))
        problem = small([[int(rng.integers(cycles, 10**10)), 1, 1]], [[0.0, 0, 0]], [0])
        reached = problem.baseline / cycles
        for factor in (reached, np.nextafter(reached, 0), np.nextafter(reached, np.inf)):
            budget = MinSpeedUp(float(factor)).budget(problem)
            assert problem.baseline / budget >= factor > problem.baseline / (budget + 1)


@pytest.mark.parametrize("seed", SEEDS[:20])
def test_fastest_and_most_exact(seed: int) -> None:
    problem = random_problem(seed, monotone=False)
    known = list(combinations(problem))
    fewest = min(cycles for cycles, _, _ in known)
    assert problem.total_cycles(problem.fastest) == fewest
    assert problem.error(problem.fastest) == pytest.approx(
        min(error for cycles, error, _ in known if cycles == fewest)
    )
    assert problem.error(problem.most_exact) == pytest.approx(min(e for _, e, _ in known))


@pytest.mark.parametrize("seed", SEEDS[:12])
def test_front_is_the_undominated_part(seed: int) -> None:
    problem = random_problem(seed, monotone=True)
    known = list(combinations(problem))
    for front in (exact_front(problem, 5), greedy_front(problem)):
        assert [p.cycles for p in front] == sorted({p.cycles for p in front}, reverse=True)
        assert [p.error for p in front] == sorted({p.error for p in front})
    slack = 1 - 1e-9
    for point in exact_front(problem, 5):
        assert not any(c <= point.cycles and e < point.error * slack for c, e, _ in known)
    assert exact_front(problem, 2)[0].error == pytest.approx(min(e for _, e, _ in known))
    assert exact_front(problem, 2)[-1].cycles == min(c for c, _, _ in known)


def small(cycles: list[list[int]], errors: list[list[float]], groups: list[int]) -> Problem:
    """Layers a, b, ... in W8A8, W4A4 and W2A2."""
    shape = (len(groups), 3)
    return Problem(
        "small",
        tuple("abcdef"[: len(groups)]),
        (W8A8, W4A4, W2A2),
        np.array(cycles, np.int64),
        np.array(cycles, np.int64)[:, 0],
        0,
        np.array(errors),
        np.ones(shape, np.bool_),
        np.array(groups, np.intp),
        "rmse",
    )


TWO = small([[100, 30, 20], [80, 20, 10]], [[0, 0.5, 0.9], [0, 0.1, 0.8]], [0, 1])


def test_greedy_by_latency_lowers_the_slowest_layer_first() -> None:
    # 180 cycles: a is the slower one, and to W4A4 its error grows least for each cycle.
    found = greedy(TWO, MinSpeedUp(1.5))
    assert [mode.name for mode in found.modes.values()] == ["W4A4", "W8A8"]
    assert (found.cycles, found.error) == (110, 0.5)
    # b is, then.
    assert greedy(TWO, MinSpeedUp(3)).cycles == 50


def test_greedy_by_ratio_lowers_what_costs_least_first() -> None:
    found = greedy(TWO, MinSpeedUp(1.5), Ranking.RATIO)
    assert [mode.name for mode in found.modes.values()] == ["W8A8", "W4A4"]
    assert greedy(TWO, MaxError(0.55)).cycles == 120
    assert greedy(TWO, MaxError(0.65)).cycles == 50


def test_top_lowers_several_layers_before_ranking_anew() -> None:
    cycles = [[100, 90, 80], [60, 50, 40], [50, 40, 30]]
    problem = small(cycles, [[0, 0.1, 0.9]] * 3, [0, 1, 2])
    one, two = (greedy(problem, MinSpeedUp(210 / 190), top=k).modes for k in (1, 2))
    # After one step a is the slowest still; two at once take b.
    assert [mode.name for mode in one.values()] == ["W2A2", "W8A8", "W8A8"]
    assert [mode.name for mode in two.values()] == ["W4A4", "W4A4", "W8A8"]


def test_layers_of_one_tensor_go_down_together() -> None:
    problem = small([[100, 30, 20], [80, 20, 10]], [[0, 0.5, 0.9], [0, 0.1, 0.8]], [0, 0])
    for found in (greedy(problem, MinSpeedUp(1.2)), exact(problem, MinSpeedUp(1.2))):
        assert [mode.name for mode in found.modes.values()] == ["W4A4", "W4A4"]


def test_a_choice_that_splits_a_group_is_refused() -> None:
    problem = small([[3, 2, 1]] * 2, [[0, 1, 2]] * 2, [0, 0])
    with pytest.raises(SearchError, match=r"^a, b: must have one activation width"):
        problem.check(np.array([0, 1]))


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        (MinSpeedUp(7), "speed-up must be at most 6 for small in modes W8A8, W4A4, W2A2, not 7"),
        (MinSpeedUp(6.1), r"speed-up must be at most 6 for .*, not 6\.1$"),
    ],
)
def test_unreachable_speed_up_names_the_nearest(constraint: MinSpeedUp, message: str) -> None:
    for method in Method:
        with pytest.raises(SearchError, match=message):
            solve(TWO, constraint, method)
    assert solve(TWO, MinSpeedUp(6)).speed_up == 6


def test_unreachable_error_names_the_nearest() -> None:
    problem = small([[3, 2, 1]] * 3, [[1 / 3, 1, 2]] * 3, [0, 1, 2])
    with pytest.raises(SearchError, match=r"^rmse must be at least 1 for small .*, not 0\.99$"):
        exact(problem, MaxError(0.99))
    assert exact(problem, MaxError(1)).cycles == 9


@pytest.mark.parametrize("seed", SEEDS[:20])
def test_the_nearest_value_named_is_feasible(seed: int) -> None:
    problem = random_problem(seed, monotone=False)
    for constraint, kind in ((MinSpeedUp(1e9), MinSpeedUp), (MaxError(1e-300), MaxError)):
        with pytest.raises(SearchError) as refused:
            exact(problem, constraint)
        assert len(str(refused.value).splitlines()) == 1
        nearest = float(str(refused.value).split(" for ")[0].rpartition(" ")[2])
        exact(problem, kind(nearest))
        near = nearest * (1.001 if kind is MinSpeedUp else 0.999)
        with pytest.raises(SearchError, match="must be at"):
            exact(problem, kind(near))


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "4", True])
def test_constraints_must_be_positive_numbers(value: float) -> None:
    for kind, name in ((MinSpeedUp, "speed-up"), (MaxError, "error")):
        with pytest.raises(SearchError, match=rf"^{name} must be (positive and finite|a number)"):
            kind(value)


def test_top_and_points_are_checked() -> None:
    with pytest.raises(SearchError, match="top must be an integer of at least 1, not 0"):
        greedy(TWO, MinSpeedUp(2), top=0)
    with pytest.raises(SearchError, match="points must be an integer of at least 2, not 1"):
        exact_front(TWO, 1)


def cost(layer: LayerShape, mode: PrecisionMode) -> int:
    """Tiles of a 16 x 16 array, in cycles that overlap nothing."""
    k_tiles = -(-layer.reduction // (16 * mode.channels))
    n_tiles = -(-(layer.outputs // layer.groups) // (16 * mode.lanes))
    return layer.groups * (k_tiles * n_tiles * (layer.pixels + 16) + 40)


def errors_of(workload: Workload, seed: int = 1) -> dict[tuple[str, int], OperandErrors]:
    rng = np.random.default_rng(seed)
    least = {8: 1e-4, 4: 1e-2, 2: 1e-1}
    return {
        (layer.name, bits): OperandErrors(error * float(rng.uniform(0.5, 2)), 1.0)
        for layer in workload.array_layers
        for bits, error in least.items()
    }


def table_problem(name: str, **options: object) -> Problem:
    workload = table(name)
    found = rmse(workload, MODES, errors_of(workload), errors_of(workload, 2))
    return Problem.build(workload, MODES, cost, found, **options)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2", "alexnet"])
def test_published_networks_are_solved_to_the_proof(name: str) -> None:
    problem = table_problem(name)
    factor = problem.speed_up(problem.fastest) ** 0.5
    best, by_latency, by_ratio = (
        exact(problem, MinSpeedUp(factor)),
        greedy(problem, MinSpeedUp(factor)),
        greedy(problem, MinSpeedUp(factor), Ranking.RATIO),
    )
    assert best.gap == 0
    assert best.error <= min(by_latency.error, by_ratio.error)
    assert by_ratio.error <= 1.2 * best.error
    for found in (best, by_latency, by_ratio):
        widths = table(name).widths(found.modes)  # raises where readers of a tensor differ
        for layer in table(name).array_layers:
            assert widths[layer.inputs[0]] == found.modes[layer.name].activation_bits


def test_without_a_proof_the_gap_says_so() -> None:
    problem = table_problem("resnet50")
    for factor in (1.5, 2.5, 6.0):
        constraint = MinSpeedUp(factor)
        best, hasty = exact(problem, constraint), exact(problem, constraint, nodes=0)
        assert hasty.speed_up >= factor
        assert hasty.error <= min(greedy(problem, constraint, by).error for by in Ranking)
        assert hasty.bound is not None
        assert hasty.gap is not None
        assert hasty.bound <= best.error * (1 + 1e-9) <= hasty.error * (1 + 2e-9)
        assert hasty.gap >= (hasty.error - best.error) / hasty.error - 1e-9


def test_solutions_do_not_vary() -> None:
    first, second = (exact(table_problem("resnet18"), MaxError(0.1)) for _ in range(2))
    assert first.choice.tolist() == second.choice.tolist()
    assert table_problem("resnet18").digest() == table_problem("resnet18").digest()
    assert table_problem("resnet18").digest() != table_problem("alexnet").digest()


def test_pinned_layers_keep_their_mode() -> None:
    pins = {"conv1": W8A8, "fc": W8A8, "layer1.0.conv2": W2A2}
    problem = table_problem("resnet18", pins=pins)
    for found in (exact(problem, MinSpeedUp(3)), greedy(problem, MinSpeedUp(3))):
        assert {name: found.modes[name] for name in pins} == pins


def test_pins_that_cannot_be_are_refused() -> None:
    with pytest.raises(SearchError, match=r"pin conv9: no such layer; must be one of conv1, "):
        table_problem("resnet18", pins={"conv9": W8A8})
    # Both read what the block before makes.
    pins = {"layer2.0.conv1": W8A8, "layer2.0.downsample.0": W4A4}
    with pytest.raises(SearchError, match=r"layer2\.0\.conv1, layer2\.0\.downsample\.0 read one"):
        table_problem("resnet18", pins=pins)
    workload = table("resnet18")
    found = rmse(workload, MODES, errors_of(workload), errors_of(workload))
    with pytest.raises(SearchError, match="pin fc: W2A2 is not allowed; must be one of W8A8, W4A4"):
        Problem.build(workload, (W8A8, W4A4), cost, found, pins={"fc": W2A2})


def test_speed_up_is_over_w8a8_even_where_it_is_not_built() -> None:
    workload = table("alexnet")
    found = rmse(workload, MODES, errors_of(workload), errors_of(workload))
    narrow = Problem.build(workload, (W4A4,), cost, found)
    cycles = sum(cost(layer, W4A4) for layer in workload.array_layers)
    wide = sum(cost(layer, W8A8) for layer in workload.array_layers)
    assert narrow.speed_up(narrow.fastest) == wide / cycles
    others = Problem.build(workload, (W4A4,), cost, found, other_cycles=1000)
    assert others.speed_up(others.fastest) == (wide + 1000) / (cycles + 1000)


def test_solutions_are_kept(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path)
    first = solve(TWO, MinSpeedUp(2), cache=cache)
    monkeypatch.setattr("dybit.quant.search.solver.exact", None)
    second = solve(TWO, MinSpeedUp(2), cache=cache)
    assert (cache.hits, cache.misses) == (1, 1)
    assert (first.modes, first.gap, first.method) == (second.modes, second.gap, second.method)
    with pytest.raises(TypeError):
        solve(TWO, MinSpeedUp(2.5), cache=cache)
