"""A small network and a task it can learn, for tests of training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from dybit.quant.config import QuantConfig
from dybit.quant.format_rules import FormatRule
from dybit.quant.torch import PreparedModel, calibrate, prepare

__all__ = ["calibrated", "config", "float_model", "task"]


def config(bits: int = 4) -> QuantConfig:
    return QuantConfig.from_dict(
        {
            "array": {"rows": 4, "columns": 4, "max_reduction": 512, "accumulator_depth": 64},
            "default": {"weight_bits": bits, "activation_bits": bits},
        }
    )


def task(count: int, seed: int = 1) -> TensorDataset:
    """Images whose class is the quarter in which they are brightest."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, 1, 6, 6, generator=generator)
    y = torch.randint(0, 4, (count,), generator=generator)
    for image, place in zip(x, y.tolist(), strict=True):
        image[:, 3 * (place // 2) :, 3 * (place % 2) :][:, :3, :3] += 0.4
    return TensorDataset(x, y)


def float_model(seed: int = 0) -> nn.Module:
    """A network that has learned the task."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32, 4),
        )
        optimizer = torch.optim.Adam(net.parameters(), 0.01)
        x, y = task(256, 9).tensors
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
    return net.eval()


def calibrated(
    net: nn.Module, bits: int = 4, formats: FormatRule | None = None, x: Tensor | None = None
) -> PreparedModel:
    images = task(128).tensors[0] if x is None else x
    return calibrate(prepare(net, config(bits), images[:1]), [images], formats=formats)
