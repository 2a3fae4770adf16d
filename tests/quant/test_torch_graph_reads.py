"""Graphs: tensors that several layers read, join, add or change in place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dybit.quant.config import ConfigError
from dybit.quant.network import Concat
from dybit.quant.torch import prepare
from tests.quant.graph_models import config, golden, inputs, model, quantised


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
