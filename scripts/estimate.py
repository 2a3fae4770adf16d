"""``dybit estimate``: what a network takes on the accelerator of a config, layer by layer."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from dybit.quant.config import QuantConfig
from dybit.quant.search.base_config import check_workload
from dybit.scripts.console import UserError, console, write
from dybit.scripts.engine_cost import machine_of
from dybit.scripts.search_target import find_workload
from dybit.sim.board_driver import PlanError
from dybit.sim.cycles import AcceleratorCost, LayerCycles, Memory, network_cycles

__all__ = ["CLOCK", "LATENCY", "estimate", "layer_row", "memory_of"]

CLOCK = 200.0
"""Megahertz."""

LATENCY = 40
"""Cycles from a read's address to its data."""


def memory_of(bandwidth: float | None, clock: float, latency: int) -> Memory:
    """Return the memory of a bandwidth in GB/s, at a clock in MHz; None: a beat a cycle."""
    try:
        if bandwidth is None:
            return Memory(latency)
        return Memory.of_bandwidth(bandwidth * 1e9, clock * 1e6, latency)
    except ValueError as error:
        raise UserError(f"--bandwidth, --clock, --latency: {error}") from None


def layer_row(layer: LayerCycles, clock: float) -> dict[str, Any]:
    """Return the figures of a layer by name, times at a clock in MHz."""
    counts = layer.counts
    return {
        "layer": layer.name,
        "mode": layer.mode.name,
        "unit": "depthwise" if layer.depthwise else "array",
        "tile": f"{layer.tile[0]}x{layer.tile[1]}",
        "tiles": counts.tiles,
        "macs": layer.macs,
        "cycles": layer.cycles,
        "compute": counts.compute,
        "weight_load": counts.weight_load,
        "fill": counts.fill,
        "drain": counts.drain,
        "stall_weights": counts.stall_weights,
        "stall_activations": counts.stall_activations,
        "stall_results": counts.stall_results,
        "memory_cycles": layer.memory_cycles,
        "read_bytes": layer.read_bytes,
        "written_bytes": layer.written_bytes,
        "utilisation": layer.utilisation,
        "milliseconds": layer.cycles / clock / 1e3,
    }


def estimate(
    workload: Annotated[
        str,
        typer.Argument(
            help="resnet18, resnet50, mobilenet_v2, alexnet, an .onnx file or the folder of a "
            "saved network."
        ),
    ],
    config: Annotated[Path, typer.Option(help="Quant config: hardware, and widths of layers.")],
    clock: Annotated[float, typer.Option(help="Megahertz.")] = CLOCK,
    bandwidth: Annotated[
        float | None,
        typer.Option(help="Of the memory, GB/s each way; default: 16 bytes a cycle."),
    ] = None,
    latency: Annotated[
        int, typer.Option(min=0, help="Cycles from a read's address to its data.")
    ] = LATENCY,
    batch: Annotated[int, typer.Option(min=1, help="Images run together.")] = 1,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the layers: .csv or .json.")
    ] = None,
) -> None:
    """Tell what layers take on the accelerator: cycles, bytes, and how busy its array is.

    Each layer runs alone, its input in memory before and its output there after; what the host
    does between them is not counted. Cycles are those that the RTL's own counters would show.

    \b
    dybit estimate resnet18 --config configs/imagenet-w8a8.toml --clock 250
    dybit estimate build/network --config configs/digits-mixed.toml -o build/layers.csv
    dybit estimate model.onnx --config build/found.toml --bandwidth 2.5 --batch 4
    """
    if clock <= 0:
        raise UserError(f"--clock must be positive, not {clock}")
    if output is not None and output.suffix not in (".csv", ".json"):
        raise UserError(f"--output must end in .csv or .json, not {output.name!r}")
    loaded = QuantConfig.load(config)
    network = find_workload(workload)
    check_workload(network, loaded, loaded.array)
    machine = machine_of(loaded.array, loaded.accelerator, memory_of(bandwidth, clock, latency))
    cost = AcceleratorCost(machine, batch)
    modes = {layer.name: loaded.layer(layer.name).mode for layer in network.array_layers}
    try:
        layers = network_cycles(network, modes, cost)
    except PlanError as error:
        raise UserError(str(error)) from None
    console.print(_table(layers, clock, f"{network.name} on {loaded.name}, {clock:g} MHz"))
    console.print("\n".join(_totals(layers, clock, batch)), highlight=False)
    if output is not None:
        write(output, _text([layer_row(layer, clock) for layer in layers], output.suffix))
        console.print(f"{output}: {len(layers)} layers", highlight=False, soft_wrap=True)


def _table(layers: Sequence[LayerCycles], clock: float, title: str) -> Table:
    heads = ("cycles", "used", "weights", "input", "results", "read KB", "written KB", "ms")
    table = Table(
        "layer", "mode", "tile", *(Column(head, justify="right") for head in heads), title=title
    )
    for layer in layers:
        counts = layer.counts
        stalls = (counts.stall_weights, counts.stall_activations, counts.stall_results)
        table.add_row(
            layer.name,
            layer.mode.name,
            f"{layer.tile[0]} x {layer.tile[1]}",
            f"{layer.cycles:,}",
            f"{layer.utilisation:.1%}",
            *(f"{stall / layer.cycles:.1%}" for stall in stalls),
            f"{layer.read_bytes / 1e3:,.0f}",
            f"{layer.written_bytes / 1e3:,.0f}",
            f"{layer.cycles / clock / 1e3:.3f}",
        )
    table.caption = "used: of the array's peak; weights, input, results: cycles waited for them"
    return table


def _totals(layers: Sequence[LayerCycles], clock: float, batch: int) -> list[str]:
    cycles = sum(layer.cycles for layer in layers)
    macs = sum(layer.macs for layer in layers)
    ideal = sum(layer.macs / layer.peak for layer in layers)
    seconds = cycles / clock / 1e6
    moved = sum(layer.read_bytes + layer.written_bytes for layer in layers)
    return [
        f"{cycles:,} cycles, {1e3 * seconds:.4g} ms, {batch / seconds:,.4g} images/s",
        f"{2 * macs / seconds / 1e9:,.4g} GOPS, {ideal / cycles:.1%} of the array's peak",
        f"{moved / 1e6:,.4g} MB to and from memory, {moved / seconds / 1e9:.3g} GB/s",
    ]


def _text(rows: Sequence[dict[str, Any]], suffix: str) -> str:
    if suffix == ".json":
        return json.dumps(rows, indent=1) + "\n"
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
