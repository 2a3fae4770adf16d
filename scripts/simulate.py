"""``dybit simulate``: a saved network on the compiled RTL, compared with the golden model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from dybit.quant.network import QuantNetwork
from dybit.scripts.console import UserError, console, progress, replacing
from dybit.scripts.inputs import Images, load_images
from dybit.scripts.simulate_accelerator import run_on_accelerator, run_table
from dybit.scripts.verilog import Top, emit_accelerator, emit_array
from dybit.sim import executor
from dybit.sim.engine import MatrixEngine
from dybit.sim.engine_backend import EngineBackend
from dybit.sim.executor import Trace
from dybit.sim.verilated import CompiledModel

__all__ = ["LayerResult", "Simulation", "simulate", "simulate_network"]


@dataclass(frozen=True, slots=True)
class LayerResult:
    """How one layer went on the array.

    Attributes
    ----------
    name, mode : str
    macs, cycles : int
        Multiply-accumulates and clock cycles over all images.
    compared, mismatches : int
        Accumulators and codes, and how many differ from the golden model's.
    """

    name: str
    mode: str
    macs: int
    cycles: int
    compared: int
    mismatches: int


@dataclass(frozen=True, slots=True, eq=False)
class Simulation:
    """One run of a network on the array: each layer on it, and both models' whole traces."""

    layers: tuple[LayerResult, ...]
    rtl: Trace
    golden: Trace

    def total(self, field: str) -> int:
        """Sum of a field of all layers."""
        return sum(getattr(layer, field) for layer in self.layers)

    @property
    def first_mismatch(self) -> str | None:
        """Where the array first departs from the golden model, if it does."""
        for layer in self.layers:
            for kind, mine, theirs in _pairs(self.rtl, self.golden, layer.name):
                differing = np.argwhere(mine != theirs)
                if len(differing):
                    at = tuple(differing[0].tolist())
                    return (
                        f"{layer.name}: {kind} {at[1:]} of image {at[0]} is {mine[at]} on the RTL, "
                        f"{theirs[at]} in the golden model"
                    )
        return None


def simulate_network(
    network: QuantNetwork,
    design: Path,
    images: NDArray[np.float32],
    waveform: Path | None = None,
    title: str = "simulating",
) -> Simulation:
    """Run images on an emitted design and on the golden model.

    Parameters
    ----------
    network : QuantNetwork
    design : Path
        Folder of the Verilog that `emit_array` wrote for the network's array.
    images : ndarray of float32, shape (N, H, W, C) or (N, K)
    waveform : Path, optional
        Every signal of the run is written to this file as VCD.
    title : str
        What the progress bar says.
    """
    with CompiledModel(design, waveform) as model, progress() as bar:
        backend = EngineBackend(MatrixEngine(model))
        task = bar.add_task(title, total=2 * len(network.layers))
        expected = executor.run(network, images, lambda: bar.advance(task))
        found = executor.run(network, images, lambda: bar.advance(task), backend)
    results = []
    for layer in network.compute_layers:
        differences = [a != b for _, a, b in _pairs(found, expected, layer.name)]
        results.append(
            LayerResult(
                name=layer.name,
                mode=layer.mode.name,
                macs=differences[0].size * layer.reduction,
                cycles=backend.cycles[layer.name],
                compared=sum(difference.size for difference in differences),
                mismatches=sum(int(difference.sum()) for difference in differences),
            )
        )
    return Simulation(tuple(results), found, expected)


def _pairs(
    rtl: Trace, golden: Trace, layer: str
) -> Iterator[tuple[str, NDArray[np.integer[Any]], NDArray[np.integer[Any]]]]:
    """Yield the accumulators of a layer and, unless its output is raw, its codes."""
    mine, theirs = rtl.layers[layer], golden.layers[layer]
    for kind, a, b in (
        ("accumulator", mine.accumulators, theirs.accumulators),
        ("code", mine.codes, theirs.codes),
    ):
        if a is not None and b is not None:
            yield kind, a, b


