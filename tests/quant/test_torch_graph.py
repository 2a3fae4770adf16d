"""Graphs: what the stages compute and read, which tensors are codes, and their widths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dybit.quant.config import ConfigError, QuantConfig
from dybit.quant.formats import DyBit
from dybit.quant.network import (
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Float,
    Linear,
    MatMul,
    NetworkError,
    QuantNetwork,
    QuantTensor,
    View,
)
from dybit.quant.torch import (
    PreparedModel,
    agreement,
    calibrate,
    convert,
    prepare,
    stage_agreement,
)
from dybit.quant.torch.modules import ActivationQuantizer
from dybit.quant.torch.stages import AddStage
from dybit.sim.executor import Trace, run
from dybit.sim.joins import add

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
SIZES = {"Shuffled": (3, 8, 8)}


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


@pytest.mark.parametrize("name", MODELS)
def test_the_stages_compute_what_the_model_does(name: str) -> None:
    net, x = model(name), inputs(5, seed=2)
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    prepared = prepare(net, config(), x[:1])
    with torch.no_grad():
        torch.testing.assert_close(prepared(x), net(x), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(before[key], t) for key, t in net.state_dict().items())


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", MODELS)
def test_the_network_agrees_with_the_model(name: str, bits: int) -> None:
    """Each layer within the bound of ADR 0012 when both are given the same input."""
    net, y = model(name), inputs(24, seed=3)
    prepared, network = quantised(net, config(bits))
    trace = golden(network, y)
    for stage, found in stage_agreement(prepared, y, trace).items():
        assert found.differing <= 1e-3, stage
        assert found.farthest <= 1, stage
    assert agreement(prepared, y, trace).codes > 0.98
    with torch.no_grad():
        real, rounded = net(y).numpy(), prepared(y).numpy()
    assert np.abs(trace.logits - rounded).max() < 0.1 * np.abs(real).max()
    if bits == 8:
        assert np.abs(trace.logits - real).max() < 0.15 * np.abs(real).max()


def test_a_sum_and_a_concatenation_become_integers() -> None:
    prepared, network = quantised(model("Mixed"), config())
    assert prepared.kept_float == ()
    kinds = {layer.name: type(layer) for layer in network.layers}
    assert kinds == {
        "stem": Conv2d,
        "depthwise": Conv2d,
        "point": Conv2d,
        "add": Add,
        "grouped": Conv2d,
        "pool": kinds["pool"],
        "cat": Concat,
        "mean": AvgPool2d,
        "mean_1": View,
        "head": Linear,
    }
    depthwise, add = network.layer("depthwise"), network.layer("add")
    assert isinstance(depthwise, Conv2d)
    assert isinstance(add, Add)
    assert (depthwise.groups, depthwise.reduction, depthwise.max_code is None) == (8, 9, False)
    assert add.inputs == ("point", "stem")
    assert add.relu
    concat = network.layer("cat")
    assert isinstance(concat, Concat)
    # What is joined has one format, signed as the grouped convolution asks.
    assert concat.input == add.output == network.layer("grouped").makes
    assert concat.input.format.signed
    stages = {stage.name: stage for stage in prepared.stages}
    names = [reader.name for reader in prepared.readers(stages["add"])]
    assert names == ["grouped", "pool"]
    assert [stage.name for stage in prepared.readers(None)] == ["stem"]


def test_attention_becomes_products_of_codes() -> None:
    prepared, network = quantised(model("Attention"), config())
    products = [layer for layer in network.layers if isinstance(layer, MatMul)]
    assert len(products) == 4
    # Scores go to softmax as accumulators, attended values on as codes.
    assert [layer.output is None for layer in products] == [True, False, True, False]
    floats = {layer.operation for layer in network.float_layers}
    assert floats == {"constant", "layer_norm", "affine", "softmax", "gelu", "add"}
    kept = {(each.name, each.operation) for each in prepared.kept_float}
    assert ("encoder.layers.0.self_attn.softmax", "softmax") in kept
    assert ("norm", "layer_norm") in kept
    assert ("mul", "mul") in kept
    # Of four sums, those that layer norm alone reads.
    assert [layer.name for layer in network.layers if isinstance(layer, Add)] == ["add", "add_1"]
    projections = [layer.name for layer in network.compute_layers if "self_attn" in layer.name]
    assert projections == [
        f"encoder.layers.0.self_attn.{part}" for part in ("query", "key", "value", "projection")
    ]


def test_floats_read_accumulators_and_give_codes() -> None:
    prepared, network = quantised(model("Floats"), config())
    # The image is normalised before anything rounds it.
    assert network.input is None
    conv, silu, dilated = (network.layer(name) for name in ("conv", "silu", "dilated"))
    assert isinstance(conv, Conv2d)
    assert conv.output is None
    assert isinstance(silu, Float)
    assert silu.output is None
    assert isinstance(dilated, Float)
    assert dilated.operation == "conv2d"
    assert {each.operation for each in prepared.kept_float} == {
        *("sub", "div", "silu", "conv2d", "sigmoid", "mul", "batch_norm", "relu", "gelu"),
        *("layer_norm", "hardswish", "leaky_relu", "hardsigmoid", "tanh"),
    }


def test_moves_are_boxes_of_codes() -> None:
    _, network = quantised(model("Shuffled"), config())
    assert network.float_layers == ()
    assert {type(layer) for layer in network.layers} == {Conv2d, Linear, Concat, View}


@pytest.mark.parametrize("name", ["Mixed", "Attention"])
def test_training_reaches_every_parameter(name: str) -> None:
    prepared, _ = quantised(model(name), config())
    prepared(inputs(8, seed=4)).square().sum().backward()
    for key, parameter in prepared.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


def test_what_is_changed_in_place_is_read_changed() -> None:
    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)
            self.other = nn.Conv2d(4, 4, 1)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            y = self.relu(x)
            return self.other(x + y)  # x is what ReLU made of it

    torch.manual_seed(0)
    net, x = Late(), inputs(2, seed=5)
    prepared = prepare(net, config(), x)
    assert prepared.kept_float == ()  # ReLU is part of the layer, as nothing reads it without
    with torch.no_grad():
        torch.testing.assert_close(prepared(x), net(x))


class Shared(nn.Module):
    """Results that are read with and without what follows them."""

    def __init__(self, follow: nn.Module) -> None:
        super().__init__()
        self.conv, self.follow = nn.Conv2d(3, 4, 1), follow
        self.other = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.other(self.follow(x) + x)


@pytest.mark.parametrize("follow", [nn.ReLU(), nn.BatchNorm2d(4)])
def test_a_result_that_others_read_is_left_as_it_is(follow: nn.Module) -> None:
    torch.manual_seed(0)
    net, x = Shared(follow).eval(), inputs(2, seed=5)
    if isinstance(follow, nn.BatchNorm2d):
        follow.running_mean.fill_(0.5)
    prepared = prepare(net, config(), x)
    assert [kept.name for kept in prepared.kept_float] == ["follow"]
    with torch.no_grad():
        torch.testing.assert_close(prepared(x), net(x))


class Rows(nn.Module):
    """Joins images along their height and their width; real numbers and codes of one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.high, self.wide = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)  # which is nothing here

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).relu()
        y = self.pool(self.high(torch.cat([x, x[:, :, :4]], dim=2)).relu())
        z = self.pool(self.wide(torch.cat([x, x[..., 4:]], dim=3)).relu())
        joined = torch.cat([self.pool(x).sigmoid(), self.pool(x)], dim=1)
        return torch.cat([y.mean((2, 3)), z.mean((2, 3)), joined.mean((2, 3))], dim=1)


