"""``dybit simulate --top accelerator``: a whole network from memory to memory on the RTL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from dybit.quant.network import QuantNetwork
from dybit.scripts.console import UserError, progress
from dybit.sim import executor
from dybit.sim.runtime import Plan, PlanError, Result, RtlDevice, compile

__all__ = ["AcceleratorRun", "run_on_accelerator", "run_table"]

BATCH = 16
"""Images that share a reading of the weights of linear layers."""


@dataclass(frozen=True, slots=True, eq=False)
class AcceleratorRun:
    """A network on the accelerator, and what of it was compared.

    Attributes
    ----------
    plan : Plan
    result : Result
    tensors : dict of str to (int, int)
        For each tensor that the accelerator wrote, values compared and values that differ from
        the golden model's.
    """

    plan: Plan
    result: Result
    tensors: dict[str, tuple[int, int]]

    @property
    def mismatches(self) -> int:
        """Values that differ."""
        return sum(differing for _, differing in self.tensors.values())

    def counter(self, name: str) -> int:
        """Return a counter's sum over all runs."""
        return sum(counters[name] for counters in self.result.counters)


def run_on_accelerator(
    network: QuantNetwork, design: Path, images: NDArray[np.float32], waveform: Path | None = None
) -> AcceleratorRun:
    """Run images on an emitted accelerator and compare its tensors with the golden model's.

    Parameters
    ----------
    network : QuantNetwork
    design : Path
        Folder of the Verilog that `emit_accelerator` wrote for the network's config.
    images : ndarray of float32, shape (N, H, W, C) or (N, K)
    waveform : Path, optional
        Every signal of the run is written to this file as VCD.

    Raises
    ------
    UserError
        In one line, if the accelerator cannot run the network, or was built from another config.
    """
    # What has no codes is an output, and compared as a number.
    names = [layer.name for layer in network.compute_layers if layer.makes is not None]
    try:
        plan = compile(network, batch=min(BATCH, len(images)), keep=True)
        with RtlDevice(design, trace=waveform) as device, progress() as bar:
            task = bar.add_task("running the accelerator's RTL", total=None)
            result = device.run(
                plan,
                images,
                lambda done, total: bar.update(task, completed=done, total=total),
                tensors=names,
            )
    except PlanError as error:
        raise UserError(str(error)) from None
    golden = executor.run(network, images)
    tensors = dict(_compared(result, golden, names))
    outputs = golden.logits
    tensors["outputs"] = (outputs.size, int((result.outputs != outputs).sum()))
    return AcceleratorRun(plan, result, tensors)


def _compared(
    result: Result, golden: executor.Trace, names: list[str]
) -> Iterator[tuple[str, tuple[int, int]]]:
    for name in names:
        expected: NDArray[Any] | None = golden.layers[name].codes
        assert expected is not None
        found = result.tensors[name].reshape(expected.shape)
        yield name, (expected.size, int((found != expected).sum()))


def run_table(run: AcceleratorRun, images: int) -> Table:
    """Return what the counters say, and what was compared."""
    table = Table(title=f"{images} images on the accelerator's RTL")
    table.add_column("")
    table.add_column("", justify="right")
    cycles = run.counter("cycles")
    table.add_row("cycles an image", f"{cycles / images:,.0f}")
    for counter, title in (
        ("vectors", "vectors issued to the array"),
        ("depthwise", "vectors issued to the depthwise unit"),
        ("stall_weights", "waiting for weights"),
        ("stall_activations", "waiting for input"),
        ("stall_results", "waiting for accumulators"),
    ):
        table.add_row(title, f"{run.counter(counter) / cycles:.1%} of cycles")
    for counter in ("read_beats", "write_beats"):
        title = f"bytes {'read' if counter == 'read_beats' else 'written'} an image"
        table.add_row(title, f"{16 * run.counter(counter) / images:,.0f}")
    compared = sum(count for count, _ in run.tensors.values())
    table.add_row("values compared with the golden model", f"{compared:,}")
    table.add_row("mismatches", f"{run.mismatches:,}")
    return table
