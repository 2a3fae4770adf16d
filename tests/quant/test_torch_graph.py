"""Graphs: what the stages compute, and which layers a network has for them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dybit.quant.network import (
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Float,
    Linear,
    MatMul,
    NetworkError,
    View,
)
from dybit.quant.torch import agreement, calibrate, convert, prepare, stage_agreement
from tests.quant.graph_models import MODELS, config, golden, inputs, model, quantised


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
