"""How busy the accelerator keeps its array, from the counters of its own RTL.

16 x 16 elements, a bus of 128 bits at a beat a cycle, 40 cycles from a read to its data. A layer
with its input in memory before and its output there after; each is compared with the golden
device byte for byte. The rival of a utilisation is its limit: 1, or the time the multiply-
accumulates take at best over the time that memory takes for every byte read and written once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from dybit.quant.config import QuantConfig
from dybit.quant.precision import PrecisionMode
from dybit.quant.workloads import LayerKind, LayerShape, table
from dybit.scripts.console import console
from dybit.scripts.verilog import emit_accelerator
from dybit.sim.runtime import GoldenDevice, RtlDevice
from dybit.sim.runtime.engine_layer import Hardware
from dybit.sim.runtime.layer_run import LayerRun, place, random_layer

BUS_BYTES = 16
CONFIG: dict[str, Any] = {
    "name": "bench",
    "array": {
        "rows": 16,
        "columns": 16,
        "modes": ["W8A8", "W4A4", "W2A2"],
        "max_reduction": 4608,
        "accumulator_depth": 1024,
    },
    "accelerator": {"depthwise_kernel": 3},
    "default": {"weight_bits": 8, "activation_bits": 8},
}
MODES = ("W8A8", "W4A4", "W2A2")
SHAPES = ((3, 64, 64, 28), (3, 64, 64, 56), (1, 256, 256, 28), (7, 64, 64, 28))
"""Kernel side, channels in and out, side of the image."""


class Mismatch(RuntimeError):
    """The RTL and the golden device disagree: no figure of it means anything."""


def run(
    shapes: tuple[tuple[int, ...], ...] = SHAPES, networks: bool = True
) -> list[dict[str, Any]]:
    """Return utilisations and stalls of layers, and what whole networks take."""
    config = QuantConfig.from_dict(CONFIG)
    with TemporaryDirectory(prefix="dybit-accelerator-") as scratch:
        emit_accelerator(config, Path(scratch))
        bench = _Bench(config, Path(scratch))
        results = []
        for mode in MODES:
            for shape in shapes:
                results += bench.layer(_convolution(*shape), PrecisionMode.parse(mode))
        if networks:
            results += bench.network("resnet18", "W8A8")
            results += bench.network("resnet18", "W4A4")
            results += bench.network("mobilenet_v2", "W8A8")
    return results


def _convolution(kernel: int, channels: int, outputs: int, side: int) -> LayerShape:
    pad = kernel // 2
    return LayerShape(
        name=f"{kernel}x{kernel}, {channels} to {outputs}, {side}x{side}",
        kind=LayerKind.CONV,
        inputs=("input",),
        input_shape=(side, side, channels),
        output_shape=(side, side, outputs),
        kernel=(kernel, kernel),
        padding=(pad, pad, pad, pad),
    )


class _Bench:
    def __init__(self, config: QuantConfig, directory: Path) -> None:
        self.hardware = Hardware(config.array, config.accelerator)
        self.device = RtlDevice(directory)
        self.golden = GoldenDevice(directory)

    def layer(self, shape: LayerShape, mode: PrecisionMode) -> Iterator[dict[str, Any]]:
        """Yield the utilisation of a layer beside its limit, and its stalls."""
        console.print(f"{mode.name} {shape.name}", highlight=False)
        job = place(random_layer(shape, mode, self.hardware), self.hardware)
        counters = self._counters(job)
        used = self._utilisation(job, mode, counters["cycles"])
        limit = self._limit(job, mode)
        name = f"{mode.name}, {shape.name}"
        yield {
            "name": f"{name}: utilisation",
            "value": used,
            "unit": "of peak",
            "rival": "its limit by compute and memory traffic",
            "ratio": used / limit,
        }
        for counter in ("stall_weights", "stall_activations", "stall_results"):
            share = counters[counter] / counters["cycles"]
            yield {"name": f"{name}: {counter}", "value": share, "unit": "of cycles"}

    def network(self, name: str, mode_name: str) -> Iterator[dict[str, Any]]:
        """Yield what the layers of a network take one by one, and the depthwise unit's share."""
        mode = PrecisionMode.parse(mode_name)
        cycles = macs = depthwise = 0
        begin = perf_counter()
        layers = table(name).array_layers
        for index, shape in enumerate(layers):
            console.print(f"{mode_name} {name} {index + 1}/{len(layers)} {shape.name}")
            job = place(
                random_layer(shape, mode, self.hardware, index),
                self.hardware,
                index,
                packed=index == 0,
            )
            counters = self._counters(job)
            cycles += counters["cycles"]
            macs += job.macs
            if job.layer.depthwise:
                depthwise += counters["cycles"]
        seconds = perf_counter() - begin
        title = f"{mode_name}, layers of {name} at 224x224"
        peak = self._peak(mode)
        yield {"name": f"{title}: cycles", "value": cycles, "unit": "cycles"}
        yield {
            "name": f"{title}: utilisation",
            "value": macs / peak / cycles,
            "unit": "of peak",
            "rival": "its limit by compute",
            "ratio": macs / peak / cycles,
        }
        if depthwise:
            share = depthwise / cycles
            yield {"name": f"{title}: depthwise layers", "value": share, "unit": "of cycles"}
        yield {"name": f"{title}: simulated and compared", "value": seconds, "unit": "s"}

    def _counters(self, job: LayerRun) -> dict[str, int]:
        report, memory = job.run(self.device)
        expected, golden = job.run(self.golden)
        if report.error or expected.error or not np.array_equal(memory, golden):
            raise Mismatch(f"{job.layer.name}: RTL and golden device must agree, but do not")
        return report.counters

    def _peak(self, mode: PrecisionMode) -> int:
        return self.hardware.array.rows * self.hardware.array.columns * mode.macs

    def _utilisation(self, job: LayerRun, mode: PrecisionMode, cycles: int) -> float:
        return job.macs / self._peak(mode) / cycles

    def _limit(self, job: LayerRun, mode: PrecisionMode) -> float:
        """Return min(1, compute / traffic): reads and writes have a beat a cycle each."""
        layer = job.layer
        compute = job.macs / self._peak(mode)
        read = layer.images * layer.height * layer.width * layer.channels * mode.activation_bits / 8
        read += layer.weights.size * mode.weight_bits / 8
        written = (job.output.stop - job.output.start) / BUS_BYTES
        return min(1.0, compute / max(read / BUS_BYTES, written))
