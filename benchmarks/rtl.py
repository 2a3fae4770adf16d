"""Clock cycles a second of the compiled runner, beside cocotb and Amaranth's simulator.

All play the same job on the same Verilog (cocotb) or design (Amaranth), drive every input and
check every valid output in each cycle. Building is not counted; the compiled engine's own figure
includes packing operands and unpacking results. Without Icarus Verilog its entries are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth.sim import Simulator

from dybit.hw.matrix_engine import MatrixEngine
from dybit.hw.units import component_ports
from dybit.quant.array_config import ArrayConfig
from dybit.quant.formats import DyBit
from dybit.scripts.verilog import TOP, emit_array
from dybit.sim import golden
from dybit.sim.engine import MatrixEngine as Engine
from dybit.sim.engine import Requantization
from dybit.sim.player import PlayerPort
from dybit.sim.toolchain import ToolMissing, icarus, usable_cores
from dybit.sim.verilated import CompiledModel, Stimulus
from tests.hw.cocotb_runner import run_bench

ARRAY = {
    "rows": 8,
    "columns": 8,
    "modes": ["W8A8", "W4A4"],
    "max_reduction": 1152,
    "accumulator_depth": 64,
}
UNIT = "cycles/s"
REPEATS = 5
PLAYS = 50
"""What takes milliseconds is repeated so often."""
SLOW_CYCLES = 1500
"""Cycles of the job that the interpreted simulators play; they take milliseconds each."""

Words = npt.NDArray[np.uint32]
Values = dict[str, list[int | None]]


@dataclass(frozen=True)
class Job:
    """What the ports are given and must show, cycle by cycle from the reset on.

    Once as integers, None where a port means nothing, and once as the words of a compiled model,
    with a mask of the bits that mean something.
    """

    inputs: Values
    outputs: Values
    words: Words
    trace: Words
    meant: Words

    def first(self, cycles: int) -> dict[str, Values]:
        """Return the beginning of the job, as the bench of `tests.hw` wants it."""
        return {
            side: {port: values[:cycles] for port, values in getattr(self, side).items()}
            for side in ("inputs", "outputs")
        }


class Recorder(CompiledModel):
    """A model that remembers what it played."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.played: list[tuple[Words, Words]] = []

    def play(self, stimulus: Stimulus | Words) -> Words:
        words = stimulus.words if isinstance(stimulus, Stimulus) else stimulus
        trace = super().play(words)
        self.played.append((words, trace))
        return trace


def run() -> list[dict[str, Any]]:
    """Return the rates of the compiled runner, each beside every other simulator's."""
    array = ArrayConfig.model_validate(ARRAY)
    with TemporaryDirectory(prefix="dybit-bench-") as directory:
        design = Path(directory) / "design"
        emit_array(array, design)
        job = record(design)
        rivals = {"cocotb + Verilator": cocotb_rate(array, job, "verilator", len(job.words))}
        try:
            icarus()
        except ToolMissing:
            pass
        else:
            rivals["cocotb + Icarus"] = cocotb_rate(array, job, "icarus", SLOW_CYCLES)
        rivals["Amaranth's simulator"] = amaranth_rate(array, job)
        ours = {
            "compiled runner, one core": runner_rate(design, job, 1),
            "compiled runner, an instance a core": runner_rate(design, job, usable_cores()),
            "compiled engine, products of codes, an instance a core": engine_rate(design),
        }
    return [
        {
            "name": f"{name} / {rival}",
            "value": rate,
            "unit": UNIT,
            "rival": f"{rival}, {other:,.0f} {UNIT}",
            "ratio": rate / other,
        }
        for name, rate in ours.items()
        for rival, other in rivals.items()
    ]


def operands(bits: int, pixels: int) -> tuple[Any, ...]:
    """Return the arguments of a random product, 288 deep and 32 channels wide."""
    random, fmt, outputs = np.random.default_rng(bits), DyBit(bits), 32
    activations = random.integers(0, 1 << bits, (pixels, 288), np.uint8)
    weights = random.integers(0, 1 << bits, (288, outputs), np.uint8)
    shift = {4: 8, 8: 18}[bits]
    requantization = Requantization(
        fmt,
        random.integers(-1000, 1000, outputs),
        random.integers(1 << 15, 1 << 16, outputs),
        np.full(outputs, 15 + shift),
    )
    return activations, np.ones(activations.shape, np.bool_), fmt, weights, fmt, requantization


