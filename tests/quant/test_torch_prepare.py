"""Preparing: the stages compute what the model computed, and what stays float is listed."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dybit.quant.config import ConfigError, QuantConfig
from dybit.quant.network import NetworkError
from dybit.quant.torch import prepare

CONFIG = QuantConfig.from_dict(
    {
        "array": {"rows": 4, "columns": 4, "max_reduction": 512, "accumulator_depth": 64},
        "default": {"weight_bits": 8, "activation_bits": 8},
    }
)


class Functional(nn.Module):
    """As models are written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, stride=2, padding=(1, 0))
        self.norm = nn.BatchNorm2d(4, affine=False)
        self.act = nn.ReLU()
        self.other = nn.Conv2d(4, 6, (1, 2), bias=False)
        self.hidden = nn.Linear(36, 7)
        self.head = nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.conv(x)))
        x = functional.max_pool2d(x, 2, stride=1, padding=1)
        x = self.act(functional.dropout(self.other(x), training=self.training))
        x = functional.avg_pool2d(x, (3, 1), stride=(1, 2)).contiguous()
        x = x.view(x.size(0), -1)
        x = self.hidden(x).relu()
        return self.head(torch.relu(x))


class Shaped(nn.Module):
    """Flattening by shape, pooling to one pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 5, 3)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu6(torch.max_pool2d(self.conv(x), 2))
        x = functional.adaptive_avg_pool2d(x, 1)
        batch, channels, _, _ = x.shape
        return self.head(x.reshape(batch, channels))


def sequential() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, (5, 3), padding="same"),
        nn.MaxPool2d(2),
        nn.ReLU6(),
        nn.ReLU(),
        nn.Identity(),
        nn.Sequential(
            nn.Conv2d(4, 5, 2, padding="valid"), nn.BatchNorm2d(5, eps=0.5), nn.Dropout2d()
        ),
        nn.AdaptiveAvgPool2d((3, None)),
        nn.Flatten(),
        nn.Linear(45, 6, bias=False),
        nn.BatchNorm1d(6),
        nn.Dropout(),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6, 3),
    )


def trained(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model with random parameters and running statistics, in training mode as delivered."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) - 0.4)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.running_var.abs_().add_(0.3)
    return model


MODELS: list[tuple[Callable[[], nn.Module], tuple[int, ...], list[str]]] = [
    (Functional, (2, 7, 8), ["conv", "other", "hidden", "head"]),
    (Shaped, (2, 8, 8), ["conv", "head"]),
    (sequential, (2, 8, 8), ["0", "5.0", "8", "13"]),
    (lambda: nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 3)), (9,), ["0", "2"]),
]


@pytest.mark.parametrize(("build", "shape", "names"), MODELS)
def test_the_chain_computes_what_the_model_does(
    build: Callable[[], nn.Module], shape: tuple[int, ...], names: list[str]
) -> None:
    model = trained(build())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x = torch.randn(5, *shape, generator=torch.Generator().manual_seed(1)) * 3
    prepared = prepare(model, CONFIG, x[:1])
    with torch.no_grad():
        got = prepared(x)
        assert model.training
        want = model.eval()(x)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    assert prepared.input_shape == shape
    assert [stage.name for stage in prepared.compute_stages] == names
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_a_tensor_has_the_width_its_reader_states() -> None:
    config = QuantConfig.from_dict(
        {
            "array": {"rows": 4, "columns": 4, "max_reduction": 512, "accumulator_depth": 64},
            "default": {"weight_bits": 4, "activation_bits": 4},
            "layers": {
                "conv": {"weight_bits": 8, "activation_bits": 8},
                "hidden": {"weight_bits": 2},
                "head": {"weight_bits": 4, "activation_bits": 8},
            },
        }
    )
    prepared = prepare(trained(Functional()), config, torch.zeros(2, 2, 7, 8))
    bits = [(q.name, q.settings.activation_bits) for q in prepared.quantizers if q.settings]
    assert bits == [("input", 8), ("conv", 4), ("other", 4), ("avg_pool2d", 4), ("hidden", 8)]
    assert [s.settings.mode.name for s in prepared.compute_stages] == [
        "W8A8",
        "W4A4",
        "W2A4",
        "W4A8",
    ]


def net(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3))


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Two(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.last = nn.Conv2d(2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.conv(self.conv(x)))


class Tuple(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.conv(x),)


class Called(nn.Module):
    """Applies one function after a convolution."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 1)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.conv(x))


