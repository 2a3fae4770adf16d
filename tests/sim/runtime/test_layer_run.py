"""Layers of known networks on the RTL, byte for byte as the golden device has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dybit.quant.config import QuantConfig
from dybit.quant.precision import PrecisionMode
from dybit.quant.workloads import LayerKind, LayerShape, table
from dybit.sim.board_driver import PlanError
from dybit.sim.runtime import GoldenDevice, RtlDevice
from dybit.sim.runtime.engine_layer import Hardware
from dybit.sim.runtime.layer_run import place, random_layer
from tests.accelerators import DEEP_ACCELERATOR

SEED = 5
LARGE = QuantConfig.from_dict(
    {
        "array": {
            "rows": 16,
            "columns": 16,
            "modes": ["W8A8", "W4A4"],
            "max_reduction": 4608,
            "accumulator_depth": 1024,
        },
        "accelerator": {"depthwise_kernel": 3},
        "default": {"weight_bits": 8, "activation_bits": 8},
    }
)

Emitted = Callable[[QuantConfig], Path]

pytestmark = pytest.mark.rtl


class Bench:
    """An accelerator and its golden model."""

    def __init__(self, config: QuantConfig, directory: Path) -> None:
        self.hardware = Hardware(config.array, config.accelerator)
        self.device = RtlDevice(directory)
        self.golden = GoldenDevice(directory)

    def compare(self, shape: LayerShape, mode: str, first: bool = False) -> int:
        """Run a layer on both, compare all memory and return the bytes the layer wrote."""
        layer = random_layer(shape, PrecisionMode.parse(mode), self.hardware, SEED)
        job = place(layer, self.hardware, SEED, packed=first)
        report, memory = job.run(self.device)
        expected, golden = job.run(self.golden)
        assert report.error == expected.error == 0
        assert np.array_equal(memory, golden), shape
        untouched = np.ones(memory.size, bool)
        untouched[job.output] = False
        lists = slice(job.list_address, job.list_address + 128 * len(job.fields))
        untouched[lists] = False
        assert np.array_equal(memory[untouched], job.image[untouched]), shape
        # Results that do not differ from each other would compare nothing.
        assert len(np.unique(memory[job.output])) > 8, shape
        return job.output.stop - job.output.start


@pytest.fixture(scope="module")
def small(emitted: Emitted) -> Bench:
    return Bench(DEEP_ACCELERATOR, emitted(DEEP_ACCELERATOR))


def layers_of(name: str, largest: int) -> list[LayerShape]:
    """Return the layers of a network on images of at most `largest`, one of each shape."""
    seen, layers = set(), []
    for layer in table(name).array_layers:
        key = (layer.kind, layer.input_shape, layer.output_shape, layer.kernel, layer.stride)
        if max(layer.input_shape[:2]) <= largest and key not in seen:
            seen.add(key)
            layers.append(layer)
    return layers


@pytest.mark.parametrize("mode", ["W8A8", "W4A4"])
def test_reduced_layers_of_resnet18(
    small: Bench, mode: str, vectors: Callable[[str, int], None]
) -> None:
    """ResNet18 with a quarter of its channels and images half as large."""
    count = 0
    for shape in layers_of("resnet18", 28):
        height, width, channels = shape.input_shape
        reduced = LayerShape(
            name=shape.name,
            kind=shape.kind,
            inputs=shape.inputs,
            input_shape=(-(-height // 2), -(-width // 2), channels // 4),
            output_shape=(
                -(-shape.output_shape[0] // 2),
                -(-shape.output_shape[1] // 2),
                shape.outputs // 4,
            ),
            kernel=shape.kernel,
            stride=shape.stride,
            padding=shape.padding,
        )
        count += small.compare(reduced, mode)
    vectors("reduced ResNet18 on RTL, bytes", count)


@pytest.mark.parametrize("mode", ["W8A8", "W4A4"])
def test_small_layers_of_mobilenet(
    small: Bench, mode: str, vectors: Callable[[str, int], None]
) -> None:
    shapes = [
        layer
        for layer in layers_of("mobilenet_v2", 14)
        if layer.kind is LayerKind.DEPTHWISE and layer.channels <= 576
    ]
    assert len({shape.stride for shape in shapes}) == 2
    count = sum(small.compare(shape, mode) for shape in shapes[:3])
    vectors("depthwise layers of MobileNetV2 on RTL, bytes", count)


def test_a_layer_beyond_the_array_is_refused(small: Bench) -> None:
    shape = next(layer for layer in table("resnet18").array_layers if layer.reduction > 2304)
    with pytest.raises(PlanError, match=r"a reduction of \d+ is not allowed"):
        random_layer(shape, PrecisionMode.parse("W8A8"), small.hardware)


@pytest.mark.full
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
@pytest.mark.parametrize("mode", ["W8A8", "W4A4"])
def test_every_layer_at_full_size(
    name: str, mode: str, emitted: Emitted, vectors: Callable[[str, int], None]
) -> None:
    """All layers at 56x56 and below, and those above, on 16 x 16 elements."""
    bench = Bench(LARGE, emitted(LARGE))
    count = sum(
        bench.compare(shape, mode, first=index == 0)
        for index, shape in enumerate(layers_of(name, 224))
    )
    vectors(f"{name} at full size on RTL, bytes", count)
