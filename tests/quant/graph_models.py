"""Models that are graphs, and what quantising them takes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dybit.quant.config import QuantConfig
from dybit.quant.network import QuantNetwork
from dybit.quant.torch import PreparedModel, calibrate, convert, prepare
from dybit.sim.executor import Trace, run

__all__ = ["MODELS", "config", "golden", "inputs", "model", "quantised"]

LIMITS = {"weight_max_exponent_bits": 2, "activation_max_exponent_bits": 2}


def config(bits: int = 8, layers: dict[str, Any] | None = None, **array: Any) -> QuantConfig:
    settings = {"weight_bits": bits, "activation_bits": bits}
    return QuantConfig.from_dict(
        {
            "array": {"rows": 4, "columns": 4, "max_reduction": 512, "accumulator_depth": 64}
            | array,
            "default": settings | (LIMITS if bits == 8 else {}),
            "layers": layers or {},
        }
    )


class Mixed(nn.Module):
    """Groups, a sum that is read twice, a concatenation of all, the mean of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.point = nn.Conv2d(8, 8, 1)
        self.grouped = nn.Conv2d(8, 6, 3, stride=2, groups=2)
        self.pool = nn.MaxPool2d(3, 2)
        self.head = nn.Linear(14, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        y = self.point(functional.relu6(self.norm(self.depthwise(x))))
        y += x
        y = self.relu(y)
        y = torch.cat([self.grouped(y), self.pool(y)], dim=1)
        return self.head(y.mean([2, 3]))


class Attention(nn.Module):
    """An encoder of images: patches, a class token, positions, two kinds of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 12, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 12) * 0.5)
        self.place = nn.Parameter(torch.randn(1, 5, 12) * 0.5)
        self.qkv = nn.Linear(12, 36)
        self.norm = nn.LayerNorm(12)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(12, 2, 16, activation="gelu", batch_first=True), 1
        )
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        batch, _, size = x.shape
        x = torch.cat([self.token.expand(batch, -1, -1), x], dim=1) + self.place
        qkv = self.qkv(self.norm(x)).reshape(batch, -1, 3, 2, size // 2).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        weights = ((q * 0.4) @ k.transpose(-2, -1)).softmax(dim=-1)
        x = x + (weights @ v).transpose(1, 2).flatten(2)
        return self.head(self.encoder(x)[:, 0])


class Floats(nn.Module):
    """What has no integer form, on images and on vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.silu = nn.SiLU()
        self.dilated = nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=3)
        self.squeeze = nn.Conv2d(6, 4, 1)
        self.excite = nn.Conv2d(4, 6, 1)
        self.norm = nn.BatchNorm2d(6)
        self.gain = nn.Parameter(torch.rand(6, 1, 1) + 0.5)
        self.hidden = nn.Linear(6, 8)
        self.layer_norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dilated(self.silu(self.conv((x - 0.1) / 0.3)))
        gate = functional.adaptive_avg_pool2d(x, 1)
        gate = self.excite(functional.relu(self.squeeze(gate))).sigmoid()
        x = self.norm(x * gate.expand_as(x)).relu() * self.gain
        x = functional.gelu(self.hidden(x.mean((2, 3))), approximate="tanh")
        x = functional.leaky_relu(functional.hardswish(self.layer_norm(x)), 0.2)
        return torch.tanh(functional.hardsigmoid(self.head(1 - x)))


class Shuffled(nn.Module):
    """Channels cut apart, shuffled, and put together; pixels moved to channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(12, 8, 1)
        self.other = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(128, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(functional.pixel_unshuffle(x, 2)).relu()
        kept, changed = x.chunk(2, dim=1)
        x = torch.cat([kept, self.other(changed)], dim=1)
        batch, channels, height, width = x.size()
        x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2)
        return self.head(x.reshape(batch, -1))


class Branching(nn.Module):
    """Branches on a shape, which torch.fx cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != 3:
            raise ValueError("must have 3 channels")
        x = self.relu(self.norm(self.conv(x)))
        x = functional.avg_pool2d(functional.max_pool2d(x, 2), 4) + x[:, :, :1, :1]
        return self.head(x.flatten(1))


MODELS = {cls.__name__: cls for cls in (Mixed, Attention, Floats, Shuffled, Branching)}


def model(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    built = MODELS[name]()
    with torch.no_grad():
        for module in built.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.3, 1.0)
    return built.eval()


def inputs(count: int, seed: int) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def quantised(net: nn.Module, conf: QuantConfig) -> tuple[PreparedModel, QuantNetwork]:
    x = inputs(32, seed=1)
    prepared = calibrate(prepare(net, conf, x[:1]), x.split(16))
    return prepared, convert(prepared)


def golden(network: QuantNetwork, x: Tensor) -> Trace:
    return run(network, x.movedim(1, -1).numpy())
