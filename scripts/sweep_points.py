"""Design points: what is varied in a sweep, and what one point comes to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

from dybit.quant.array_config import ArrayConfig
from dybit.quant.config import QuantConfig
from dybit.quant.config_errors import ConfigError
from dybit.quant.layers import NetworkError
from dybit.quant.precision import MODES, PrecisionMode
from dybit.quant.search import (
    Constraint,
    MaxError,
    MinSpeedUp,
    Problem,
    SearchError,
    Sensitivity,
    greedy,
    rmse,
)
from dybit.quant.search.cache import digest
from dybit.quant.search.synthetic import synthetic_errors
from dybit.quant.workloads import LayerKind, Workload
from dybit.scripts.console import UserError
from dybit.scripts.engine_cost import machine_of
from dybit.scripts.search_target import find_workload
from dybit.sim.board_driver import PlanError
from dybit.sim.cycles import AcceleratorCost, Machine, Memory, network_cycles
from dybit.sim.cycles.kernel import SOURCE

__all__ = ["FIGURES", "Point", "Space", "evaluate"]

DEPTHWISE_KERNEL = 3
LEAST_WEIGHT_ROWS = 256
PARAMETER_BITS = 70
"""Bits of a channel's bias, multiplier and shift."""

FIGURES = (
    *("cycles", "milliseconds", "images_per_second", "gops", "utilisation", "speed_up", "error"),
    *("read_bytes", "written_bytes", "elements", "memory_bits", "problem"),
)
"""What `evaluate` finds."""


@dataclass(frozen=True, slots=True)
class Point:
    """One design and one network on it.

    Attributes
    ----------
    workload : str
        As `find_workload` takes it.
    rows, columns : int
        Of the array.
    modes : str
        Those it is built for, joined by ``+``.
    widths : str
        A mode for all layers; ``speedup=F`` or ``rmse=F``, which greedy search finds widths for;
        or a quant config, whose layers' widths are taken.
    activation_words, output_words, accumulator_depth, parameter_groups : int
        As the config has them.
    clock : float
        Megahertz.
    bandwidth : float
        GB/s each way; 0: a beat a cycle.
    latency : int
        Of the memory, in cycles.
    """

    workload: str
    rows: int
    columns: int
    modes: str
    widths: str
    activation_words: int
    output_words: int
    accumulator_depth: int
    parameter_groups: int
    clock: float
    bandwidth: float
    latency: int

    @property
    def hardware(self) -> tuple[object, ...]:
        """What the accelerator and its memory depend on."""
        return tuple(value for name, value in asdict(self).items() if name != "widths")

    @property
    def key(self) -> tuple[object, ...]:
        """What its figures depend on, files by their content."""
        widths = Path(self.widths)
        text = widths.read_text() if widths.suffix == ".toml" else self.widths
        return ("sweep", _code(), _content(self.workload), *self.hardware[1:], text)


@dataclass(frozen=True, slots=True)
class Space:
    """Lists of what is varied; its points are all their combinations."""

    workloads: tuple[str, ...]
    arrays: tuple[tuple[int, int], ...]
    modes: tuple[str, ...]
    widths: tuple[str, ...]
    activation_words: tuple[int, ...]
    output_words: tuple[int, ...]
    accumulator_depths: tuple[int, ...]
    parameter_groups: tuple[int, ...]
    clock: float
    bandwidths: tuple[float, ...]
    latency: int

    def check(self) -> None:
        """Refuse networks and widths that no point could have, before any is evaluated."""
        for workload in self.workloads:
            find_workload(workload)
        for widths in self.widths:
            if widths.endswith(".toml"):
                QuantConfig.load(Path(widths))
            elif "=" in widths or widths not in {mode.name for mode in MODES}:
                _constraint(widths)

    def points(self) -> list[Point]:
        """Return the points, those of equal hardware side by side."""
        lists: dict[str, tuple[Any, ...]] = {
            "workload": self.workloads,
            "array": self.arrays,
            "bandwidth": self.bandwidths,
            "modes": self.modes,
            "accumulator_depth": self.accumulator_depths,
            "activation_words": self.activation_words,
            "output_words": self.output_words,
            "parameter_groups": self.parameter_groups,
            "widths": self.widths,
        }
        points = []
        for values in product(*lists.values()):
            given = dict(zip(lists, values, strict=True))
            rows, columns = given.pop("array")
            given |= {"clock": self.clock, "latency": self.latency}
            points.append(Point(rows=rows, columns=columns, **given))
        return points


def evaluate(point: Point) -> dict[str, Any]:
    """Return the `FIGURES` of a point; where it cannot be, only its problem."""
    nothing: dict[str, Any] = dict.fromkeys(FIGURES)
    try:
        return nothing | _figures(point)
    except (ConfigError, PlanError, NetworkError, SearchError) as error:
        return nothing | {"problem": str(error).splitlines()[0]}


