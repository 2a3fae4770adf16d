"""Sums, products and moves of activations, and grouped convolutions, against slow integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dybit.quant.formats import DyBit, NumberFormat
from dybit.quant.layers import Add, AvgPool2d, Concat, Conv2d, Layer, Linear, MatMul, View
from dybit.quant.tensor import NetworkError, QuantTensor
from dybit.sim import golden, joins
from dybit.sim.executor import run
from tests.networks import graph_network
from tests.oracles import dybit_integers, slow_add, slow_conv, slow_matmul, slow_mean, slow_scaled

NETWORK = graph_network()


def table(fmt: NumberFormat) -> dict[int, int]:
    assert isinstance(fmt, DyBit)
    return dict(dybit_integers(fmt.bits, fmt.signed, fmt.exponent_limit))


def codes(fmt: NumberFormat, shape: tuple[int, ...], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).choice(fmt.sorted_codes, shape)


def slow_accumulators(layer: Layer, inputs: list[NDArray[Any]]) -> NDArray[np.int64]:
    if isinstance(layer, MatMul):
        a, b = (table(operand.format) for operand in layer.operands)
        return slow_matmul(inputs[0], a, inputs[1], b)
    assert isinstance(layer, Conv2d | Linear)
    tables = table(layer.input.format), table(layer.weight_format)
    if isinstance(layer, Linear):
        rows = inputs[0].reshape(-1, layer.reduction)
        sums = slow_matmul(rows, tables[0], layer.weights, tables[1])
        return sums.reshape(*inputs[0].shape[:-1], -1)
    window = layer.stride, layer.padding, layer.groups
    return slow_conv(inputs[0], tables[0], layer.weights, tables[1], *window)


def slow_codes(layer: Layer, sums: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Re-quantise accumulators, output channels last."""
    assert isinstance(layer, Conv2d | Linear | MatMul)
    assert layer.output is not None
    channels = sums.shape[-1]
    bias = layer.bias if isinstance(layer, Conv2d | Linear) else np.zeros(channels, int)
    scale = np.broadcast_to(layer.multiplier, channels), np.broadcast_to(layer.shift, channels)
    out = np.zeros(sums.shape, np.uint8)
    for index in np.ndindex(sums.shape):
        o = index[-1]
        total, parameters = int(sums[index] + bias[o]), (int(scale[0][o]), int(scale[1][o]))
        out[index] = slow_scaled(total, *parameters, table(layer.output.format), layer.relu)
    return out


def test_every_integer_layer_of_a_graph_is_what_slow_arithmetic_says() -> None:
    images = np.random.default_rng(3).normal(size=(2, *NETWORK.input_shape))
    trace = run(NETWORK, images)
    made = {"input": trace.input} | {name: step.codes for name, step in trace.layers.items()}
    checked = []
    for layer in NETWORK.layers:
        step, inputs = trace.layers[layer.name], [made[name] for name in layer.inputs]
        if isinstance(layer, Conv2d | Linear | MatMul):
            sums = slow_accumulators(layer, inputs)
            assert np.array_equal(step.accumulators, sums), layer.name
            if layer.output is not None:
                assert np.array_equal(step.codes, slow_codes(layer, sums)), layer.name
        elif isinstance(layer, Add):
            tables = table(layer.operands[0].format), table(layer.operands[1].format)
            scale = layer.multipliers, layer.shift, table(layer.output.format), layer.relu
            assert np.array_equal(step.codes, slow_add(*inputs, tables, *scale)), layer.name
        else:
            continue
        # A layer that gave one code alone would prove little.
        assert step.codes is None or len(np.unique(step.codes)) > 4, layer.name
        checked.append(layer.name)
    names = "grouped depthwise point add narrowed scores mixed placed hidden head"
    assert checked == names.split()


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("output", [DyBit(4, False), DyBit(8, True, 3), DyBit(2)], ids=str)
def test_add_is_one_rounding_of_the_exact_sum(output: DyBit, relu: bool) -> None:
    """Over all pairs of codes; shifts that make many exact ties."""
    a, b = DyBit(4, True, 2), DyBit(8, False, 4)
    pairs = np.meshgrid(a.sorted_codes, b.sorted_codes)
    for multipliers, shift in (((1, 1), 1), ((3, 1), 3), ((65535, 2), 16), ((0, 1), 0)):
        got = joins.add((pairs[0], pairs[1]), (a, b), multipliers, shift, output, relu)
        tables = table(a), table(b)
        want = slow_add(*pairs, tables, multipliers, shift, table(output), relu)
        assert np.array_equal(got, want), (multipliers, shift)