KEPT: list[tuple[nn.Module, tuple[str, str, str]]] = [
    (net(nn.Conv2d(2, 4, 2, dilation=2)), ("0", "conv2d", "dilation=(2, 2)")),
    (
        net(nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect")),
        ("0", "conv2d", "padding_mode='reflect'"),
    ),
    (
        net(nn.Conv2d(2, 4, 3, padding="same"), nn.Sigmoid()),
        ("1", "sigmoid", "it has no integer form"),
    ),
    (net(nn.ConvTranspose2d(2, 4, 1)), ("0", "ConvTranspose2d", "it has no integer form")),
    (net(nn.MaxPool2d(3, ceil_mode=True)), ("0", "max_pool2d", "ceil_mode=True")),
    (net(nn.MaxPool2d(2, dilation=2)), ("0", "max_pool2d", "dilation=2")),
    (
        net(nn.AvgPool2d(2, padding=1)),
        ("0", "avg_pool2d", "average pooling with padding=(1, 1)"),
    ),
    (net(nn.AvgPool2d(2, divisor_override=3)), ("0", "avg_pool2d", "divisor_override=3")),
    (
        net(nn.AdaptiveAvgPool2d(3)),
        ("0", "adaptive_avg_pool2d", "output_size=(3, 3) of 8 x 8"),
    ),
    (
        net(nn.ReLU()),
        ("0", "relu", "it does not follow a convolution, linear layer, sum or product"),
    ),
    (
        net(nn.Conv2d(2, 4, 1), nn.AvgPool2d(2), nn.ReLU()),
        ("2", "relu", "it does not follow a convolution, linear layer, sum or product"),
    ),
    (
        net(nn.Conv2d(2, 4, 2, padding="same")),
        ("0", "conv2d", "padding='same' with a kernel of 2 x 2"),
    ),
    (
        net(nn.Conv2d(2, 4, (3, 2), padding="same")),
        ("0", "conv2d", "padding='same' with a kernel of 3 x 2"),
    ),
    (
        net(nn.BatchNorm2d(2)),
        ("0", "batch_norm", "it does not directly follow a convolution or linear layer"),
    ),
    (
        net(nn.Conv2d(2, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)),
        ("2", "batch_norm", "it does not directly follow a convolution or linear layer"),
    ),
    (
        net(nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)),
        ("1", "batch_norm", "it has no running statistics"),
    ),
    (
        nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU()),
        ("0", "relu", "only float layers read it"),
    ),
    (
        nn.Sequential(nn.Conv2d(2, 2, 1), nn.MaxPool2d(2)),
        ("1", "max_pool2d", "only float layers read it"),
    ),
    (
        nn.Sequential(nn.Conv2d(2, 2, 1), nn.AvgPool2d(2)),
        ("1", "avg_pool2d", "only float layers read it"),
    ),
    (Twice(), ("conv", "conv2d", "its weights are used more than once")),
    (Called(lambda x: x * 2), ("mul", "mul", "it has no integer form")),
    (Called(lambda x: x + 2), ("add", "add", "it has a number for an operand")),
    (
        Called(lambda x: x + x.mean((2, 3), keepdim=True)),
        ("add", "add", "its operands have several shapes"),
    ),
    (Called(lambda x: torch.add(x, x, alpha=2)), ("add", "add", "alpha=2")),
    (Called(lambda x: torch.cat([x, x])), ("cat", "cat", "it joins along the batch")),
    (Called(lambda x: x.flip(0)), ("flip", "move", "it moves elements from one item of a batch")),
    (Called(lambda x: x.mean(1)), ("mean", "mean", "it is no mean over height and width")),
    (Called(lambda x: x.clamp(1, 2)), ("clamp", "clamp", "it has no integer form")),
    (
        Called(lambda x: functional.conv2d(x, x[:1, :, :1, :1])),
        ("conv2d", "conv2d", "its weights depend on data"),
    ),
    (
        Called(lambda x: functional.max_pool2d(x, 2, return_indices=True)[0]),
        ("max_pool2d_with_indices", "max_pool2d_with_indices", "it has no integer form"),
    ),
    (
        Called(lambda x: functional.max_pool2d(x, 2, return_indices=True)[0]),
        ("getitem", "getitem", "it has no integer form"),
    ),
    (
        Called(lambda x: x @ torch.ones(2, 4, 8, 8)[:1]),
        ("matmul", "matmul", "one of its operands is a constant"),
    ),
    (Called(lambda x: x @ x.sum(1)[0]), ("matmul", "matmul", "its operands differ in their lead")),
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("model", "kept"), KEPT, ids=[" ".join(kept) for _, kept in KEPT])
def test_what_stays_float_is_listed(model: nn.Module, kept: tuple[str, str, str]) -> None:
    x = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        want = model.eval()(x)  # makes lazy layers what they are
    prepared = prepare(model, CONFIG, x)
    found = {entry.name: entry for entry in prepared.kept_float}
    name, operation, reason = kept
    assert found[name].operation == operation
    assert found[name].reason.startswith(reason)
    with torch.no_grad():
        torch.testing.assert_close(prepared(x), want, rtol=1e-4, atol=1e-4)


