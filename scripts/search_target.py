"""What is searched: a user's network with its images, or shapes with synthetic errors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dybit.quant.array_config import ArrayConfig
from dybit.quant.config import QuantConfig
from dybit.quant.network import STRUCTURE, QuantNetwork
from dybit.quant.search import Measure, Sensitivity, rmse
from dybit.quant.search.base_config import check_workload
from dybit.quant.search.cache import Cache
from dybit.quant.search.synthetic import synthetic_errors
from dybit.quant.workloads import TABLES, Workload, network_workload, onnx_workload, table
from dybit.scripts.console import UserError, console, progress
from dybit.scripts.inputs import Images, batches, load_images, load_network

if TYPE_CHECKING:
    from dybit.quant.torch import PreparedModel
    from dybit.quant.torch.operands import Operands

__all__ = ["Target", "find_workload", "measured", "shaped"]

FISHER_IMAGES = 64
"""Most images that gradients are taken of, one at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A network to be searched.

    Attributes
    ----------
    workload : Workload
    sensitivity : Sensitivity
    note : str
        What its errors are of.
    """

    workload: Workload
    sensitivity: Sensitivity
    note: str


def shaped(
    name: str, base: QuantConfig, array: ArrayConfig, measure: Measure, seed: int, cache: Cache
) -> Target:
    """Return shapes by name or file, and errors of distributions.

    Parameters
    ----------
    name : str
        One of `TABLES`, an .onnx file, or the folder of a saved network.
    base : QuantConfig
        The user's.
    array : ArrayConfig
        With the modes to choose from.
    measure : Measure
    seed : int
    cache : Cache
    """
    if measure not in (Measure.RMSE, Measure.POOLED_RMSE):
        raise UserError(
            f"--sensitivity must be rmse or pooled-rmse for --workload, not {measure}; it has no "
            "weights and no data"
        )
    workload = find_workload(name)
    check_workload(workload, base, array)
    with progress() as bar:
        task = bar.add_task("synthetic errors", total=len(workload.array_layers))
        errors = synthetic_errors(workload, array, seed, cache, lambda: bar.advance(task))
    sensitivity = rmse(workload, array.modes, *errors, measure is Measure.POOLED_RMSE)
    return Target(workload, sensitivity, f"on synthetic distributions, seed {seed}")


def measured(
    trained: tuple[str | None, str | None, Path | None],
    images: tuple[Path, int | None, int],
    base: QuantConfig,
    searched: QuantConfig,
    measure: Measure,
    cache: Cache,
) -> Target:
    """Return a user's network and what rounding does to it on their images.

    Parameters
    ----------
    trained : tuple
        Model, architecture and weights, as `load_network` takes them.
    images : tuple
        Path, limit and size, as `load_images` takes them.
    base : QuantConfig
        The user's; exponent limits are its own.
    searched : QuantConfig
        With the modes to choose from.
    measure : Measure
    cache : Cache
    """
    # torch takes seconds to load: tables do without.
    import torch

    from dybit.quant.torch import prepare
    from dybit.quant.torch.observation import observe
    from dybit.quant.torch.operands import Operands
    from dybit.quant.torch.workload import workload_of

    module = load_network(*trained)
    data = load_images(*images)
    with console.status("tracing the model"):
        prepared = prepare(module, searched, torch.from_numpy(data.x[:1]))
    workload = workload_of(prepared, trained[1] or trained[0])
    check_workload(workload, base, searched.array)
    parts = [torch.from_numpy(data.x[part]) for part in batches(data.x)]
    with progress() as bar:
        task = bar.add_task("looking at activations", total=len(parts))
        observed = observe(prepared, parts, cache, lambda: bar.advance(task))
    limits = base.model_copy(update={"array": searched.array})
    operands = Operands(prepared, observed, limits, cache)
    sensitivity = _sensitivity(prepared, operands, searched, data, measure, cache)
    return Target(workload, sensitivity, f"on {_used(data, measure)} images")


def find_workload(name: str) -> Workload:
    """Return the workload of a table, a file or a folder."""
    path = Path(name)
    if name in TABLES:
        return table(name)
    if path.suffix == ".onnx":
        return onnx_workload(path)
    if (path / STRUCTURE).is_file():
        return network_workload(QuantNetwork.load(path))
    raise UserError(
        f"workload must be one of {', '.join(TABLES)}, an .onnx file, or the folder of a saved "
        f"network, not {name!r}"
    )


def _used(data: Images, measure: Measure) -> int:
    """Return how many images a measure is taken on; formats and scales are fitted to all."""
    if measure is Measure.OUTPUT:
        return len(data.x[next(batches(data.x))])
    return min(FISHER_IMAGES, len(data.x)) if measure is Measure.FISHER else len(data.x)


def _sensitivity(
    prepared: PreparedModel,
    operands: Operands,
    searched: QuantConfig,
    data: Images,
    measure: Measure,
    cache: Cache,
) -> Sensitivity:
    import torch

    from dybit.quant.torch.sensitivity import fisher, operand_rmse, output_error

    count = _used(data, measure)
    x = torch.from_numpy(data.x[:count])
    steps = count if measure is Measure.FISHER else len(prepared.compute_stages)
    with progress() as bar:
        task = bar.add_task(f"sensitivity ({measure})", total=steps)

        def advance() -> None:
            bar.advance(task)

        modes = searched.array.modes
        if measure is Measure.OUTPUT:
            return output_error(prepared, operands, modes, x, cache=cache, progress=advance)
        if measure is Measure.FISHER:
            labels = None if data.y is None else torch.from_numpy(data.y[:count])
            return fisher(prepared, operands, modes, x, labels, cache=cache, progress=advance)
        pooled = measure is Measure.POOLED_RMSE
        return operand_rmse(prepared, operands, modes, pooled=pooled, progress=advance)
