"""The cycle model against the counters of the emitted accelerator, every one of them equal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

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
from dybit.scripts.verilog import emit_accelerator
from dybit.sim.board_driver import Fields
from dybit.sim.cycles import Machine, Memory, count
from dybit.sim.runtime import PlanError, RtlDevice, compile
from dybit.sim.runtime.layer_run import place, random_layer
from tests.accelerators import KINDS, draw_network

SEED = 606
DRAWS = 28
"""Networks of two layers for each accelerator."""

EVERY = ["W8A8", "W8A4", "W4A8", "W4A4", "W2A4", "W4A2", "W2A2"]
SMALL = {"activation_words": 128, "output_words": 128, "weight_rows": 32, "depthwise_width": 16}


def config(name: str, rows: int, columns: int, **array: Any) -> QuantConfig:
    accelerator = {"parameter_groups": 64, **SMALL, **array.pop("accelerator", {})}
    fields = {"rows": rows, "columns": columns, "max_reduction": 4096, "accumulator_depth": 32}
    default = {"weight_bits": 8, "activation_bits": 8}
    parts = {"array": fields | array, "default": default, "accelerator": accelerator}
    return QuantConfig.from_dict({"name": name, **parts})


# The first three are those of test_rtl_networks, and so compiled already.
ESB = {"family": "esb", "esb_k4": 1, "esb_k8": 4, "activations": "signed"}
CONFIGS = {
    each.name: each
    for each in (
        config("4x4", 4, 4, modes=EVERY),
        config("8x4", 8, 4, modes=["W8A8", "W4A4"], accelerator={"depthwise_kernel": 3}),
        config("4x8", 4, 8, modes=["W8A8", "W4A4"], **ESB),
        config(
            *("8x8", 8, 8),
            modes=["W8A8", "W4A4"],
            accumulator_depth=256,
            accelerator={"activation_words": 512, "output_words": 512, "depthwise_kernel": 3},
        ),
    )
}

Open = Callable[..., RtlDevice]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Return what opens an accelerator by name, each emitted once."""
    folders: dict[str, Path] = {}
    devices: list[RtlDevice] = []

    def device(name: str, **options: int) -> RtlDevice:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name)
            emit_accelerator(CONFIGS[name], folders[name])
        devices.append(RtlDevice(folders[name], **options))
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
@pytest.mark.parametrize("name", CONFIGS)
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
    w8a8, w4a4 = CONFIGS["8x8"].array.modes
    for index in (0, 2, 7, 12, 17):
        shape = table("resnet18").array_layers[index]
        assert alone(device, shape, w8a8 if index == 17 else w4a4) == {}, shape.name


@pytest.mark.rtl
@pytest.mark.parametrize("latency", [0, 7, 300])
def test_memories(opened: Open, latency: int) -> None:
    rng = np.random.default_rng(SEED + latency)
    built, device = CONFIGS["8x4"], opened("8x4", latency=latency)
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
    device, modes = opened("8x8"), CONFIGS["8x8"].array.modes
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
    device = opened("8x8")
    for mode in CONFIGS["8x8"].array.modes:
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
    manifest = opened("4x4").manifest
    engine = {
        name: manifest["latency"][name]
        for name in ("array", "accumulate", "revisit", "accumulators", "codes")
    }
    assert manifest["latency"] == latencies(engine)