def test_images_are_joined_and_pooled_as_codes_and_as_real_numbers() -> None:
    torch.manual_seed(1)
    net, y = Rows().eval(), inputs(8, seed=3)
    prepared, network = quantised(net, config())
    joined = {layer.name: layer.input for layer in network.layers if isinstance(layer, Concat)}
    assert [joined[name] is None for name in ("cat", "cat_1", "cat_2", "cat_3")] == [
        *(False, False, True, True)
    ]
    with torch.no_grad():
        rounded, real = prepared(y).numpy(), net(y).numpy()
    logits = golden(network, y).logits
    assert np.abs(logits - rounded).max() < 1e-5
    assert np.abs(logits - real).max() < 0.05 * np.abs(real).max()


def test_layers_that_read_one_tensor_must_agree_on_it() -> None:
    net, x = model("Mixed"), inputs(1, seed=1)
    conf = config(8, {"grouped": {"activation_bits": 4}})
    prepared = prepare(net, conf, x)  # the sum, alone, is read by it
    bits = {q.name: q.settings.activation_bits for q in prepared.quantizers if q.settings}
    assert bits == {"input": 8, "stem": 8, "depthwise": 8, "point": 4, "add": 4, "mean": 8}

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
            self.last = nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.cat([self.first(x), self.second(x)], 1))

    message = "layers.first and layers.second read one tensor, that of input: activation_bits must"
    with pytest.raises(ConfigError, match=rf"{message} be the same in both, not 8 and 4"):
        prepare(Two(), config(8, {"second": {"activation_bits": 4}}), x)
    with pytest.raises(ConfigError, match="activation_max_exponent_bits must be the same in both"):
        prepare(Two(), config(8, {"second": {"activation_max_exponent_bits": 3}}), x)
    prepared = prepare(Two(), config(8, {"last": {"activation_bits": 4}}), x)
    assert len(prepared.quantizers) == 2  # the input's, and one for both that are joined


