"""Networks for the handwritten digits whose layers are those of larger ones, and short."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from dybit.scripts.digits import DigitsNet

__all__ = ["NETWORKS", "MobileDigits", "ResidualDigits"]


class ResidualDigits(nn.Module):
    """Nine residual blocks in three stages, as ResNet-20 for CIFAR-10, half as wide.

    He et al., arXiv 1512.03385, section 4.2: 3 x 3 convolutions, twice as many channels where the
    image is halved, the mean of each channel before the head. Shortcuts between stages are
    1 x 1 convolutions.
    """

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        blocks: list[nn.Module] = []
        channels = width
        for stage in range(3):
            for block in range(3):
                stride = 2 if stage and not block else 1
                blocks.append(_ResidualBlock(channels, width << stage, stride))
                channels = width << stage
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.stem(x)))
        x = self.pool(self.blocks(x))
        result: Tensor = self.head(x.flatten(1))
        return result


class _ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class MobileDigits(nn.Module):
    """Inverted residuals with depthwise convolutions and ReLU6, as MobileNetV2.

    Sandler et al., arXiv 1801.04381, table 2, cut to images of 8 x 8: five blocks of expansion 3,
    the last layer of each without activation.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_Normed(1, 16, 3)]
        channels = 16
        for outputs, stride in ((16, 1), (24, 2), (24, 1), (32, 2), (32, 1)):
            layers.append(_InvertedResidual(channels, outputs, stride))
            channels = outputs
        layers.append(_Normed(channels, 96, 1))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(96, 10)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.pool(self.features(x)).flatten(1))
        return result


class _Normed(nn.Sequential):
    """A convolution, batch norm, and ReLU6 unless it is linear."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__(
            nn.Conv2d(
                inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False
            ),
            nn.BatchNorm2d(outputs),
        )
        if not linear:
            self.append(nn.ReLU6())


class _InvertedResidual(nn.Module):
    EXPANSION = 3

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        wide = inputs * self.EXPANSION
        self.layers = nn.Sequential(
            _Normed(inputs, wide, 1),
            _Normed(wide, wide, 3, stride, groups=wide),
            _Normed(wide, outputs, 1, linear=True),
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.adds else y


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "cnn": DigitsNet,
    "resnet20": ResidualDigits,
    "mobilenet": MobileDigits,
}
"""Networks by name, untrained."""
