"""ResNet and MobileNetV2 with the parameter names of torchvision, whose state-dicts they take.

He et al., arXiv 1512.03385, table 1, the stride of a bottleneck on its 3 x 3 convolution as in
torchvision; Sandler et al., arXiv 1801.04381, table 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from torch import Tensor, nn

__all__ = ["ARCHITECTURES", "MobileNetV2", "ResNet", "mobilenet_v2", "resnet18", "resnet50"]


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions around a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return cast(Tensor, self.relu(y + (x if self.downsample is None else self.downsample(x))))


class Bottleneck(nn.Module):
    """A 3 x 3 convolution between 1 x 1 ones, around a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return cast(Tensor, self.relu(y + (x if self.downsample is None else self.downsample(x))))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """A residual network for images.

    Parameters
    ----------
    block : type
        `BasicBlock` or `Bottleneck`.
    counts : sequence of int
        Blocks of the four stages.
    classes : int
    width : int
        Channels of the first stage's convolutions.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        counts: tuple[int, int, int, int],
        classes: int,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        channels = width
        for index, count in enumerate(counts):
            layer = nn.Sequential()
            for number in range(count):
                stride = 2 if index and not number else 1
                layer.append(block(channels, width << index, stride))
                channels = (width << index) * block.expansion
            self.add_module(f"layer{index + 1}", layer)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for name in ("layer1", "layer2", "layer3", "layer4"):
            x = self.get_submodule(name)(x)
        return cast(Tensor, self.fc(self.avgpool(x).flatten(1)))


class InvertedResidual(nn.Module):
    """A wide depthwise convolution between 1 x 1 ones, the last without activation."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = [] if expansion == 1 else [_normed(inputs, hidden, 1)]
        layers += [
            _normed(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.conv = nn.Sequential(*layers)
        self.use_res_connect = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.use_res_connect else y


class MobileNetV2(nn.Module):
    """MobileNetV2.

    Parameters
    ----------
    classes : int
    width : float
        Factor on the channels of every layer, which are then rounded to multiples of 8.
    """

    # Expansion, channels, blocks, stride of the first.
    BLOCKS = (
        *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1)),
        *((6, 160, 3, 2), (6, 320, 1, 1)),
    )

    def __init__(self, classes: int, width: float = 1.0) -> None:
        super().__init__()
        channels = _eights(32 * width)
        layers: list[nn.Module] = [_normed(3, channels, 3, 2)]
        for expansion, outputs, count, stride in self.BLOCKS:
            wide = _eights(outputs * width)
            for number in range(count):
                step = 1 if number else stride
                layers.append(InvertedResidual(channels, wide, step, expansion))
                channels = wide
        last = _eights(1280 * max(1.0, width))
        self.features = nn.Sequential(*layers, _normed(channels, last, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.features(x), 1)
        return cast(Tensor, self.classifier(x.flatten(1)))


def _eights(channels: float) -> int:
    """Round to a multiple of 8, down by at most a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _normed(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    padding = (kernel - 1) // 2
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


def resnet18(classes: int = 1000) -> nn.Module:
    """Return ResNet18, untrained."""
    return ResNet(BasicBlock, (2, 2, 2, 2), classes)


def resnet50(classes: int = 1000) -> nn.Module:
    """Return ResNet50, untrained."""
    return ResNet(Bottleneck, (3, 4, 6, 3), classes)


def mobilenet_v2(classes: int = 1000) -> nn.Module:
    """Return MobileNetV2, untrained."""
    return MobileNetV2(classes)


ARCHITECTURES: Mapping[str, tuple[Callable[[int], nn.Module], str]] = {
    "resnet18": (resnet18, "fc.bias"),
    "resnet50": (resnet50, "fc.bias"),
    "mobilenet_v2": (mobilenet_v2, "classifier.1.bias"),
}
"""What builds each architecture for a number of classes, and the parameter that has so many."""
