"""The cycle model: its error against the RTL, and how fast it is.

Errors are over all counters, every one of random layers run on the compiled accelerator. Seconds
are the process's own, which a busy machine lengthens less. The rival SCALE-Sim, which models
compute alone, is run on the same network where it is installed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from dybit.quant.config import QuantConfig
from dybit.quant.layer import INPUT
from dybit.quant.precision import MODES, PrecisionMode
from dybit.quant.workloads import LayerShape, table
from dybit.quant.workloads.sketch import Sketch
from dybit.scripts.engine_cost import machine_of
from dybit.scripts.sweep_points import Space
from dybit.scripts.sweep_run import sweep_points
from dybit.scripts.verilog import emit_accelerator
from dybit.sim.cycles import AcceleratorCost, Machine, count, layer_cycles
from dybit.sim.cycles.layer_cycles import forget
from dybit.sim.runtime import PlanError, RtlDevice
from dybit.sim.runtime.layer_run import place, random_layer

__all__ = ["run"]

SEED = 9
LAYERS = 60
BUILT = {
    "name": "bench",
    "array": {
        "rows": 8,
        "columns": 8,
        "modes": ["W8A8", "W4A4"],
        "max_reduction": 4608,
        "accumulator_depth": 256,
    },
    "accelerator": {"activation_words": 1024, "output_words": 1024, "depthwise_kernel": 3},
    "default": {"weight_bits": 8, "activation_bits": 8},
}
WORDS = (1024, 2048, 4096, 8192, 16384, 32768)
DEPTHS = (256, 512, 1024, 2048, 4096, 8192)
ARRAYS = ((8, 8), (16, 16), (16, 32), (32, 32), (64, 64))
WIDTHS = tuple(mode.name for mode in MODES)
JOBS = 2


def run(layers: int = LAYERS, repetitions: int = 3, points: int = 10_000) -> list[dict[str, Any]]:
    """Return errors, seconds for a network, and the rate of a sweep."""
    return [*_errors(layers), *_networks(repetitions), *_sweep(points)]


def _errors(layers: int) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(SEED)
    config = QuantConfig.from_dict(BUILT)
    with tempfile.TemporaryDirectory(prefix="dybit-cycles-") as scratch:
        emit_accelerator(config, Path(scratch))
        with RtlDevice(scratch) as device:
            machine = Machine.of_manifest(device.manifest)
            differing, worst, done = 0, 0.0, 0
            while done < layers:
                mode = config.array.modes[rng.integers(2)]
                try:
                    layer = random_layer(_drawn(rng), mode, machine.hardware, done)
                    job = place(layer, machine.hardware, done)
                except PlanError:
                    continue
                base = device.allocate(job.image.size)
                report, _ = job.run(device)
                found = asdict(count(job.fields, machine, base, base + job.list_address))
                differing += any(found[name] != n for name, n in report.counters.items())
                cycles = report.counters["cycles"]
                worst = max(worst, abs(found["cycles"] - cycles) / cycles)
                done += 1
    yield {"name": "layers compared with RTL", "value": layers, "unit": "layers"}
    yield {"name": "layers with a counter that differs", "value": differing, "unit": "layers"}
    yield {"name": "largest error of total cycles", "value": 100 * worst, "unit": "%"}


def _drawn(rng: np.random.Generator) -> LayerShape:
    """Return a convolution of any shape."""
    side, channels = int(rng.integers(4, 30)), int(rng.integers(1, 200))
    sketch = Sketch("drawn", (side, side, channels))
    groups = channels if rng.random() < 0.2 else 1
    outputs = channels if groups > 1 else int(rng.integers(1, 200))
    kernel = int(rng.choice((1, 3)))
    sketch.conv("conv", INPUT, outputs, kernel, int(rng.integers(1, 3)), groups=groups)
    return sketch.finish().array_layers[0]


def _networks(repetitions: int) -> Iterator[dict[str, Any]]:
    for name in ("resnet18", "resnet50"):
        for mode in (MODES[0], MODES[3]):
            config = QuantConfig.from_dict(
                BUILT
                | {
                    "array": {
                        "rows": 16,
                        "columns": 16,
                        "modes": WIDTHS,
                        "max_reduction": 4608,
                        "accumulator_depth": 1024,
                    },
                    "accelerator": {},
                }
            )
            machine = machine_of(config.array, config.accelerator)
            layers = table(name).array_layers
            layer_cycles(layers[0], mode, machine)  # compiles what is not yet
            seconds = min(_timed(layers, mode, machine) for _ in range(repetitions))
            entry: dict[str, Any] = {
                "name": f"{name}, {mode.name}, 16x16: all layers, nothing known before",
                "value": 1e3 * seconds,
                "unit": "ms",
            }
            if mode is MODES[0] and find_spec("scalesim") is not None:
                rival = _scalesim(name)
                entry |= {"rival": f"SCALE-Sim, {rival:.0f} s", "ratio": rival / seconds}
            yield entry


def _timed(layers: tuple[LayerShape, ...], mode: PrecisionMode, machine: Machine) -> float:
    forget()
    start = process_time()
    cost = AcceleratorCost(machine)
    for layer in layers:
        cost(layer, mode)
    return process_time() - start


def _scalesim(name: str) -> float:
    """Return the seconds that SCALE-Sim takes on a 16 x 16 array: for ResNet18 some 600."""
    from scalesim.scale_sim import scalesim

    with tempfile.TemporaryDirectory(prefix="dybit-scalesim-") as scratch:
        folder = Path(scratch)
        lines = ["Layer, IFMAP H, IFMAP W, Filter H, Filter W, Channels, Filters, Strides,"]
        for layer in table(name).array_layers:
            height, width, channels = layer.input_shape
            pads = layer.padding
            sizes = (height + pads[0] + pads[2], width + pads[1] + pads[3], *layer.kernel)
            numbers = (*sizes, channels, layer.outputs, layer.stride[0])
            lines.append(f"{layer.name}, {', '.join(map(str, numbers))},")
        (folder / "topology.csv").write_text("\n".join(lines) + "\n")
        (folder / "config.cfg").write_text(
            "[general]\nrun_name = bench\n[architecture_presets]\nArrayHeight: 16\n"
            "ArrayWidth: 16\nIfmapSramSzkB: 256\nFilterSramSzkB: 256\nOfmapSramSzkB: 256\n"
            "IfmapOffset: 0\nFilterOffset: 10000000\nOfmapOffset: 20000000\nBandwidth: 16\n"
            "Dataflow: ws\nMemoryBanks: 1\n[run_presets]\nInterfaceBandwidth: CALC\n"
        )
        start = process_time()
        simulator = scalesim(
            save_disk_space=True,
            verbose=False,
            config=str(folder / "config.cfg"),
            topology=str(folder / "topology.csv"),
        )
        simulator.run_scale(top_path=scratch)
        return process_time() - start


def _sweep(points: int) -> Iterator[dict[str, Any]]:
    space = Space(
        workloads=("resnet18",),
        arrays=ARRAYS,
        modes=("+".join(WIDTHS),),
        widths=WIDTHS,
        activation_words=WORDS,
        output_words=(*WORDS, 65536, 512),
        accumulator_depths=DEPTHS,
        parameter_groups=(1024,),
        clock=200.0,
        bandwidths=(0.0,),
        latency=40,
    )
    chosen = space.points()[:points]
    with tempfile.TemporaryDirectory(prefix="dybit-sweep-") as scratch:
        start = perf_counter()
        sweep_points(chosen, Path(scratch), JOBS)
        seconds = perf_counter() - start
    name = f"sweep of {len(chosen)} points of resnet18 at given widths, {JOBS} processes"
    yield {"name": name, "value": seconds, "unit": "s"}
    yield {"name": f"{name}: rate", "value": len(chosen) / seconds, "unit": "points/s"}