def multiply(engine: Engine, bits: int, pixels: int) -> int:
    """Run a product on the engine, compare it with the golden model, return its cycles."""
    arguments = operands(bits, pixels)
    activations, _, fmt, weights, _, parameters = arguments
    result = engine.matmul(*arguments)
    expected = golden.matmul(activations, fmt, weights, fmt)
    codes = golden.requantize(
        expected, parameters.bias, parameters.multiplier, parameters.shift, fmt
    )
    np.testing.assert_array_equal(result.accumulators, expected)
    np.testing.assert_array_equal(result.codes, codes)
    return result.cycles


def record(design: Path) -> Job:
    """Return a W8A8 and a W4A4 product as they cross the ports."""
    with Recorder(design) as model:
        engine = Engine(model, instances=1)
        model.played.clear()
        for bits in (8, 4):
            multiply(engine, bits, 64)
        words = np.concatenate([played[0] for played in model.played])
        trace = np.concatenate([played[1] for played in model.played])
        inputs, outputs = integers(words, model.inputs), integers(trace, model.outputs)
        meant = np.full_like(trace, 0xFFFFFFFF)
    del inputs["rst"]
    for port in ("accumulators", "codes"):
        valid = np.array(outputs[f"{port}__valid"], np.bool_)
        for cycle in np.flatnonzero(~valid):
            outputs[f"{port}__data"][cycle] = None
        data = model.outputs[f"{port}__data"]
        meant[~valid, data.offset : data.offset + data.words] = 0
    return Job(inputs, outputs, words, trace & meant, meant)


def integers(rows: Words, ports: Mapping[str, PlayerPort]) -> Values:
    """Return the value of each port in each row."""
    return {
        name: [
            int.from_bytes(row.tobytes(), "little")
            for row in rows[:, port.offset : port.offset + port.words]
        ]
        for name, port in ports.items()
    }


def runner_rate(design: Path, job: Job, instances: int) -> float:
    """Return the cycles a second of some instances of the model together, a thread each."""

    def play(model: CompiledModel) -> bool:
        return np.array_equal(model.play(job.words) & job.meant, job.trace)

    best = float("inf")
    with CompiledModel(design) as model, ThreadPoolExecutor(instances) as pool:
        models = [model, *(model.twin() for _ in range(instances - 1))]
        for each in models:
            each.reset()
        for _ in range(PLAYS):
            start = perf_counter()
            assert all(pool.map(play, models))
            best = min(best, perf_counter() - start)
    return instances * len(job.words) / best


def engine_rate(design: Path) -> float:
    """Return the cycles a second of long products, from matrices to matrices."""
    with CompiledModel(design) as model:
        engine = Engine(model)
        products = [operands(bits, pixels) for bits, pixels in ((8, 2048), (4, 4096))]
        best = float("inf")
        for _ in range(REPEATS):
            start = perf_counter()
            cycles = sum(engine.matmul(*arguments).cycles for arguments in products)
            best = min(best, perf_counter() - start)
    return cycles / best


def cocotb_rate(array: ArrayConfig, job: Job, simulator: str, cycles: int) -> float:
    """Return the cycles a second of `tests.hw`'s drivers and monitors."""
    with TemporaryDirectory(prefix="dybit-bench-") as directory:
        recorded, seconds = Path(directory) / "job.json", Path(directory) / "seconds.json"
        recorded.write_text(json.dumps(job.first(cycles)))
        parameters = {"job": str(recorded), "seconds": str(seconds)}
        done = run_bench(
            MatrixEngine(array),
            TOP,
            "rate_tests",
            Path(directory),
            simulator=simulator,
            parameters=parameters,
            optimise=True,
        )
        return float(done / json.loads(seconds.read_text()))


def amaranth_rate(array: ArrayConfig, job: Job) -> float:
    """Return the cycles a second of Amaranth's own simulator."""
    engine = MatrixEngine(array)
    ports = {port: value for port, (value, _) in component_ports(engine).items()}
    seconds = 0.0

    def signals(values: Values) -> list[tuple[Any, Sequence[int | None]]]:
        return [(ports[port], column) for port, column in values.items()]

    async def bench(context: Any) -> None:
        nonlocal seconds
        inputs, outputs = signals(job.inputs), signals(job.outputs)
        start = perf_counter()
        for cycle in range(SLOW_CYCLES):
            for signal, column in inputs:
                context.set(signal, column[cycle])
            for signal, column in outputs:
                expected = column[cycle]
                assert expected is None or context.get(signal) == expected
            await context.tick()
        seconds = perf_counter() - start

    simulator = Simulator(engine)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return SLOW_CYCLES / seconds