def test_add_stops_at_its_largest_code() -> None:
    fmt = DyBit(4, False)
    pair = np.arange(16, dtype=np.uint8), np.zeros(16, np.uint8)
    got = joins.add(pair, (fmt, fmt), (2, 1), 1, fmt, max_code=9)
    assert got.tolist() == [*range(10), *[9] * 6]


def test_scales_of_a_sum_are_the_nearest_with_one_shift() -> None:
    tensors = [QuantTensor(DyBit(8, True, 2), scale) for scale in (0.3, 0.0007)]
    output = QuantTensor(DyBit(8, True, 3), 0.4)
    add = Add(name="a", inputs=("x", "y"), operands=(tensors[0], tensors[1]), output=output)
    assert 2**15 <= max(add.multipliers) < 2**16
    for multiplier, tensor in zip(add.multipliers, tensors, strict=True):
        assert abs(multiplier - tensor.unit / output.unit * 2**add.shift) <= 0.5
    # The larger ratio rounds up to one more than 16 bits hold.
    top = QuantTensor(DyBit(8, True, 2), (1 - 2.0**-18))
    add = Add(
        name="a", inputs=("x", "y"), operands=(top, top), output=QuantTensor(DyBit(8, True, 2), 1.0)
    )
    assert (add.multipliers, add.shift) == ((2**15, 2**15), 15)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_grouped_convolution_is_a_sum_over_its_group(groups: int) -> None:
    a_fmt, w_fmt = DyBit(8, False, 3), DyBit(4)
    a, w = codes(a_fmt, (2, 5, 4, 6)), codes(w_fmt, (3, 2, 6 // groups, 12), 1)
    got = golden.conv2d(a, a_fmt, w, w_fmt, (2, 1), (1, 0), groups)
    want = slow_conv(a, table(a_fmt), w, table(w_fmt), (2, 1), (1, 0), groups)
    assert np.array_equal(got, want)
    with pytest.raises(ValueError, match=r"w_codes must have 6 input channels as a_codes has"):
        golden.conv2d(a, a_fmt, w, w_fmt, groups=4)
    with pytest.raises(ValueError, match="groups must be a divisor of the 5 outputs, not 2"):
        golden.conv2d(a, a_fmt, codes(w_fmt, (3, 2, 3, 5)), w_fmt, groups=2)


@pytest.mark.parametrize("kernel", [(2, 3), (4, 4)])
def test_average_pooling_is_the_scaled_sum(kernel: tuple[int, int]) -> None:
    tensors = QuantTensor(DyBit(8, False, 3), 0.2), QuantTensor(DyBit(4, False), 3.0)
    x = codes(tensors[0].format, (2, 4, 5, 3))
    pool = AvgPool2d(
        name="p", inputs=("x",), kernel=kernel, stride=(1, 2), input=tensors[0], output=tensors[1]
    )
    scale = pool.multiplier, pool.shift
    got = golden.average_pool(x, pool.input.format, kernel, (1, 2), *scale, pool.output.format)
    tables = table(tensors[0].format), table(tensors[1].format)
    assert np.array_equal(got, slow_mean(x, tables[0], kernel, (1, 2), *scale, tables[1]))


def test_products_of_activations_have_leading_axes() -> None:
    a_fmt, b_fmt = DyBit(8, False), DyBit(4, True, 2)
    a, b = codes(a_fmt, (2, 3, 4, 5)), codes(b_fmt, (2, 3, 5, 2), 1)
    got = joins.activation_matmul(a, a_fmt, b, b_fmt)
    assert np.array_equal(got, slow_matmul(a, table(a_fmt), b, table(b_fmt)))
    with pytest.raises(ValueError, match=r"leading axes must be equal, not \(2, 3\) and \(2, 2\)"):
        joins.activation_matmul(a, a_fmt, b[:, :2], b_fmt)


def test_max_pooling_of_reals_ignores_padding() -> None:
    x = -np.random.default_rng(1).random((2, 5, 4, 3))
    fmt = DyBit(8, True, 1)
    rounded = fmt.encode(x * 100)
    got = joins.max_pool_reals(fmt.decode(rounded), (3, 2), (2, 1), (1, 1))
    want = golden.max_pool(rounded, fmt, (3, 2), (2, 1), (1, 1))
    assert np.array_equal(got, fmt.decode(want))


def test_a_view_is_a_box_of_elements() -> None:
    x = np.arange(2 * 24).reshape(2, 2, 3, 4)
    assert np.array_equal(joins.view(x, 0, (4, 2, 3), (1, 12, 4)), x.transpose(0, 3, 1, 2))
    assert np.array_equal(joins.view(x, 23, (2, 12), (-12, -1))[1].ravel(), x[1].ravel()[::-1])
    assert np.array_equal(joins.view(x, 4, (2, 2), (12, 0)), x[:, :, 1, :1].repeat(2, axis=2))
    for start, sizes, strides in ((1, (24,), (1,)), (0, (2,), (-1,)), (-1, (1,), (1,))):
        with pytest.raises(ValueError, match="box must lie within 24 elements, not"):
            joins.view(x, start, sizes, strides)


def test_operands_that_do_not_fit_are_refused() -> None:
    fmt = DyBit(4)
    x = codes(fmt, (2, 3))
    with pytest.raises(ValueError, match=r"codes must have one shape, not \(2, 3\) and \(2, 2\)"):
        joins.add((x, x[:, :2]), (fmt, fmt), (1, 1), 0, fmt)
    with pytest.raises(ValueError, match=r"multipliers must be 0 to 65535, not \(65536, 1\)"):
        joins.add((x, x), (fmt, fmt), (65536, 1), 0, fmt)
    tensor = QuantTensor(DyBit(8), 1.0)
    pair: dict[str, Any] = {"inputs": ("x", "y"), "operands": (tensor, tensor)}
    product = MatMul(name="m", **pair)
    with pytest.raises(NetworkError, match=r"m: inputs must have shapes \(..., M, K\) and .*, not"):
        product.output_shape((3, 4), (3, 4))
    with pytest.raises(NetworkError, match=r"m: an accumulator of up to \d+ must be below 2\^47"):
        product.output_shape((1, 1 << 23), (1 << 23, 1))
    with pytest.raises(NetworkError, match="m: relu must be false where the accumulators are"):
        MatMul(name="m", relu=True, **pair)
    with pytest.raises(NetworkError, match=r"a: inputs must have one shape, not \(3,\) and \(4,\)"):
        Add(name="a", output=tensor, **pair).output_shape((3,), (4,))
    with pytest.raises(NetworkError, match=r"a: max_code must be the code of a value of .*not 300"):
        Add(name="a", output=tensor, max_code=300, **pair)
    concat = Concat(name="c", inputs=("x", "y"), input=tensor, axis=1)
    assert concat.output_shape((2, 3), (2, 4)) == (2, 7)
    for shapes in (((2, 3), (3, 3)), ((2,), (2,))):
        with pytest.raises(NetworkError, match="c: inputs must have shapes that differ in axis 1"):
            concat.output_shape(*shapes)
    with pytest.raises(NetworkError, match="c: axis must be an integer of at least 0, not -1"):
        Concat(name="c", inputs=("x",), input=tensor, axis=-1)
    box: dict[str, Any] = {"shape": (4,), "start": 0, "sizes": (2, 2), "strides": (2, 1)}
    for changes, message in (
        ({"strides": (1,)}, r"strides must be as many integers as sizes, 2, not \(1,\)"),
        ({"shape": (5,)}, r"shape must have 4 elements, not \(5,\)"),
        ({"sizes": (0, 2)}, r"sizes must be integers of at least 1, not \(0, 2\)"),
    ):
        with pytest.raises(NetworkError, match=f"v: {message}"):
            View(name="v", inputs=("x",), input=tensor, **box | changes)
    with pytest.raises(NetworkError, match=r"v: input must have elements 0 to 3, not shape \(3,\)"):
        View(name="v", inputs=("x",), input=tensor, **box).output_shape((3,))
