"""The charts of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dybit.quant.precision import PrecisionMode
from dybit.quant.search import Ranking, Solution
from dybit.scripts.report_data import NetworkResults, StrategyResults
from dybit.scripts.svg import WIDTH, Anchor, Axis, Chart
from dybit.sim.cycles import LayerCycles

__all__ = [
    "accuracy_chart",
    "front_chart",
    "latency_chart",
    "resource_chart",
    "strategy_chart",
    "width_chart",
]

HEIGHT = 300
LEFT, RIGHT, TOP, BOTTOM = 52, 388, 30, 256
"""Where the axes of a chart of points lie."""

ROW = 15
"""Units from a layer to the next."""

NAMES = 142
"""Units that names of layers take."""

LETTERS = 21
"""Of a name that has room there."""

FIRST_ROW = 34


def strategy_chart(network: str, strategy: StrategyResults, measure: str) -> Chart:
    """Return speed-up against error: greedy and optimal choices for the same constraints."""
    both = [*strategy.greedy, *strategy.exact, strategy.shown, strategy.shown_greedy]
    chart, x, y = _plane(f"{network}, {strategy.name}: speed-up and {measure}", both, measure)
    for kind, points in (("greedy", strategy.greedy), ("exact", strategy.exact)):
        _curve(chart, x, y, points, kind)
    for kind, point in (("greedy", strategy.shown_greedy), ("exact", strategy.shown)):
        _point(chart, x, y, point, f"{kind} chosen")
    return chart


def front_chart(results: NetworkResults) -> Chart:
    """Return the Pareto front, what greedy descents pass through, and uniform widths."""
    descents = [point for descent in results.descents for point in descent]
    every = [*results.front, *descents, *results.uniform]
    measure = results.problem.measure
    chart, x, y = _plane(f"{results.problem.name}: Pareto front", every, measure)
    for ranking, points in zip(Ranking, results.descents, strict=True):
        _curve(chart, x, y, points, f"greedy {ranking}")
    _curve(chart, x, y, results.front, "exact")
    taken: list[tuple[float, float]] = []
    for point in results.uniform:
        _point(chart, x, y, point, "uniform")
        _label(chart, x.place(point.speed_up), y.place(point.error), point.method, taken)
    return chart


def width_chart(network: str, name: str, modes: Mapping[str, PrecisionMode]) -> Chart:
    """Return the widths of each layer's weights and activations as bars."""
    chart = Chart(FIRST_ROW + ROW * len(modes) + 4, f"{network}, {name}: widths of each layer")
    room = (WIDTH - NAMES - 24) / 2
    starts = {"weights": float(NAMES), "activations": NAMES + room + 12}
    for operand, start in starts.items():
        chart.text(start, 14, f"{operand}, bits", "name")
    for row, (layer, mode) in enumerate(modes.items()):
        y = FIRST_ROW + ROW * row
        chart.text(NAMES - 6, y + 4, _short(layer), "layer", "end")
        for operand, bits in (
            ("weights", mode.weight_bits),
            ("activations", mode.activation_bits),
        ):
            width = (room - 14) * bits / 8
            chart.box(starts[operand], y - 5, width, 10, operand, f"{layer}: {bits} bits")
            chart.text(starts[operand] + width + 4, y + 4, str(bits), "tick")
    return chart


def latency_chart(network: str, name: str, layers: Sequence[LayerCycles]) -> Chart:
    """Return each layer's cycles: computing, then waiting; a tick where its traffic would end."""
    chart = Chart(FIRST_ROW + ROW * len(layers) + 4, f"{network}, {name}: cycles of each layer")
    room = WIDTH - NAMES - 62
    most = max(max(layer.cycles, layer.memory_cycles) for layer in layers)
    chart.text(NAMES, 14, "cycles", "name")
    for row, layer in enumerate(layers):
        y = FIRST_ROW + ROW * row
        computing, waiting = layer.counts.compute, layer.cycles - layer.counts.compute
        unit = room / most
        title = f"{layer.name}: {computing:,} computing, {waiting:,} waiting"
        chart.text(NAMES - 6, y + 4, _short(layer.name), "layer", "end")
        chart.box(NAMES, y - 5, unit * computing, 10, "compute", title)
        chart.box(NAMES + unit * computing, y - 5, unit * waiting, 10, "memory", title)
        tick = NAMES + unit * layer.memory_cycles
        chart.line([(tick, y - 7), (tick, y + 7)], "traffic")
        end = NAMES + unit * max(layer.cycles, layer.memory_cycles)
        chart.text(end + 4, y + 4, f"{layer.cycles:,}", "tick")
    return chart