def _figures(point: Point) -> dict[str, Any]:
    workload = _workload(point.workload)
    cost = _cost(point.hardware)
    array = cost.machine.array
    modes = _chosen(point, workload, cost)
    layers = network_cycles(workload, modes, cost)
    cycles = sum(layer.cycles for layer in layers)
    seconds = cycles / point.clock / 1e6
    wide = sum(cost(layer, MODES[0]) for layer in workload.array_layers)
    narrow = sum(cost(layer, modes[layer.name]) for layer in workload.array_layers)
    names = [layer.name for layer in workload.array_layers]
    sensitivity = _sensitivity(point.workload, array.model_dump_json())
    shares = sensitivity.contributions(names, array.modes)
    places = [array.modes.index(modes[name]) for name in names]
    return {
        "cycles": cycles,
        "milliseconds": 1e3 * seconds,
        "images_per_second": 1 / seconds,
        "gops": 2 * workload.macs / seconds / 1e9,
        "utilisation": sum(layer.macs / layer.peak for layer in layers) / cycles,
        "speed_up": wide / narrow,
        "error": float(shares[range(len(names)), places].sum()),
        "read_bytes": sum(layer.read_bytes for layer in layers),
        "written_bytes": sum(layer.written_bytes for layer in layers),
        "elements": array.rows * array.columns,
        "memory_bits": _memory_bits(cost.machine),
    }


def _chosen(point: Point, workload: Workload, cost: AcceleratorCost) -> dict[str, PrecisionMode]:
    """Return the mode of each layer."""
    array = cost.machine.array
    names = [layer.name for layer in workload.array_layers]
    if point.widths.endswith(".toml"):
        config = QuantConfig.load(Path(point.widths))
        modes = {name: config.layer(name).mode for name in names}
    elif "=" in point.widths:
        constraint = _constraint(point.widths)
        sensitivity = _sensitivity(point.workload, array.model_dump_json())
        problem = Problem.build(workload, array.modes, cost, sensitivity)
        constraint.check(problem)
        modes = dict(greedy(problem, constraint).modes)
    else:
        modes = dict.fromkeys(names, PrecisionMode.parse(point.widths))
    for name, mode in modes.items():
        if mode not in array.modes:
            raise ConfigError(f"{name}: {mode.name} is not built; must be one of {point.modes}")
    return modes


def _constraint(text: str) -> Constraint:
    kind, _, value = text.partition("=")
    if kind not in ("speedup", "rmse"):
        value = ""
    try:
        return MinSpeedUp(float(value)) if kind == "speedup" else MaxError(float(value))
    except ValueError:
        raise UserError(
            f"--widths must be a mode, speedup=F, rmse=F or a .toml file, not {text!r}"
        ) from None


@lru_cache(maxsize=16)
def _workload(name: str) -> Workload:
    return find_workload(name)


@lru_cache(maxsize=16)
def _content(workload: str) -> str:
    return digest(_workload(workload))


@lru_cache(maxsize=1)
def _code() -> str:
    return digest(SOURCE.read_text())


@lru_cache(maxsize=16)
def _cost(hardware: tuple[Any, ...]) -> AcceleratorCost:
    """Return the cost model of what `Point.hardware` says."""
    names = [name for name in Point.__dataclass_fields__ if name != "widths"]
    given = dict(zip(names, hardware, strict=True))
    workload = _workload(given["workload"])
    rows, columns = given["rows"], given["columns"]
    depthwise = any(layer.kind is LayerKind.DEPTHWISE for layer in workload.array_layers)
    config = QuantConfig.from_dict(
        {
            "name": "point",
            "array": {
                "rows": rows,
                "columns": columns,
                "modes": given["modes"].split("+"),
                "max_reduction": max(layer.reduction for layer in workload.array_layers),
                "accumulator_depth": given["accumulator_depth"],
            },
            "default": {"weight_bits": 8, "activation_bits": 8},
            "accelerator": {
                "activation_words": given["activation_words"],
                "output_words": given["output_words"],
                "parameter_groups": given["parameter_groups"],
                "weight_rows": max(LEAST_WEIGHT_ROWS, 2 * rows),
                "depthwise_kernel": DEPTHWISE_KERNEL if depthwise and columns <= rows else 0,
            },
        }
    )
    memory = Memory(given["latency"])
    if given["bandwidth"]:
        clock = given["clock"] * 1e6
        memory = Memory.of_bandwidth(given["bandwidth"] * 1e9, clock, given["latency"])
    return AcceleratorCost(machine_of(config.array, config.accelerator, memory))


@lru_cache(maxsize=64)
def _sensitivity(workload: str, array: str) -> Sensitivity:
    known = _workload(workload)
    parsed = ArrayConfig.model_validate_json(array)
    return rmse(known, parsed.modes, *synthetic_errors(known, parsed))


def _memory_bits(machine: Machine) -> int:
    """Return the bits of the memories on the chip, both banks of each."""
    array, accelerator = machine.array, machine.accelerator
    return (
        2 * accelerator.activation_words * 8 * array.rows
        + 2 * accelerator.output_words * 8 * array.columns
        + 2 * accelerator.parameter_groups * PARAMETER_BITS * array.columns
        + accelerator.weight_rows * 8 * array.word_bytes * array.columns
        + array.accumulator_depth * array.accumulator_bits * array.columns
    )
