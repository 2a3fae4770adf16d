"""ResNet18, ResNet50, MobileNetV2 and AlexNet as torchvision has them, for images of 224 x 224.

Layers have the names of torchvision's modules, so that a config found for a table fits the network
itself. He et al., arXiv 1512.03385, table 1, the stride of a bottleneck on its 3 x 3 convolution;
Sandler et al., arXiv 1801.04381, table 2; Krizhevsky, arXiv 1404.5997. The totals are those that
torchvision publishes with its weights, `PUBLISHED`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from dybit.quant.layer import INPUT
from dybit.quant.tensor import NetworkError
from dybit.quant.workloads.layer_shape import Image
from dybit.quant.workloads.sketch import Sketch
from dybit.quant.workloads.workload import Workload

__all__ = ["PUBLISHED", "TABLES", "table"]

IMAGE: Image = (224, 224, 3)
CLASSES = 1000

PUBLISHED: Mapping[str, tuple[float, int]] = {
    "resnet18": (1.814, 11_689_512),
    "resnet50": (4.089, 25_557_032),
    "mobilenet_v2": (0.301, 3_504_872),
    "alexnet": (0.714, 61_100_840),
}
"""Billions of multiply-accumulates and parameters: `_ops` and `num_params` in the metadata of
torchvision 0.15's weights."""

_STAGES = (64, 128, 256, 512)

_INVERTED = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1)),
    *((6, 160, 3, 2), (6, 320, 1, 1)),
)
"""Expansion, channels, blocks and stride of the first, for each row of MobileNetV2's table."""


@cache
def table(name: str) -> Workload:
    """Return the workload called `name`, one of `TABLES`."""
    if name not in TABLES:
        raise NetworkError(f"workload must be one of {', '.join(TABLES)}, not {name!r}")
    return TABLES[name]()


def _resnet18() -> Workload:
    sketch, x, channels = _stem("resnet18")
    for stage, (width, count) in enumerate(zip(_STAGES, (2, 2, 2, 2), strict=True), 1):
        for number in range(count):
            block = f"layer{stage}.{number}"
            stride = 2 if stage > 1 and not number else 1
            y = sketch.conv(f"{block}.conv1", x, width, 3, stride)
            y = sketch.conv(f"{block}.conv2", y, width, 3, relu=False)
            x = _shortcut(sketch, block, x, y, channels, width, stride)
            channels = width
    return _classify(sketch, x)


def _resnet50() -> Workload:
    sketch, x, channels = _stem("resnet50")
    for stage, (width, count) in enumerate(zip(_STAGES, (3, 4, 6, 3), strict=True), 1):
        for number in range(count):
            block = f"layer{stage}.{number}"
            stride = 2 if stage > 1 and not number else 1
            y = sketch.conv(f"{block}.conv1", x, width, 1)
            y = sketch.conv(f"{block}.conv2", y, width, 3, stride)
            y = sketch.conv(f"{block}.conv3", y, 4 * width, 1, relu=False)
            x = _shortcut(sketch, block, x, y, channels, 4 * width, stride)
            channels = 4 * width
    return _classify(sketch, x)


def _stem(name: str) -> tuple[Sketch, str, int]:
    sketch = Sketch(name, IMAGE)
    x = sketch.conv("conv1", INPUT, _STAGES[0], 7, 2)
    return sketch, sketch.max_pool("maxpool", x, 3, 2, 1), _STAGES[0]


def _shortcut(
    sketch: Sketch, block: str, x: str, y: str, channels: int, outputs: int, stride: int
) -> str:
    if stride != 1 or channels != outputs:
        x = sketch.conv(f"{block}.downsample.0", x, outputs, 1, stride, relu=False)
    return sketch.add(f"{block}.add", y, x, relu=True)


def _classify(sketch: Sketch, x: str) -> Workload:
    x = sketch.flatten("flatten", sketch.mean("avgpool", x))
    sketch.linear("fc", x, CLASSES)
    return sketch.finish()


def _mobilenet_v2() -> Workload:
    sketch = Sketch("mobilenet_v2", IMAGE)
    channels = 32
    x = sketch.conv("features.0.0", INPUT, channels, 3, 2)
    index = 0
    for expansion, outputs, count, first in _INVERTED:
        for number in range(count):
            index += 1
            stride = 1 if number else first
            block, hidden, y = f"features.{index}", channels * expansion, x
            if expansion > 1:
                y = sketch.conv(f"{block}.conv.0.0", y, hidden, 1)
            place = f"{block}.conv.{int(expansion > 1)}.0"
            y = sketch.conv(place, y, hidden, 3, stride, groups=hidden)
            y = sketch.conv(f"{block}.conv.{1 + (expansion > 1)}", y, outputs, 1, relu=False)
            residual = stride == 1 and channels == outputs
            x = sketch.add(f"{block}.add", x, y, relu=False) if residual else y
            channels = outputs
    x = sketch.conv(f"features.{index + 1}.0", x, 1280, 1)
    # The dropout before the classifier is where the flattened tensor is met.
    x = sketch.flatten("classifier.0", sketch.mean("adaptive_avg_pool2d", x))
    sketch.linear("classifier.1", x, CLASSES)
    return sketch.finish()


def _alexnet() -> Workload:
    sketch = Sketch("alexnet", IMAGE)
    x = sketch.conv("features.0", INPUT, 64, 11, 4, 2, bias=True)
    x = sketch.max_pool("features.2", x, 3, 2)
    x = sketch.conv("features.3", x, 192, 5, bias=True)
    x = sketch.max_pool("features.5", x, 3, 2)
    for place, outputs in ((6, 384), (8, 256), (10, 256)):
        x = sketch.conv(f"features.{place}", x, outputs, 3, bias=True)
    # At this size its adaptive average pooling changes nothing.
    x = sketch.flatten("flatten", sketch.max_pool("features.12", x, 3, 2))
    x = sketch.linear("classifier.1", x, 4096, relu=True)
    x = sketch.linear("classifier.4", x, 4096, relu=True)
    sketch.linear("classifier.6", x, CLASSES)
    return sketch.finish()


TABLES: Mapping[str, Callable[[], Workload]] = {
    "resnet18": _resnet18,
    "resnet50": _resnet50,
    "mobilenet_v2": _mobilenet_v2,
    "alexnet": _alexnet,
}
"""What draws each table, by its name."""
