"""Architectures by torchvision's names: counts that are published, and what they become."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dybit.quant.config import QuantConfig
from dybit.quant.network import QuantNetwork
from dybit.quant.torch import agreement, calibrate, convert, prepare, stage_agreement
from dybit.quant.torch.zoo import (
    ARCHITECTURES,
    BasicBlock,
    Bottleneck,
    MobileNetV2,
    ResNet,
)
from dybit.sim.executor import run

# Parameters as torchvision's documentation states them, entries of its state-dicts, and some of
# their names.
PUBLISHED = {
    "resnet18": (11_689_512, 122, ("layer2.0.downsample.1.running_var", "layer4.1.bn2.weight")),
    "resnet50": (25_557_032, 320, ("layer1.0.downsample.0.weight", "layer4.2.conv3.weight")),
    "mobilenet_v2": (3_504_872, 314, ("features.1.conv.1.weight", "features.18.1.running_mean")),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parameters_are_those_of_torchvision(name: str) -> None:
    build, last = ARCHITECTURES[name]
    count, entries, names = PUBLISHED[name]
    with torch.device("meta"):
        model = build(1000)
    state = model.state_dict()
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert len(state) == entries
    assert set(names) <= set(state)
    assert state[last].shape == (1000,)


def seeded(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model with gains of trained sizes, and the statistics of some images."""
    generator = torch.Generator().manual_seed(seed)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.copy_(torch.rand(norm.weight.shape, generator=generator) * 0.5 + 0.5)
            norm.bias.copy_(torch.randn(norm.bias.shape, generator=generator) * 0.2)
            norm.momentum = 1.0
        model.train()(images(16, seed=9))
    return model.eval()


def images(count: int, seed: int) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


SMALL = {
    "resnet18": lambda: ResNet(BasicBlock, (2, 2, 2, 2), 10, width=8),
    "resnet50": lambda: ResNet(Bottleneck, (3, 4, 6, 3), 10, width=4),
    "mobilenet_v2": lambda: MobileNetV2(10, width=0.25),
}
"""The same architectures, fewer channels."""

LIMITS = {8: {"weight_max_exponent_bits": 2, "activation_max_exponent_bits": 2}, 4: {}}
"""What calibration would choose, but for the time it takes."""

DIFFERING, FARTHEST = 1e-3, 1
"""Bound of a layer's difference when both models are given the same input: see ADR 0012."""


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", SMALL)
def test_integers_do_what_the_model_does(name: str, bits: int) -> None:
    torch.manual_seed(3)
    model = seeded(SMALL[name]())
    config = QuantConfig.from_dict(
        {
            "array": {"rows": 8, "columns": 8, "max_reduction": 4608, "accumulator_depth": 64},
            "default": {"weight_bits": bits, "activation_bits": bits} | LIMITS[bits],
        }
    )
    x = images(16, seed=1)
    prepared = calibrate(prepare(model, config, x[:1]), x.split(8))
    assert prepared.kept_float == ()
    network = convert(prepared)
    assert network.float_layers == ()
    y = images(8, seed=2)
    trace = run(network, y.movedim(1, -1).numpy())
    found = stage_agreement(prepared, y, trace)
    assert len(found) == len(prepared.quantizers) - 1
    for stage, each in found.items():
        assert each.differing <= DIFFERING, stage
        assert each.farthest <= FARTHEST, stage
    # What little differs is carried on by the layers after it, and these have random weights.
    whole = agreement(prepared, y, trace)
    assert whole.codes > 0.98
    assert whole.predictions >= 7 / 8
    # In float64 sums are near enough that exact ties alone can differ.
    network, y = convert(prepared.double()), y.double()
    assert agreement(prepared, y, run(network, y.movedim(1, -1).numpy())).codes > 0.9999


def test_a_saved_residual_network_is_the_same(tmp_path) -> None:
    config = QuantConfig.from_dict(
        {
            "array": {"rows": 8, "columns": 8, "max_reduction": 4608, "accumulator_depth": 64},
            "default": {"weight_bits": 8, "activation_bits": 8} | LIMITS[8],
        }
    )
    x = images(4, seed=1)
    network = convert(calibrate(prepare(seeded(SMALL["mobilenet_v2"]()), config, x[:1]), [x]))
    network.save(tmp_path / "a")
    QuantNetwork.load(tmp_path / "a").save(tmp_path / "b")
    for name in ("network.toml", "network.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
