"""``dybit search``: the widths of each layer, under a speed-up or an error constraint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dybit.quant.cache import cache_directory
from dybit.quant.config import QuantConfig
from dybit.quant.precision import PrecisionMode
from dybit.quant.search import Constraint, MaxError, Measure, MinSpeedUp, Problem, Ranking
from dybit.quant.search.base_config import with_modes
from dybit.quant.search.cache import Cache
from dybit.quant.search.found_config import found_config
from dybit.quant.search.front import exact_front, greedy_front
from dybit.quant.search.solver import Method, solve
from dybit.scripts.console import UserError, console, progress, write
from dybit.scripts.engine_cost import search_cost
from dybit.scripts.inputs import IMAGE_SIZE
from dybit.scripts.search_report import front_json, front_table, solution_table, summary
from dybit.scripts.search_target import Target, measured, shaped

__all__ = ["search"]


def search(
    model: Annotated[
        str | None, typer.Argument(help="path/to/file.py:function, returning nn.Module.")
    ] = None,
    *,
    config: Annotated[Path, typer.Option(help="Quant config: its array is searched for.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Quant config to write.")
    ] = None,
    speedup: Annotated[
        float | None, typer.Option(help="Reach this speed-up over W8A8, with least error.")
    ] = None,
    max_error: Annotated[
        float | None,
        typer.Option("--max-error", "--rmse", help="Stay at or under this error, fastest."),
    ] = None,
    workload: Annotated[
        str | None,
        typer.Option(
            help="In place of a model: resnet18, resnet50, mobilenet_v2, alexnet, an .onnx file or "
            "the folder of a saved network. Weights and data are synthetic."
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="state_dict of the model, .pt or .safetensors.")
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(
            help="In place of a model: resnet18, resnet50 or mobilenet_v2, with weights by "
            "torchvision's names."
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Images, as dybit quantize takes them: .npz, .npy or a folder."),
    ] = None,
    image_size: Annotated[
        int, typer.Option(min=1, help="Height and width of images from a folder.")
    ] = IMAGE_SIZE,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Images to look at, from the first.")
    ] = None,
    method: Annotated[
        Method, typer.Option(help="The best there is, or as the paper's algorithm goes.")
    ] = Method.EXACT,
    rank: Annotated[
        Ranking | None,
        typer.Option(
            help="Greedy: layers by latency (default with --speedup), or by error for each cycle."
        ),
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Greedy: layers lowered at a time.")] = 1,
    sensitivity: Annotated[Measure, typer.Option(help="What counts as error.")] = Measure.RMSE,
    modes: Annotated[
        str | None,
        typer.Option(
            help="Such as W8A8,W4A4; default: array.modes or, where it has one alone, all."
        ),
    ] = None,
    pin: Annotated[
        list[str] | None, typer.Option(help="LAYER=MODE that is not searched; repeatable.")
    ] = None,
    keep_modes: Annotated[
        bool, typer.Option("--keep-modes", help="Build the array for unused modes as well.")
    ] = False,
    front: Annotated[
        Path | None, typer.Option(help="Write the Pareto front, greedy and exact, as JSON.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of synthetic distributions.")] = 0,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of what was computed; default: build/cache/search.")
    ] = None,
) -> None:
    """Choose the widths of each layer's weights and activations.

    Cycles are those of the accelerator that the config describes, or of its matrix engine alone
    where that has no room for a layer; speed-ups are over W8A8 on the same array. An interrupted
    search goes on where it was. The config written is what `dybit quantize`, `train` and `verilog`
    read.

    \b
    dybit search --workload resnet50 --config configs/imagenet-w8a8.toml --speedup 4 \\
        -o build/resnet50.toml
    dybit search model.py:build --weights model.pt --calibration images.npz \\
        --config configs/digits-mixed.toml --rmse 0.05 --pin conv1=W8A8 -o build/found.toml
    dybit search --architecture resnet18 --weights resnet18.pth --calibration images/ \\
        --config configs/imagenet-w8a8.toml --speedup 3 --sensitivity fisher -o build/found.toml
    dybit search --workload mobilenet_v2 --config configs/imagenet-w8a8.toml \\
        --front build/front.json
    """
    constraint = _constraint(speedup, max_error)
    if constraint is None and front is None:
        raise UserError("--speedup, --max-error or --front must be given")
    if (constraint is None) != (output is None):
        raise UserError("--output must be given with --speedup or --max-error, and only then")
    base = QuantConfig.load(config)
    searched = with_modes(base, None if modes is None else _modes(modes))
    kept = Cache(cache or cache_directory("search"))
    if workload is not None:
        if (model, architecture, weights, calibration) != (None,) * 4:
            raise UserError("--workload must be given without a model, its weights and images")
        target = shaped(workload, base, searched.array, sensitivity, seed, kept)
    else:
        if calibration is None:
            raise UserError("--calibration must be given with a model")
        trained = (model, architecture, weights)
        images = (calibration, limit, image_size)
        target = measured(trained, images, base, searched, sensitivity, kept)
    problem = _problem(target, searched, pin or [])
    if constraint is not None and output is not None:
        found = solve(problem, constraint, method, ranking=rank, top=top_k, cache=kept)
        other = solve(problem, constraint, Method.GREEDY, ranking=rank, top=top_k, cache=kept)
        console.print(solution_table(problem, found))
        console.print("\n".join(summary(problem, found, other, target.note)), highlight=False)
        wide = base.model_copy(update={"array": searched.array})
        result = found_config(
            wide, target.workload, found.modes, name=output.stem, keep_modes=keep_modes
        )
        write(output, result.dumps())
        console.print(f"{output}: a quant config", highlight=False, soft_wrap=True)
    if front is not None:
        _front(problem, front, kept)


def _constraint(speedup: float | None, max_error: float | None) -> Constraint | None:
    if speedup is not None and max_error is not None:
        raise UserError("--speedup and --max-error must not both be given")
    if speedup is not None:
        return MinSpeedUp(speedup)
    return None if max_error is None else MaxError(max_error)


def _modes(text: str) -> list[PrecisionMode]:
    try:
        return [PrecisionMode.parse(name.strip()) for name in text.split(",")]
    except ValueError as error:
        raise UserError(f"--modes: {error}") from None


def _problem(target: Target, searched: QuantConfig, pins: list[str]) -> Problem:
    pinned = {}
    for text in pins:
        name, equals, mode = text.partition("=")
        if not (name and equals):
            raise UserError(f"--pin must be LAYER=MODE, such as conv1=W8A8, not {text!r}")
        try:
            pinned[name] = PrecisionMode.parse(mode)
        except ValueError as error:
            raise UserError(f"--pin {name}: {error}") from None
    array = searched.array
    cost, note = search_cost(target.workload, array, searched.accelerator)
    console.print(f"cycles: {note}", highlight=False, soft_wrap=True)
    return Problem.build(target.workload, array.modes, cost, target.sensitivity, pins=pinned)


def _front(problem: Problem, path: Path, cache: Cache) -> None:
    points = 16
    with progress() as bar:
        task = bar.add_task("Pareto front", total=points)
        optimal = exact_front(
            problem,
            points,
            lambda: bar.advance(task),
            lambda each, constraint: solve(each, constraint, cache=cache),
        )
    descents = [greedy_front(problem, ranking) for ranking in Ranking]
    console.print(front_table(problem, optimal))
    write(path, front_json(problem, [optimal, *descents]))
    console.print(f"{path}: the Pareto front", highlight=False, soft_wrap=True)
