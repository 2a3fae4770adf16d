"""The cycle model against the counters of the emitted accelerator, every one of them equal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dybit.hw.latencies import latencies
from dybit.quant.config import QuantConfig
from dybit.quant.layer import INPUT
from dybit.quant.precision import PrecisionMode
from dybit.quant.torch.workload import traced_workload
from dybit.quant.workloads import LayerShape, table
from dybit.quant.workloads.sketch import Sketch
from dybit.scripts.digits_networks import NETWORKS
from dybit.sim.board_driver import Fields
from dybit.sim.cycles import Machine, Memory, count
from dybit.sim.runtime import PlanError, RtlDevice, compile
from dybit.sim.runtime.layer_run import place, random_layer
from tests.accelerators import (
    DEEP_ACCELERATOR,
    KINDS,
    SMALL_ACCELERATORS,
    draw_network,
    small_accelerator,
)

SEED = 606
DRAWS = 28
"""Networks of two layers for each accelerator."""

MEMORIES = {"activation_words": 512, "output_words": 512}
LARGE = small_accelerator("8x8", 8, 8, ["W8A8", "W4A4"], 3, MEMORIES, accumulator_depth=256)
RANDOM = {each.name: each for each in (*SMALL_ACCELERATORS, DEEP_ACCELERATOR)}
CONFIGS = RANDOM | {LARGE.name: LARGE}

Open = Callable[..., RtlDevice]


@pytest.fixture(scope="module")
def opened(emitted: Callable[[QuantConfig], Path]) -> Iterator[Open]:
    """Return what opens an accelerator by name."""
    devices: list[RtlDevice] = []

    def device(name: str, **options: int) -> RtlDevice:
        devices.append(RtlDevice(emitted(CONFIGS[name]), **options))
        return devices[-1]

    yield device
    for each in devices:
        each.close()


def differences(
    device: RtlDevice, fields: list[Fields], base: int, address: int, latency: int = 40
) -> dict[str, tuple[int, int]]:
    """Run a list that is in memory; return the counters that the model has otherwise."""
    report = device.execute(base + address, len(fields))
    assert report.error == 0
    machine = Machine.of_manifest(device.manifest, Memory(latency))
    model = asdict(count(fields, machine, base, base + address))
    assert set(report.counters) <= set(model)
    return {
        name: (model[name], found)
        for name, found in report.counters.items()
        if model[name] != found
    }


@pytest.mark.rtl
@pytest.mark.parametrize("name", RANDOM)
def test_random_layers(opened: Open, name: str, vectors: Callable[[str, int], None]) -> None:
    rng = np.random.default_rng(SEED)
    built, device = CONFIGS[name], opened(name)
    lists = 0
    for draw in range(DRAWS):
        while True:
            network = draw_network(rng, built, KINDS[draw % len(KINDS)])
            try:
                plan = compile(network, built, batch=int(rng.integers(1, 4)))
            except PlanError:
                continue
            break
        base = device.load(plan)
        for run in plan.runs:
            # All layers together, then each alone.
            assert differences(device, run.tiles, base, run.address) == {}, (draw, run.layers)
            lists += 1
            for layer in dict.fromkeys(run.layers):
                alone = [
                    tile | {"last": 0}
                    for tile, owner in zip(run.tiles, run.layers, strict=True)
                    if owner == layer
                ]
                alone[-1]["last"] = 1
                device.write(base + run.address, device.descriptors(alone, base))
                assert differences(device, alone, base, run.address) == {}, (draw, layer)
                lists += 1
    # Two layers a network, in one list or two: alone and together.
    assert lists >= 3 * DRAWS
    vectors(f"cycles {name}", lists)


@pytest.mark.rtl
@pytest.mark.full
def test_layers_of_resnet18_at_full_size(opened: Open) -> None:
    """The first, and one of each stage, on 8 x 8 elements."""
    device = opened("8x8")
    w8a8, w4a4 = LARGE.array.modes
    for index in (0, 2, 7, 12, 17):
        shape = table("resnet18").array_layers[index]
        assert alone(device, shape, w8a8 if index == 17 else w4a4) == {}, shape.name


@pytest.mark.rtl
@pytest.mark.parametrize("latency", [0, 7, 300])
def test_memories(opened: Open, latency: int) -> None:
    rng = np.random.default_rng(SEED + latency)
    built, device = CONFIGS["tall"], opened("tall", latency=latency)
    for kind in KINDS:
        network = draw_network(rng, built, kind)
        plan = compile(network, built, batch=2)
        base = device.load(plan)
        for run in plan.runs:
            assert differences(device, run.tiles, base, run.address, latency) == {}, kind


@pytest.mark.rtl
@pytest.mark.parametrize("network", [*NETWORKS, "resnet18"])
def test_layers_of_networks(
    opened: Open, network: str, vectors: Callable[[str, int], None]
) -> None:
    device, modes = opened("deep"), DEEP_ACCELERATOR.array.modes
    layers = shapes(network)
    for index, shape in enumerate(layers):
        assert alone(device, shape, modes[index % 2], packed=index == 0) == {}, shape.name
    vectors(f"cycles of layers of {network}", len(layers))


@pytest.mark.rtl
@pytest.mark.parametrize(
    ("kernel", "channels", "outputs", "side"), [(3, 96, 128, 7), (1, 256, 384, 9), (3, 16, 24, 28)]
)
def test_layers_of_many_passes(
    opened: Open, kernel: int, channels: int, outputs: int, side: int
) -> None:
    """What repeats itself in a tile is gone through once."""
    sketch = Sketch("large", (side, side, channels))
    sketch.conv("conv", INPUT, outputs, kernel)
    (shape,) = sketch.finish().array_layers
    device = opened("deep")
    for mode in DEEP_ACCELERATOR.array.modes:
        assert alone(device, shape, mode) == {}, mode


def alone(
    device: RtlDevice, shape: LayerShape, mode: PrecisionMode, packed: bool = False
) -> dict[str, tuple[int, int]]:
    """Run a layer with random operands; return what the model has otherwise."""
    hardware = Machine.of_manifest(device.manifest).hardware
    job = place(random_layer(shape, mode, hardware), hardware, packed=packed)
    base = device.allocate(job.image.size)
    device.write(base, job.image)
    device.write(base + job.list_address, device.descriptors(job.fields, base))
    return differences(device, job.fields, base, job.list_address)


def shapes(network: str) -> tuple[LayerShape, ...]:
    """Return the layers of a network for digits, or of ResNet18 at 32 x 32, an eighth as wide."""
    if network in NETWORKS:
        torch.manual_seed(1)
        workload = traced_workload(NETWORKS[network]().eval(), torch.zeros(1, 1, 8, 8))
        return workload.array_layers
    return tuple(
        replace(
            layer,
            input_shape=reduced(layer.input_shape),
            output_shape=reduced(layer.output_shape),
        )
        for layer in table("resnet18").array_layers
    )


def reduced(image: tuple[int, int, int]) -> tuple[int, int, int]:
    height, width, channels = image
    return -(-height // 7), -(-width // 7), -(-channels // 8)


@pytest.mark.rtl
def test_the_manifest_tells_the_latencies(opened: Open) -> None:
    manifest = opened("every-mode").manifest
    engine = {
        name: manifest["latency"][name]
        for name in ("array", "accumulate", "revisit", "accumulators", "codes")
    }
    assert manifest["latency"] == latencies(engine)
