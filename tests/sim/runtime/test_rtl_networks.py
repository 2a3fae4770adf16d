"""Whole layers on the emitted accelerator: all of the memory, as the golden device leaves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from dybit.quant.config import QuantConfig
from dybit.quant.network import QuantNetwork
from dybit.sim import executor
from dybit.sim.runtime import EngineError, GoldenDevice, Plan, PlanError, RtlDevice, compile
from tests.accelerators import SMALL_ACCELERATORS, draw_network

NETWORKS = 40
GUARD = 4096


RTL_CONFIGS = SMALL_ACCELERATORS


@pytest.fixture
def folder(emitted: Callable[[QuantConfig], Path], rtl_config: QuantConfig) -> Path:
    return emitted(rtl_config)


@pytest.fixture
def devices(folder: Path) -> Iterator[tuple[GoldenDevice, RtlDevice]]:
    with RtlDevice(folder) as rtl:
        rtl.identify()
        yield GoldenDevice(folder), rtl


def drawn(built: QuantConfig, seed: int) -> tuple[QuantNetwork, Plan]:
    """Return a network that fits the accelerator, and its plan."""
    rng = np.random.default_rng(seed)
    while True:
        network = draw_network(rng, built)
        try:
            return network, compile(network, built, batch=2, keep=True)
        except PlanError as error:
            assert "of a tile must be at most" in str(error)  # noqa: PT017


def images(network: QuantNetwork, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3, 0.8, (2, *network.input_shape))


def fill(golden: GoldenDevice, rtl: RtlDevice, plan: Plan, seed: int) -> None:
    """Give both memories the same noise, and no plan."""
    for device in (golden, rtl):
        device.allocate(plan.size + GUARD)
    noise = np.random.default_rng(seed).integers(0, 256, len(rtl.memory))
    golden.memory[:], rtl.memory[:] = noise, noise


@pytest.mark.rtl
def test_all_of_the_memory(
    devices: tuple[GoldenDevice, RtlDevice],
    rtl_config: QuantConfig,
    vectors: Callable[[str, int], None],
) -> None:
    golden, rtl = devices
    compared = 0
    for seed in range(NETWORKS):
        network, plan = drawn(rtl_config, seed)
        fill(golden, rtl, plan, seed)
        x = images(network, seed)
        want = golden.run(plan, x)
        got = rtl.run(plan, x)
        assert np.array_equal(rtl.memory, golden.memory), f"seed {seed}"
        assert np.array_equal(got.outputs, want.outputs)
        assert np.array_equal(got.outputs, executor.run(network, x).logits)
        compared += sum(buffer.size for buffer in plan.tensors.values())
    vectors("accelerator", compared)


@pytest.mark.rtl
def test_counters_count(devices: tuple[GoldenDevice, RtlDevice], rtl_config: QuantConfig) -> None:
    """What goes over the bus, and what the array is given, follows from the descriptors."""
    _, rtl = devices
    array = rtl_config.array
    beats = lambda size: -(-size // 16)  # noqa: E731
    for seed in range(8):
        network, plan = drawn(rtl_config, seed)
        result = rtl.run(plan, images(network, seed))
        for run, counters in zip(plan.runs, result.counters, strict=True):
            vectors = sum(
                t["column_tiles"] * t["kernel_height"] * t["kernel_width"] * t["block_count"]
                * max(t["output_height"] * t["output_width_pixels"], 1)
                for t in run.tiles if t["kind"] == 0
            )  # fmt: skip
            assert counters["vectors"] == vectors
            stored = sum(t["output_rows"] * beats(t["output_row_bytes"]) for t in run.tiles)
            assert (
                stored
                <= counters["write_beats"]
                <= stored + sum(t["output_rows"] for t in run.tiles)
            )
            loaded = sum(
                t["input_rows"] * beats(t["input_row_words"] * array.rows) for t in run.tiles
            )
            assert counters["read_beats"] > loaded + 8 * len(run.tiles)
            assert counters["cycles"] > max(vectors, counters["read_beats"])


BROKEN: dict[str, tuple[dict[str, int], int]] = {
    "illegal": ({"kernel_width": 0}, 1),
    "list": ({"last": 0}, 2),
    "input": ({"input_address": 1 << 30}, 4),
    "weights": ({"weights_address": 1 << 30}, 4),
    "parameters": ({"parameters_address": 1 << 30}, 4),
    "output": ({"output_address": 1 << 30}, 6),
}


@pytest.mark.rtl
@pytest.mark.parametrize("case", BROKEN)
def test_errors_and_the_next_run(
    devices: tuple[GoldenDevice, RtlDevice], rtl_config: QuantConfig, case: str
) -> None:
    """A run that fails says why and leaves no trace; the next is as any first."""
    golden, rtl = devices
    change, error = BROKEN[case]
    network, plan = drawn(rtl_config, 3)
    x = images(network, 3)
    fill(golden, rtl, plan, 3)
    want = golden.run(plan, x)
    rtl.run(plan, x)
    (run,) = plan.runs
    base = rtl.load(plan)
    first = {**run.tiles[0], "last": 1, **change}
    before = rtl.memory.copy()
    for device in (golden, rtl):
        device.write(base + run.address, device.descriptors([first], base))
        report = device.execute(base + run.address, 1)
        assert (report.error, report.descriptor) == (error, 0)
    detail = golden.execute(base + run.address, 1).detail
    assert rtl.execute(base + run.address, 1).detail == detail
    before[base + run.address :][:128] = rtl.memory[base + run.address :][:128]
    assert np.array_equal(rtl.memory, before)

    rtl.write(base + run.address, rtl.descriptors(run.tiles, base))
    assert np.array_equal(rtl.run(plan, x).outputs, want.outputs)


@pytest.mark.rtl
def test_reset_in_the_middle(
    devices: tuple[GoldenDevice, RtlDevice], rtl_config: QuantConfig
) -> None:
    golden, rtl = devices
    network, plan = drawn(rtl_config, 1)
    x = images(network, 1)
    want = golden.run(plan, x)
    (run,) = plan.runs
    base = rtl.load(plan)
    for cycles in (5, 60, 200, 333):
        rtl.start(base + run.address, len(run.tiles))
        rtl.step(cycles)
        rtl.reset()
        assert rtl.get("CTRL") == 4  # idle
        assert np.array_equal(rtl.run(plan, x).outputs, want.outputs)


@pytest.mark.rtl
@pytest.mark.parametrize("latency", [0, 150])
def test_results_do_not_depend_on_the_memory_s_latency(
    folder: Path, rtl_config: QuantConfig, latency: int
) -> None:
    golden = GoldenDevice(folder)
    with RtlDevice(folder, latency=latency) as rtl:
        for seed in range(4):
            network, plan = drawn(rtl_config, seed)
            fill(golden, rtl, plan, seed)
            x = images(network, seed)
            golden.run(plan, x)
            rtl.run(plan, x)
            assert np.array_equal(rtl.memory, golden.memory)


@pytest.mark.rtl
def test_run_raises_what_the_hardware_reports(folder: Path, rtl_config: QuantConfig) -> None:
    network, plan = drawn(rtl_config, 2)
    with RtlDevice(folder) as rtl:
        rtl.load(plan)
        rtl.write(rtl.base + plan.runs[0].address + 32, np.zeros(1, np.uint8))
        with pytest.raises(EngineError, match=r"illegal descriptor \(error 1, detail 10\) at"):
            rtl.run(plan, images(network, 2))