def simulate(
    network: Annotated[Path, typer.Argument(help="Folder that `dybit quantize` wrote.")],
    images: Annotated[
        Path, typer.Option(help=".npz with float x (N, C, H, W) and, perhaps, classes y.")
    ],
    limit: Annotated[int, typer.Option(min=1, help="Images to run, from the first.")] = 50,
    trace: Annotated[
        Path | None, typer.Option(help="Write the first image's waveforms to this VCD file.")
    ] = None,
    top: Annotated[
        Top,
        typer.Option(help="engine: layer by layer. accelerator: all of it, from memory to memory."),
    ] = Top.ENGINE,
) -> None:
    """Run a saved network on its RTL and compare every value with the golden model.

    Emits the Verilog of the network's array to build/verilog, compiles it, and exits with 1 if
    any accumulator or code differs.

    \b
    dybit simulate build/network --images images.npz --limit 20
    dybit simulate build/network --images images.npz --top accelerator
    """
    loaded = QuantNetwork.load(network)
    data = load_images(images, limit)
    x = data.channels_last
    if x.shape[1:] != loaded.input_shape:
        *size, channels = loaded.input_shape
        expected = ", ".join(map(str, ("N", channels, *size)))
        raise UserError(f"{images}: x must have shape ({expected}), not {data.x.shape}")
    design = Path("build/verilog") / loaded.config.name
    if top is Top.ACCELERATOR:
        _on_accelerator(loaded, design / "accelerator", x, data, trace)
        return
    with console.status("compiling the array"):
        emit_array(loaded.config.array, design)
        CompiledModel(design).close()
    simulation = simulate_network(loaded, design, x)
    if trace is not None:
        with console.status(f"tracing the first image to {trace}"), replacing(trace) as waveform:
            simulate_network(loaded, design, x[:1], waveform)
    console.print(_table(simulation, len(x)))
    _print_accuracy(simulation.rtl.predictions, data)
    if simulation.first_mismatch is not None:
        console.print(f"first mismatch: {simulation.first_mismatch}", highlight=False)
        raise typer.Exit(1)


def _on_accelerator(
    network: QuantNetwork,
    design: Path,
    x: NDArray[np.float32],
    data: Images,
    trace: Path | None,
) -> None:
    with console.status("writing and compiling the accelerator"):
        emit_accelerator(network.config, design)
    run = run_on_accelerator(network, design, x)
    if trace is not None:
        with console.status(f"tracing the first image to {trace}"), replacing(trace) as waveform:
            run_on_accelerator(network, design, x[:1], waveform)
    console.print(run.plan.describe(), highlight=False)
    console.print(run_table(run, len(x)))
    _print_accuracy(run.result.predictions, data)
    for name, (_, differing) in run.tensors.items():
        if differing:
            console.print(f"first mismatch: in {name}, {differing:,} values", highlight=False)
            raise typer.Exit(1)


def _table(simulation: Simulation, images: int) -> Table:
    fields = ("macs", "cycles", "compared", "mismatches")
    table = Table(title=f"{images} images, RTL against golden model")
    table.add_column("layer")
    table.add_column("mode")
    for title in ("MACs", "cycles", "values compared", "mismatches", "MACs/cycle"):
        table.add_column(title, justify="right")
    for layer in simulation.layers:
        row = [f"{getattr(layer, field):,}" for field in fields]
        table.add_row(layer.name, layer.mode, *row, f"{layer.macs / layer.cycles:.1f}")
    totals = [simulation.total(field) for field in fields]
    table.add_section()
    rate = totals[0] / totals[1]
    table.add_row("total", "", *(f"{total:,}" for total in totals), f"{rate:.1f}")
    return table


def _print_accuracy(predictions: NDArray[np.intp], data: Images) -> None:
    share = data.accuracy(predictions)
    if share is not None:
        console.print(f"accuracy on these images: {share:.2%}", highlight=False)