def resource_chart(shares: Mapping[str, float], part: str) -> Chart:
    """Return how much of a part a design takes, kind by kind."""
    chart = Chart(30 + 26 * len(shares), f"shares of a {part}")
    most = max(1.0, *shares.values())
    room = WIDTH - 60 - 64
    for row, (kind, share) in enumerate(shares.items()):
        y = 26 + 26 * row
        chart.text(52, y + 4, kind, "name", "end")
        chart.box(60, y - 8, room / most, 16, "whole")
        kind_of_bar = "compute" if share <= 1 else "excess"
        chart.box(60, y - 8, room * share / most, 16, kind_of_bar, f"{kind}: {share:.1%}")
        chart.text(60 + room * max(1.0, share) / most + 6, y + 4, f"{share:.1%}", "tick")
    return chart


def accuracy_chart(
    accuracy: Mapping[str, float], speed_up: Mapping[str, float], fp32: float
) -> Chart:
    """Return speed-up against accuracy in percent, and the accuracy in floating point."""
    chart = Chart(HEIGHT, "digits: speed-up and accuracy")
    shares = [100 * value for value in (*accuracy.values(), fp32)]
    x = Axis.around([0.9, *speed_up.values()], LEFT, RIGHT)
    # A point more and less: otherwise one image would look like a cliff.
    y = Axis(min(shares) - 1, min(max(shares) + 1, 100.1), BOTTOM, TOP)
    chart.axes(x, y, ("speed-up over W8A8, RTL cycles", "accuracy, %"))
    chart.line([(LEFT, y.place(100 * fp32)), (RIGHT, y.place(100 * fp32))], "float")
    for name, share in accuracy.items():
        place = x.place(speed_up[name]), y.place(100 * share)
        title = f"{name}: {speed_up[name]:.3f}x, {share:.2%}"
        chart.mark(*place, "exact", title)
        anchor: Anchor = "end" if place[0] > (LEFT + RIGHT) / 2 else "start"
        chart.text(place[0], place[1] + 18, name, "label", anchor)
    return chart


def _short(name: str) -> str:
    """Return what there is room for of a layer's name: its end tells it from others."""
    return name if len(name) <= LETTERS else f"…{name[1 - LETTERS :]}"


def _plane(label: str, points: Sequence[Solution], measure: str) -> tuple[Chart, Axis, Axis]:
    """Return a chart with its axes: linear speed-up, logarithmic error unless there is none."""
    chart = Chart(HEIGHT, label)
    x = Axis.around([point.speed_up for point in points], LEFT, RIGHT)
    errors = [point.error for point in points]
    y = Axis.around(errors, BOTTOM, TOP, logarithmic=min(errors) > 0)
    chart.axes(x, y, ("speed-up over W8A8", measure))
    return chart, x, y


def _places(x: Axis, y: Axis, points: Sequence[Solution]) -> list[tuple[float, float]]:
    return [(x.place(point.speed_up), y.place(point.error)) for point in points]


def _label(chart: Chart, x: float, y: float, text: str, taken: list[tuple[float, float]]) -> None:
    """Write beside a point, on a side where no other label is."""
    sides: tuple[tuple[float, float, Anchor], ...] = (
        *((8, 4, "start"), (-8, 4, "end"), (0, 17, "middle"), (0, -8, "middle")),
    )
    middles = {"start": 17, "end": -17, "middle": 0}
    for right, down, anchor in sides:
        place = x + right + middles[anchor], y + down
        clear = all(abs(place[0] - a) > 36 or abs(place[1] - b) > 12 for a, b in taken)
        if clear and place[0] < RIGHT - 6:
            break
    taken.append(place)
    chart.text(x + right, y + down, text, "label", anchor)


def _curve(chart: Chart, x: Axis, y: Axis, points: Sequence[Solution], kind: str) -> None:
    chart.line(_places(x, y, sorted(points, key=lambda p: (p.speed_up, p.error))), kind)
    for point in points:
        _point(chart, x, y, point, kind)


def _point(chart: Chart, x: Axis, y: Axis, point: Solution, kind: str) -> None:
    title = f"{point.method}: {point.speed_up:.6g}x, {point.error:.6g}"
    chart.mark(x.place(point.speed_up), y.place(point.error), kind, title)
