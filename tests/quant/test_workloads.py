"""Networks as shapes: published totals, layers typed by hand, and which tensors share a width."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from dybit.quant.layer import INPUT
from dybit.quant.network import Conv2d, Linear, MatMul, NetworkError
from dybit.quant.precision import PrecisionMode
from dybit.quant.workloads import (
    PUBLISHED,
    LayerKind,
    LayerShape,
    TensorGroup,
    Workload,
    network_workload,
    table,
)
from tests.networks import graph_network, random_network

# torchvision 0.15, https://pytorch.org/vision/stable/models.html: parameters, and billions of
# multiply-accumulates ("GFLOPS") of each network's weights.
TORCHVISION = {
    "resnet18": (11_689_512, 1.81),
    "resnet50": (25_557_032, 4.09),
    "mobilenet_v2": (3_504_872, 0.30),
    "alexnet": (61_100_840, 0.71),
}

# Convolution and linear layers: 20 + 1, 53 + 1, 52 + 1 and 5 + 3.
LAYERS = {"resnet18": 21, "resnet50": 54, "mobilenet_v2": 53, "alexnet": 8}


@pytest.mark.parametrize("name", TORCHVISION)
def test_totals_are_those_published(name: str) -> None:
    parameters, giga = TORCHVISION[name]
    workload = table(name)
    assert workload.parameters == parameters == PUBLISHED[name][1]
    assert round(workload.macs / 1e9, 2) == giga
    assert round(workload.macs / 1e9, 3) == PUBLISHED[name][0]
    assert len(workload.array_layers) == LAYERS[name]


@pytest.mark.parametrize(
    ("network", "name", "kind", "source", "output", "window", "macs"),
    [
        ("resnet18", "conv1", "conv", (224, 224, 3), (112, 112, 64), (7, 2, 3), 118_013_952),
        ("resnet18", "layer2.0.downsample.0", "conv", (56, 56, 64), (28, 28, 128), (1, 2, 0),
         6_422_528),
        ("resnet50", "layer3.0.conv2", "conv", (28, 28, 256), (14, 14, 256), (3, 2, 1),
         115_605_504),
        ("resnet50", "fc", "linear", (1, 1, 2048), (1, 1, 1000), (1, 1, 0), 2_048_000),
        ("mobilenet_v2", "features.2.conv.1.0", "depthwise", (112, 112, 96), (56, 56, 96),
         (3, 2, 1), 2_709_504),
        ("mobilenet_v2", "features.18.0", "conv", (7, 7, 320), (7, 7, 1280), (1, 1, 0),
         20_070_400),
        ("alexnet", "features.0", "conv", (224, 224, 3), (55, 55, 64), (11, 4, 2), 70_276_800),
        ("alexnet", "classifier.1", "linear", (1, 1, 9216), (1, 1, 4096), (1, 1, 0), 37_748_736),
    ],
)  # fmt: skip
def test_layers_of_the_tables(
    network: str,
    name: str,
    kind: str,
    source: tuple[int, ...],
    output: tuple[int, ...],
    window: tuple[int, int, int],
    macs: int,
) -> None:
    layer = table(network).layer(name)
    kernel, stride, padding = window
    assert (layer.kind, layer.input_shape, layer.output_shape) == (kind, source, output)
    assert layer.kernel == (kernel, kernel)
    assert layer.stride == (stride, stride)
    assert layer.padding == (padding,) * 4
    assert layer.macs == macs


def test_unknown_tables_and_layers_are_refused() -> None:
    with pytest.raises(NetworkError, match=r"workload must be one of resnet18, .*, not 'vgg'"):
        table("vgg")
    with pytest.raises(NetworkError, match=r"layer must be one of features\.0, .*, not 'fc'"):
        table("alexnet").layer("fc")


def group_of(workload: Workload, tensor: str) -> TensorGroup:
    (found,) = [group for group in workload.groups if tensor in group.tensors]
    return found


def test_tensor_groups_of_a_residual_network() -> None:
    workload = table("resnet18")
    # The first block's input passes max-pooling; its shortcut is the tensor itself.
    first = TensorGroup(("conv1", "maxpool"), ("layer1.0.conv1",), ("layer1.0.add",), False)
    assert group_of(workload, "maxpool") == first
    shortcut = group_of(workload, "layer1.1.add")
    assert shortcut.readers == ("layer2.0.conv1", "layer2.0.downsample.0")
    # Nothing but the sum reads what the second convolution makes, before its ReLU.
    summand = group_of(workload, "layer1.0.conv2")
    assert summand == TensorGroup(("layer1.0.conv2",), (), ("layer1.0.add",), True)
    last = group_of(workload, "flatten")
    assert (last.tensors, last.readers) == (("avgpool", "flatten"), ("fc",))
    assert group_of(workload, INPUT).signed
    assert not any("fc" in group.tensors for group in workload.groups)


MODES = {bits: PrecisionMode(min(bits, 4), bits) for bits in (2, 4, 8)}


def test_widths_follow_from_modes() -> None:
    workload = table("resnet18")
    modes = {layer.name: MODES[8] for layer in workload.array_layers}
    modes["layer1.1.conv1"] = MODES[4]
    modes["fc"] = MODES[2]
    widths = workload.widths(modes)
    # What is summed has the width of the sum, whose only reader but a sum is at 4 bits.
    assert widths["layer1.0.add"] == widths["layer1.0.conv2"] == 4
    assert widths["layer1.1.conv2"] == widths["maxpool"] == 8
    # The last sum is only averaged, for a layer at 2 bits.
    assert widths["layer4.1.add"] == widths["layer4.1.conv2"] == widths["flatten"] == 2
    assert "fc" not in widths


def test_what_two_sums_read_has_the_wider_of_their_widths() -> None:
    point: dict[str, Any] = {"input_shape": (4, 4, 8), "output_shape": (4, 4, 8)}
    whole: dict[str, Any] = {"input_shape": (4, 4, 8), "output_shape": (1, 1, 8)}
    rows = [
        ("a", LayerKind.CONV, (INPUT,), point),
        ("sum", LayerKind.ADD, (INPUT, "a"), point),
        ("mean", LayerKind.AVG_POOL, ("a",), whole),
        ("narrow", LayerKind.CONV, ("sum",), point),
        ("wide", LayerKind.LINEAR, ("mean",), {**whole, "input_shape": (1, 1, 8)}),
        ("joined", LayerKind.CONCAT, ("narrow", "wide"), point),
    ]
    workload = Workload(
        "sums",
        (4, 4, 8),
        tuple(LayerShape(name=n, kind=k, inputs=i, **sizes) for n, k, i, sizes in rows),
    )
    modes = {"a": MODES[8], "narrow": MODES[2], "wide": MODES[4]}
    assert workload.widths(modes) == {INPUT: 8, "a": 4, "sum": 2, "mean": 4}


def test_readers_of_a_tensor_must_agree() -> None:
    workload = table("resnet18")
    modes = {layer.name: MODES[8] for layer in workload.array_layers}
    modes["layer2.0.downsample.0"] = MODES[4]
    with pytest.raises(NetworkError, match=r"layer2\.0\.conv1 and layer2\.0\.downsample\.0 read "
                       r"one tensor, layer1\.1\.add: .* not 8 and 4"):  # fmt: skip
        workload.widths(modes)


SHAPE = {
    "name": "a",
    "kind": LayerKind.CONV,
    "inputs": (INPUT,),
    "input_shape": (6, 6, 4),
    "output_shape": (4, 4, 8),
    "kernel": (3, 3),
}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"input_shape": (0, 6, 4)}, r"a: input_shape must be integers of at least 1, not \(0, "),
        ({"stride": (1, 0)}, r"a: stride must be integers of at least 1, not \(1, 0\)"),
        ({"padding": (0, 0, -1, 0)}, r"a: padding must be integers of at least 0, not"),
        ({"groups": 3}, "a: groups must divide 4 and 8 channels, not 3"),
        ({"output_shape": (6, 4, 8)}, "a: output_shape must be 4 x 4 pixels, not 6 x 4"),
        ({"dilation": (2, 2)}, "a: output_shape must be 2 x 2 pixels, not 4 x 4"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        LayerShape(**(SHAPE | fields))


def test_workloads_that_are_no_graph_are_refused() -> None:
    layer = LayerShape(**SHAPE)
    with pytest.raises(NetworkError, match="layer names must differ, but a is used twice"):
        Workload("twice", (6, 6, 4), (layer, layer))
    other = LayerShape(**(SHAPE | {"inputs": ("b",)}))
    with pytest.raises(NetworkError, match="a: inputs must be made by layers before it, not 'b'"):
        Workload("missing", (6, 6, 4), (other,))


def test_dilated_convolutions_count_but_stay_off_the_array() -> None:
    dilated = SHAPE | {"dilation": (2, 2), "output_shape": (2, 2, 8)}
    workload = Workload("dilated", (6, 6, 4), (LayerShape(**dilated),))
    assert workload.macs == 2 * 2 * 8 * 3 * 3 * 4
    assert workload.array_layers == workload.groups == ()


@pytest.mark.parametrize("build", [random_network, graph_network])
def test_saved_networks(build: Any) -> None:
    network = build()
    workload = network_workload(network)
    macs = 0
    for layer, shapes, output in network.shapes():
        count = 1
        for size in output:
            count *= size
        if isinstance(layer, Conv2d | Linear):
            macs += count * layer.weights[..., 0].size
        elif isinstance(layer, MatMul):
            macs += count * shapes[0][-1]
    assert workload.macs == macs
    assert [layer.name for layer in workload.layers] == [layer.name for layer in network.layers]
    # One format, one group; tensors of two groups may have equal formats by chance.
    made = {INPUT: network.input} | {layer.name: layer.makes for layer in network.layers}
    grouped = [name for group in workload.groups for name in group.tensors]
    assert set(grouped) == {name for name, tensor in made.items() if tensor is not None}
    products = {layer.name for layer in network.layers if isinstance(layer, MatMul)}
    for group in workload.groups:
        if not products & set(group.readers):  # of which a network may have two widths
            assert len({(made[name].format, made[name].scale) for name in group.tensors}) == 1
    for layer in network.compute_layers:
        assert layer.name in group_of(workload, layer.inputs[0]).readers


def test_kinds_of_a_saved_network() -> None:
    kinds = {layer.name: layer.kind for layer in network_workload(graph_network()).layers}
    expected = {"grouped": "grouped", "depthwise": "depthwise", "point": "conv", "add": "add",
                "concat": "concat", "max": "max_pool", "tokens": "view", "scores": "matmul",
                "soft": "float", "hidden": "linear"}  # fmt: skip
    assert {name: kinds[name] for name in expected} == expected


def test_groups_are_apart() -> None:
    for name in TORCHVISION:
        groups = table(name).groups
        for one, other in itertools.combinations(groups, 2):
            assert not set(one.tensors) & set(other.tensors)