REFUSED: list[tuple[nn.Module, str]] = [
    (nn.Sequential(), "model must compute something, not return its input"),
    (nn.Sequential(nn.MaxPool2d(2)), "model must have a convolution or linear layer"),
    (nn.Sequential(nn.Conv2d(3, 2, 1)), "model fails on an input of shape (2, 2, 8, 8): "),
    (Branching(), "model cannot be traced: "),
    (Two(), "model must read one input tensor, not x, y"),
    (Tuple(), "model must return one tensor"),
    (Called(lambda x: torch.ones(3)), "model must return a tensor that depends on its input"),
    (Called(functional.dropout), "model must compute the same when it is traced; give it no rand"),
    (Called(lambda x: x * x.max().item()), "item: a number computed from data is not supported"),
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("model", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_anything_else_is_refused_in_one_line(model: nn.Module, message: str) -> None:
    x = torch.ones(2, 2, 8, 8)
    with pytest.raises(NetworkError, match=re.escape(message)) as error:
        prepare(model, CONFIG, x)
    assert "\n" not in str(error.value)


def test_config_and_example_must_fit() -> None:
    model = nn.Sequential(nn.Linear(9, 4))
    with pytest.raises(
        NetworkError, match=r"example_input must be a tensor of at least 2 axes, not"
    ):
        prepare(model, CONFIG, torch.zeros(9))
    with pytest.raises(NetworkError, match="example_input must hold at least one input"):
        prepare(model, CONFIG, torch.zeros(0, 9))
    config = QuantConfig.from_dict(CONFIG.to_dict() | {"layers": {"fc": {"weight_bits": 8}}})
    with pytest.raises(ConfigError, match=r"layers.fc: no such layer; must be one of 0"):
        prepare(model, config, torch.zeros(1, 9))


def test_a_reduction_beyond_the_array_is_refused_before_calibration() -> None:
    array = CONFIG.to_dict()["array"]
    for activations in ("both", "signed", "unsigned"):
        changed = array | {"max_reduction": 54, "activations": activations}
        config = QuantConfig.from_dict(CONFIG.to_dict() | {"array": changed})
        prepare(nn.Sequential(nn.Conv2d(6, 2, 3)), config, torch.zeros(1, 6, 4, 4))
        with pytest.raises(ConfigError, match=r"layers.0: a reduction of 63 is .* at most .*54"):
            prepare(nn.Sequential(nn.Conv2d(7, 2, 3)), config, torch.zeros(1, 7, 4, 4))


@pytest.mark.parametrize(
    "order", [(nn.ReLU6(), nn.ReLU()), (nn.ReLU(), nn.MaxPool2d(2), nn.ReLU6())]
)
def test_the_ceiling_of_relu6_stays_beside_relu(order: tuple[nn.Module, ...]) -> None:
    model, x = net(nn.Conv2d(2, 4, 1), *order), torch.ones(1, 2, 8, 8)
    model(x)
    prepared = prepare(model, CONFIG, x)
    assert prepared.compute_stages[0].ceiling == 6
