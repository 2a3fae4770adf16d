"""A network's part of a report."""

from __future__ import annotations

from html import escape

from dybit.quant.search import Solution
from dybit.scripts.page_parts import figure, table
from dybit.scripts.report_baselines import BLOCKS_OF_ZCU102, FLOATS, float_cycles
from dybit.scripts.report_charts import front_chart, latency_chart, strategy_chart, width_chart
from dybit.scripts.report_data import NetworkResults, StrategyResults

__all__ = ["network_section"]


def network_section(place: str, results: NetworkResults, clock: float) -> list[str]:
    """Return a network's charts, tables and configs, under the name of a place in the page."""
    problem, name = results.problem, results.problem.name
    measure = problem.measure
    lines = [
        f'<section id="{place}">',
        f"<h2>{escape(name)}</h2>",
        f"<p>{len(problem.layers)} layers on the array, {results.target.workload.macs / 1e9:.3f} "
        f"billion multiply-accumulates; {escape(measure)} {escape(results.target.note)}. "
        f"Cycles are {escape(results.note)}. "
        f"{_proof(results)}</p>",
        '<div class="figures">',
    ]
    for strategy in results.strategies:
        chart = strategy_chart(name, strategy, measure)
        text = f"{_title(strategy)}: both methods under the same constraints"
        lines += figure(chart, text, ("exact", "greedy", "exact chosen"))
    lines += figure(
        front_chart(results),
        "Pareto front, with all that greedy descents pass through",
        ("exact", "greedy latency", "greedy ratio", "uniform"),
    )
    lines += ["</div>", *_totals(results, clock)]
    for strategy in results.strategies:
        lines += _strategy(results, strategy)
    return [*lines, "</section>"]


def _proof(results: NetworkResults) -> str:
    optima = [point for strategy in results.strategies for point in strategy.exact]
    gap = max(point.gap or 0.0 for point in optima)
    if not gap:
        return f"All {len(optima)} optima are proved."
    return f"Of {len(optima)} optima, none is further than {gap:.2g} from the best."


def _strategy(results: NetworkResults, strategy: StrategyResults) -> list[str]:
    network, best = results.problem.name, strategy.shown
    lines = [
        f"<h3>{escape(_title(strategy))}: {escape(str(best.constraint))}</h3>",
        *_whole(results, strategy),
        '<div class="figures">',
        *figure(
            width_chart(network, strategy.name, best.modes),
            f"Widths, optimal: {best.speed_up:.3f}x, error {best.error:.4g}",
            ("weights", "activations"),
        ),
    ]
    if strategy.layers:
        computing = sum(layer.counts.compute for layer in strategy.layers)
        lines += figure(
            latency_chart(network, strategy.name, strategy.layers),
            f"{best.cycles:,} cycles, {computing / best.cycles:.1%} of them computing",
            ("compute", "memory", "traffic"),
        )
    return [
        *lines,
        "</div>",
        f"<details><summary>The config, {escape(network)}, {escape(strategy.name)}</summary>",
        f"<pre>{escape(strategy.config)}</pre>",
        "</details>",
    ]


def _whole(results: NetworkResults, strategy: StrategyResults) -> list[str]:
    """Return what the choice takes when outputs are as wide as the layers after them read."""
    if not strategy.layers:
        return [f"<p>Cycles are {escape(results.note)}: there is nothing to split.</p>"]
    speed_up = results.problem.baseline / strategy.cycles
    return [
        "<p>The search counts each layer with an output as wide as its input. With outputs as "
        f"wide as they are read: {strategy.cycles:,} cycles, {speed_up:.3f}x.</p>"
    ]


def _title(strategy: StrategyResults) -> str:
    return strategy.name[0].upper() + strategy.name[1:]


def _totals(results: NetworkResults, clock: float) -> list[str]:
    problem = results.problem
    rows = []
    for name in FLOATS:
        cycles = float_cycles(results.target.workload, name)
        rows.append(
            [
                f"{name} on {BLOCKS_OF_ZCU102:,} DSP blocks",
                f"{cycles:,}",
                f"{problem.baseline / cycles:.3f}x",
                "",
                _rate(cycles, clock),
            ]
        )
    named: list[tuple[str, Solution]] = [
        (f"{point.method} throughout", point) for point in results.uniform
    ]
    for strategy in results.strategies:
        for method, point in (("greedy", strategy.shown_greedy), ("optimal", strategy.shown)):
            named.append((f"{strategy.shown.constraint}, {method}", point))
    for text, point in named:
        rows.append(
            [
                text,
                f"{point.cycles:,}",
                f"{point.speed_up:.3f}x",
                f"{point.error:.4g}",
                _rate(point.cycles, clock),
            ]
        )
    columns = ["", "cycles", "speed-up", problem.measure, f"images/s at {clock:g} MHz"]
    return table(columns, rows, 1)


def _rate(cycles: int, clock: float) -> str:
    return f"{1e6 * clock / cycles:,.1f}"
