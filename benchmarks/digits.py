"""A whole network on the whole accelerator: the digits CNN, images a minute of simulated hardware.

One instance of the RTL on one core, in each of the digits configs, all on one accelerator that has
the modes of all. Outputs are compared with the golden device, image by image. The rival is the
matrix engine alone, fed by vectors from outside: what memory, bus and sequencer cost.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from dybit.quant.config import QuantConfig
from dybit.quant.network import QuantNetwork
from dybit.scripts import digits
from dybit.scripts.console import console
from dybit.scripts.demo import on_one_array
from dybit.scripts.quantize import quantize_model
from dybit.scripts.verilog import emit_accelerator, emit_array
from dybit.sim.engine import MatrixEngine
from dybit.sim.engine_backend import EngineBackend
from dybit.sim.executor import run as execute
from dybit.sim.runtime import GoldenDevice, RtlDevice, compile
from dybit.sim.verilated import CompiledModel

CONFIGS = ("digits-w8a8", "digits-mixed", "digits-w4a4")
IMAGES = 100
BATCH = 10


def run(images: int = IMAGES, epochs: int | None = None) -> list[dict[str, Any]]:
    """Return images a minute, cycles an image and how busy the array is."""
    configs = on_one_array([QuantConfig.load(f"configs/{name}.toml") for name in CONFIGS])
    data = digits.load()
    model, _ = digits.train(0, lambda: None, *(() if epochs is None else (epochs,)))
    results: list[dict[str, Any]] = []
    with TemporaryDirectory(prefix="dybit-digits-") as scratch:
        emit_accelerator(configs[0], Path(scratch, "accelerator"))
        emit_array(configs[0].array, Path(scratch, "array"))
        device = RtlDevice(Path(scratch, "accelerator"))
        golden = GoldenDevice(Path(scratch, "accelerator"))
        engine = MatrixEngine(CompiledModel(Path(scratch, "array")), instances=1)
        for config in configs:
            console.print(f"{config.name}", highlight=False)
            _, network = quantize_model(model, config, data.train_x)
            results += _measure(network, device, golden, engine, data.test_x[:images])
    return results


def _measure(
    network: QuantNetwork,
    device: RtlDevice,
    golden: GoldenDevice,
    engine: MatrixEngine,
    images: np.ndarray[Any, Any],
) -> list[dict[str, Any]]:
    x = images.transpose(0, 2, 3, 1)
    plan = compile(network, batch=BATCH)
    begin = perf_counter()
    result = device.run(plan, x)
    seconds = perf_counter() - begin
    if not np.array_equal(result.outputs, golden.run(plan, x).outputs):
        raise RuntimeError(f"{network.config.name}: RTL and golden device must agree, but do not")
    begin = perf_counter()
    execute(network, x, backend=EngineBackend(engine))
    alone = perf_counter() - begin
    cycles = sum(counters["cycles"] for counters in result.counters)
    vectors = sum(counters["vectors"] for counters in result.counters)
    name = network.config.name
    return [
        {
            "name": f"{name}: simulated",
            "value": 60 * len(x) / seconds,
            "unit": "images/min",
            "rival": "the matrix engine alone",
            "ratio": alone / seconds,
        },
        {"name": f"{name}: cycles", "value": cycles / len(x), "unit": "cycles an image"},
        {"name": f"{name}: vectors issued", "value": vectors / cycles, "unit": "of cycles"},
    ]
