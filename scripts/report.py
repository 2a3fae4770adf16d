"""``dybit report``: what the search finds for networks, as one HTML file."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from dybit.quant.array_config import ArrayConfig
from dybit.quant.cache import cache_directory
from dybit.quant.config import QuantConfig
from dybit.quant.search import Measure, Problem
from dybit.quant.search.base_config import with_modes
from dybit.quant.search.cache import Cache
from dybit.scripts.console import UserError, console, progress, run, write
from dybit.scripts.engine_cost import search_cost
from dybit.scripts.estimate import CLOCK
from dybit.scripts.report_data import NetworkResults, network_results, steps
from dybit.scripts.report_page import Setting, page
from dybit.scripts.resources import resource_report
from dybit.scripts.search_target import Target, shaped

__all__ = ["report"]

NETWORKS = ("resnet18", "resnet50", "mobilenet_v2")
"""The paper's."""

SUMMARY = ("fp32_accuracy", "accuracy", "speedup")
RESOURCES = ("device", "blocks", "total", "modes")


def report(
    config: Annotated[Path, typer.Option(help="Quant config: its array is searched for.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")] = Path(
        "build/report.html"
    ),
    workload: Annotated[
        list[str] | None,
        typer.Option(
            help="resnet18, resnet50, mobilenet_v2, alexnet, an .onnx file or the folder of a "
            "saved network; repeatable. Default: the first three."
        ),
    ] = None,
    speedup: Annotated[
        float | None,
        typer.Option(help="Shown layer by layer; default: the middle of what can be had."),
    ] = None,
    rmse: Annotated[
        float | None,
        typer.Option(help="Shown layer by layer; default: the middle of what can be had."),
    ] = None,
    points: Annotated[
        int, typer.Option(min=2, help="Constraints of each strategy, from end to end.")
    ] = 12,
    clock: Annotated[float, typer.Option(min=1, help="Megahertz, for images a second.")] = CLOCK,
    resources: Annotated[
        Path | None, typer.Option(help="What `make resources` counted: a .json file.")
    ] = None,
    synthesise: Annotated[
        bool, typer.Option("--synthesise", help="Count resources now; takes minutes.")
    ] = False,
    demo: Annotated[
        Path | None, typer.Option(help="build/demo/summary.json of `make demo`, for accuracy.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of synthetic distributions.")] = 0,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of what was computed; default: build/cache/search.")
    ] = None,
) -> None:
    """Write charts and tables of what the search finds: one HTML file that needs nothing else.

    Speed-up against error for both strategies, the Pareto front, widths and cycles of each layer,
    configs, and baselines. Equal inputs give equal bytes.

    \b
    dybit report --config configs/imagenet-all-modes.toml
    dybit report --config configs/imagenet-w8a8.toml --workload resnet18 --speedup 3 -o r18.html
    dybit report --config configs/digits-mixed.toml --workload build/example/network \\
        --resources build/resources/digits-mixed.json --demo build/demo/summary.json
    """
    base = QuantConfig.load(config)
    searched = with_modes(base)
    if resources is not None and synthesise:
        raise UserError("--resources and --synthesise must not both be given")
    summary = None if demo is None else _json(demo, "--demo", SUMMARY)
    counted = None if resources is None else _json(resources, "--resources", RESOURCES)
    if counted is not None:
        _check_array(counted, searched.array, resources)
    kept = Cache(cache or cache_directory("search"))
    wide = base.model_copy(update={"array": searched.array})
    targets = [
        shaped(name, base, searched.array, Measure.RMSE, seed, kept)
        for name in workload or NETWORKS
    ]
    networks = _search(targets, wide, points, (speedup, rmse), kept)
    tools = ["dybit", "numpy", "scipy"]
    if synthesise:
        tools.append("pyosys")
        with console.status("synthesising"):
            counted = resource_report(wide.array, Path("build/verilog") / f"{base.name}-report")
    setting = Setting(
        config=wide.dumps(),
        array=_words(wide),
        clock=clock,
        versions={"Python": platform.python_version()} | {name: version(name) for name in tools},
        resources=counted,
        summary=summary,
    )
    write(output, page(networks, setting))
    console.print(f"{output}: a report", highlight=False, soft_wrap=True)


def _search(
    targets: Sequence[Target],
    config: QuantConfig,
    points: int,
    shown: tuple[float | None, float | None],
    cache: Cache,
) -> list[NetworkResults]:
    found = []
    with progress() as bar:
        task = bar.add_task("searching", total=steps(points) * len(targets))
        for target in targets:
            bar.update(task, description=f"searching {target.workload.name}")
            cost = search_cost(target.workload, config.array, config.accelerator)
            problem = Problem.build(
                target.workload, config.array.modes, cost[0], target.sensitivity
            )
            found.append(
                network_results(
                    target, problem, config, cost, points, shown, cache, lambda: bar.advance(task)
                )
            )
    return found


def _check_array(counted: dict[str, Any], array: ArrayConfig, path: Path | None) -> None:
    """Refuse what was counted for an array of other size, or in modes that this one lacks."""
    own = {mode.name: array.rows * array.columns * mode.macs for mode in array.modes}
    for name, mode in counted["modes"].items():
        if mode["macs_per_cycle"] != own.get(name):
            raise UserError(
                f"--resources: {path} counts an array that does {mode['macs_per_cycle']:,} "
                f"multiply-accumulates a cycle in {name}; must be {own.get(name, 0):,}"
            )


def _words(config: QuantConfig) -> str:
    array = config.array
    modes = ", ".join(mode.name for mode in array.modes)
    return f"An array of {array.rows} x {array.columns} elements with the modes {modes}."


def _json(path: Path, option: str, keys: Sequence[str]) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        table = None
    missing = [key for key in keys if not isinstance(table, dict) or key not in table]
    if missing:
        raise UserError(f"{option}: {path} must be JSON with {', '.join(keys)}")
    return dict(table)


if __name__ == "__main__":
    run(report)
