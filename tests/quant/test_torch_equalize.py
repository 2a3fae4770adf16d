"""Cross-layer equalisation: the float model to the last bit, smaller errors once rounded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dybit.quant.config import QuantConfig
from dybit.quant.torch import PreparedModel, calibrate, prepare
from dybit.quant.torch.equalize import equalization_factors, equalize

CONFIG = QuantConfig.from_dict(
    {
        "array": {"rows": 4, "columns": 4, "max_reduction": 512, "accumulator_depth": 64},
        "default": {"weight_bits": 4, "activation_bits": 4},
    }
)


def unequal(seed: int = 0) -> nn.Sequential:
    """A network whose channels differ in size by up to 2^10, which cancels out."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 6, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 10),
        nn.ReLU6(),
        nn.Linear(10, 4),
    )
    with torch.no_grad():
        size = torch.rand(8) * 10 - 5
        net[0].weight *= size.exp2()[:, None, None, None]
        net[0].bias *= size.exp2()
        net[3].weight *= (-size).exp2()[None, :, None, None]
    return net.eval()


def inputs(count: int, seed: int) -> Tensor:
    return torch.randn(count, 2, 8, 8, generator=torch.Generator().manual_seed(seed))


def ranges(prepared: PreparedModel, maker: int, reader: int, positions: int) -> tuple[Tensor, ...]:
    first, second = (prepared.compute_stages[i].weight.detach() for i in (maker, reader))
    channels = len(first)
    made = torch.stack([first[i].abs().max() for i in range(channels)])
    read = torch.stack(
        [
            second[:, i * positions : (i + 1) * positions].abs().max()
            if second.ndim == 2
            else second[:, i].abs().max()
            for i in range(channels)
        ]
    )
    return made, read


def test_factors_are_powers_of_two_that_make_ranges_meet() -> None:
    first = torch.tensor([1.0, 8.0, 1.0, 0.0, 5.0, 2.0**-20])
    second = torch.tensor([1.0, 2.0, 64.0, 3.0, 0.0, 2.0**20])
    expected = [1.0, 2.0, 0.125, 1.0, 1.0, 2.0**-20]
    assert equalization_factors(first, second).tolist() == expected


def test_the_float_model_stays_and_ranges_meet() -> None:
    net, x = unequal(), inputs(20, 1)
    prepared = prepare(net, CONFIG, x[:1])
    before = prepared(x)
    done = equalize(prepared)
    assert done.pairs == [("0", "3"), ("3", "7")]
    assert done.left == {
        "7": "its ceiling of 6 is the same for all channels",
        "9": "its output is the model's",
    }
    assert torch.equal(prepared(x), before)
    for made, read in (ranges(prepared, 0, 1, 1), ranges(prepared, 1, 2, 4)):
        # Within the rounding of the factor, which divides one range and multiplies the other.
        assert (made / read).log2().abs().max() <= 1
    assert not torch.equal(prepared.compute_stages[0].weight, net[0].weight)
    again = equalize(prepared)
    assert again == done
    assert torch.equal(prepared(x), before)


def test_errors_get_smaller() -> None:
    net, x, other = unequal(), inputs(200, 1), inputs(200, 2)
    noise = {}
    for equalised in (False, True):
        prepared = prepare(net, CONFIG, x[:1])
        if equalised:
            equalize(prepared)
        calibrate(prepared, [x])
        with torch.no_grad():
            real = net(other)
            noise[equalised] = float((prepared(other) - real).square().sum() / real.square().sum())
    decibels = 10 * np.log10(noise[False] / noise[True])
    print(f"seeds 0, 1, 2: {decibels:.1f} dB less noise")
    assert decibels > 5


def test_a_calibration_is_forgotten() -> None:
    x = inputs(8, 1)
    prepared = calibrate(prepare(unequal(), CONFIG, x[:1]), [x])
    equalize(prepared)
    assert all(quantizer.tensor is None for quantizer in prepared.quantizers)


@pytest.mark.parametrize("seed", range(3))
def test_a_dead_channel_keeps_its_size(seed: int) -> None:
    net, x = unequal(seed), inputs(8, seed)
    with torch.no_grad():
        net[0].weight[3] = 0
        net[3].weight[:, 5] = 0
    prepared = prepare(net, CONFIG, x[:1])
    before = prepared(x)
    equalize(prepared)
    assert torch.equal(prepared(x), before)
    assert torch.equal(prepared.compute_stages[0].weight[5], net[0].weight[5])


class Grouped(nn.Module):
    """A depthwise convolution between others, and a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(2, 8, 1)
        self.each = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.pairs = nn.Conv2d(8, 4, 1, groups=2)
        self.last = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pairs(self.each(self.wide(x).relu()).relu())
        return (x + self.last(x)).flatten(1)


def test_groups_and_sums() -> None:
    torch.manual_seed(3)
    net, x = Grouped(), inputs(9, 1)
    with torch.no_grad():
        size = torch.rand(8) * 10 - 5
        net.wide.weight *= size.exp2()[:, None, None, None]
        net.each.weight *= (torch.rand(8) * 6).exp2()[:, None, None, None]
    prepared = prepare(net, CONFIG, x[:1])
    before = prepared(x)
    done = equalize(prepared)
    assert done.pairs == [("wide", "each"), ("each", "pairs")]
    assert done.left["pairs"] == "last and add read it"
    assert done.left["last"] == "add reads it"
    assert torch.equal(prepared(x), before)
    wide, each, pairs = (stage.weight.detach() for stage in prepared.compute_stages[:3])
    assert (wide.abs().amax((1, 2, 3)) / each.abs().amax((1, 2, 3))).log2().abs().max() <= 1
    # Four channels of each group, read by two outputs.
    read = pairs.abs().view(2, 2, 4).amax(1).flatten()
    assert (each.abs().amax((1, 2, 3)) / read).log2().abs().max() <= 1