def test_of_sums_that_read_a_tensor_the_widest_counts() -> None:
    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Conv2d(3, 4, 1) for _ in range(3))
            self.wide, self.narrow = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            a = self.a(x)
            return self.wide(a + self.b(x)) - self.narrow(a + self.c(x))

    conf = config(8, {"narrow": {"activation_bits": 4}})
    prepared = prepare(Sums(), conf, inputs(1, seed=1))
    bits = {q.name: q.settings.activation_bits for q in prepared.quantizers if q.settings}
    assert bits == {"input": 8, "a": 8, "b": 8, "c": 4, "add": 8, "add_1": 4}


def test_a_sum_may_state_the_width_of_what_it_adds() -> None:
    net, x = model("Mixed"), inputs(1, seed=1)
    prepared = prepare(net, config(4, {"add": {"weight_bits": 8, "activation_bits": 8}}), x)
    bits = {q.name: q.settings.activation_bits for q in prepared.quantizers if q.settings}
    # The stem's output is read by a convolution too, whose width counts.
    assert bits == {"input": 4, "stem": 4, "depthwise": 4, "point": 8, "add": 4, "mean": 4}
    with pytest.raises(ConfigError, match=r"layers.sum: no such layer; must be one of stem, .*add"):
        prepare(net, config(4, {"sum": {"weight_bits": 8}}), x)


def test_every_float_layer_without_a_form_is_named() -> None:
    class Cropped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(functional.interpolate(self.conv(x), scale_factor=2, mode="bilinear"))

    x = inputs(4, seed=1)
    prepared = calibrate(prepare(Cropped(), config(), x), [x])
    with pytest.raises(NetworkError, match=r"^interpolate: interpolate stays float \(it has no "):
        convert(prepared)


def test_the_model_scales_sums_as_integers_do() -> None:
    """A scale so small that its multiplier has few bits: 10.6 is 11."""
    fmt = DyBit(8, True, 7)
    tensors = [QuantTensor(fmt, scale) for scale in (1.0, 10.6 / 2**15, 1.0)]
    stage = AddStage("sum")
    quantizers = [ActivationQuantizer(name) for name in "abc"]
    for quantizer, tensor in zip(quantizers, tensors, strict=True):
        quantizer.tensor = tensor
    stage.sources, stage.quantizer = (quantizers[0], quantizers[1]), quantizers[2]
    operands = 0, 1536
    values = [torch.tensor([n * t.unit]) for n, t in zip(operands, tensors, strict=False)]
    # 11 x 1536 / 2^15 is above a half, 10.6 x 1536 / 2^15 below.
    assert float(stage(*values)) == fmt.unit
    layer = Add(name="sum", inputs=("a", "b"), operands=(tensors[0], tensors[1]), output=tensors[2])
    codes = [fmt.encode(np.array([n * fmt.unit])) for n in operands]
    scale = layer.multipliers, layer.shift
    assert fmt.integers(add((codes[0], codes[1]), (fmt, fmt), *scale, fmt)) == 1


def test_sums_are_exact_where_no_gradient_is_asked_for() -> None:
    """Half of all sums lie midway between two values, at scales no float holds exactly."""
    fmt = DyBit(8, True, 1)
    tensors = [QuantTensor(fmt, scale) for scale in (0.1, 0.1, 0.2)]
    stage = AddStage("sum")
    quantizers = [ActivationQuantizer(name) for name in "abc"]
    for quantizer, tensor in zip(quantizers, tensors, strict=True):
        quantizer.tensor = tensor
    stage.sources, stage.quantizer = (quantizers[0], quantizers[1]), quantizers[2]
    pair = np.meshgrid(fmt.sorted_codes, fmt.sorted_codes)
    layer = Add(name="sum", inputs=("a", "b"), operands=(tensors[0], tensors[1]), output=tensors[2])
    want = add((pair[0], pair[1]), (fmt, fmt), layer.multipliers, layer.shift, fmt)
    with torch.no_grad():
        values = [torch.from_numpy(fmt.decode(codes)).float() * 0.1 for codes in pair]
        found = stage(*values).numpy()
    assert np.array_equal(fmt.encode(found / np.float32(0.2)), want)
