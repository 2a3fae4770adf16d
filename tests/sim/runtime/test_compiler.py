"""Plans: where layers run, how they are cut, where buffers lie, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dybit.quant.config import QuantConfig
from dybit.quant.formats import ESB, DyBit
from dybit.quant.network import (
    INPUT,
    Add,
    AvgPool2d,
    Layer,
    MaxPool2d,
    QuantNetwork,
    QuantTensor,
    View,
)
from dybit.quant.precision import PrecisionMode
from dybit.sim import executor
from dybit.sim.board_driver import Download, Plan, PlanError, Upload
from dybit.sim.runtime import GoldenDevice, compile
from tests.accelerators import manifest
from tests.networks import graph_network, random_conv, random_linear, random_network

EIGHT = QuantTensor(DyBit(8, True, 3), 0.07)
SAME = {"stride": (1, 1), "padding": (1, 1)}


def config(
    rows: int = 16, columns: int = 16, accelerator: dict[str, int] | None = None, **array: Any
) -> QuantConfig:
    fields: dict[str, Any] = {
        "rows": rows,
        "columns": columns,
        "max_reduction": 4096,
        "accumulator_depth": 1024,
    }
    fields |= {"modes": ["W8A8", "W4A8"], **array}
    widths = PrecisionMode.parse(fields["modes"][0])
    return QuantConfig.from_dict(
        {
            "name": "built",
            "array": fields,
            "default": {
                "weight_bits": widths.weight_bits,
                "activation_bits": widths.activation_bits,
            },
            "accelerator": accelerator or {},
        }
    )


def chain(
    shape: tuple[int, ...], *makers: tuple[str, tuple[int, ...], dict[str, Any]], **built: Any
) -> QuantNetwork:
    """Return convolutions one after the other, the last one's accumulators the result."""
    rng = np.random.default_rng(2)
    layers: list[Layer] = []
    for index, (name, size, options) in enumerate(makers):
        before = layers[-1].name if layers else INPUT
        target = None if index == len(makers) - 1 else EIGHT
        layers.append(
            random_conv(rng, before, name, size, DyBit(8, True, 2), EIGHT, target, **options)
        )
    return QuantNetwork("net", config(**built), EIGHT, shape, tuple(layers))


def agrees(net: QuantNetwork, plan: Plan, count: int = 2) -> bool:
    x = np.random.default_rng(5).normal(0, 1, (count, *net.input_shape))
    result = GoldenDevice(manifest(plan)).run(plan, x)
    return np.array_equal(result.outputs, executor.run(net, x).logits)


def kinds(plan: Plan) -> list[str]:
    return [type(step).__name__ for step in plan.steps]


def row(plan: Plan, name: str) -> dict[str, Any]:
    (found,) = (row for row in plan.layers if row["layer"] == name)
    return found


def test_layers_in_a_row_are_one_run() -> None:
    net = chain((9, 9, 8), ("a", (3, 3, 8, 24), SAME), ("b", (3, 3, 24, 8), SAME))
    plan = compile(net)
    assert kinds(plan) == ["Host", "Upload", "Run", "Download", "Host"]
    (run,) = plan.runs
    barriers = [(name, tile["barrier"]) for name, tile in zip(run.layers, run.tiles, strict=True)]
    assert [name for name, barrier in barriers if barrier] == ["b"]
    assert barriers.index(("b", 1)) == run.layers.index("b")
    assert [tile["last"] for tile in run.tiles] == [0] * (len(run.tiles) - 1) + [1]
    assert agrees(net, plan)


def test_uploads_spare_what_runs_before_they_are_read() -> None:
    """The second branch wants the input as it is: it is put in place before the run begins."""
    rng = np.random.default_rng(1)
    fmt = DyBit(8, True, 2)
    layers = (
        random_conv(rng, INPUT, "a", (3, 3, 2, 16), fmt, EIGHT, EIGHT, **SAME),
        random_conv(rng, "a", "b", (3, 3, 16, 16), fmt, EIGHT, EIGHT, **SAME),
        random_conv(rng, "b", "c", (3, 3, 16, 16), fmt, EIGHT, EIGHT, **SAME),
        random_conv(rng, INPUT, "d", (1, 1, 2, 16), fmt, EIGHT, EIGHT),
        Add(name="add", inputs=("c", "d"), operands=(EIGHT, EIGHT), output=EIGHT),
        random_conv(rng, "add", "head", (1, 1, 16, 4), fmt, EIGHT, None),
    )
    net = QuantNetwork("net", config(), EIGHT, (9, 9, 2), layers)
    plan = compile(net)
    assert kinds(plan)[:4] == ["Host", "Upload", "Upload", "Run"]
    assert agrees(net, plan)


def test_branches_that_read_alike_need_one_barrier() -> None:
    rng = np.random.default_rng(1)
    fmt = DyBit(8, True, 2)
    make = lambda before, name: random_conv(  # noqa: E731
        rng, before, name, (1, 1, 4, 4), fmt, EIGHT, EIGHT
    )
    add = Add(name="add", inputs=("left", "right"), operands=(EIGHT, EIGHT), output=EIGHT)
    head = random_conv(rng, "add", "head", (1, 1, 4, 4), fmt, EIGHT, None)
    layers = (make(INPUT, "stem"), make("stem", "left"), make("stem", "right"), add, head)
    net = QuantNetwork("net", config(), EIGHT, (5, 5, 4), layers)
    plan = compile(net)
    first, second = plan.runs
    with_barrier = {
        name for name, tile in zip(first.layers, first.tiles, strict=True) if tile["barrier"]
    }
    assert with_barrier == {"left"}
    assert not any(tile["barrier"] for tile in second.tiles)
    assert agrees(net, plan)


def test_large_layers_have_tiles_enough_to_overlap() -> None:
    """Loads and stores hide behind other tiles' work: a 56 x 56 layer, not too many of them."""
    layers = (("a", (3, 3, 16, 16), SAME), ("b", (1, 1, 16, 16), {}), ("c", (1, 1, 16, 1), {}))
    plan = compile(chain((56, 56, 16), *layers))
    # The second layer computes no longer than it loads, and loads weights besides.
    for name, passes, spare in (("a", 9, 1.1), ("b", 1, 1.5)):
        compute = passes * 56 * 56
        assert 4 <= row(plan, name)["tiles"] <= 56
        assert compute < row(plan, name)["cycles"] < spare * compute
    tiles = [tile for run in plan.runs for tile in run.tiles]
    assert all(tile["output_height"] * tile["output_width_pixels"] >= 16 for tile in tiles)


@pytest.mark.parametrize(
    ("shape", "size", "options", "positions"),
    [
        ((12, 12, 1), (3, 3, 1, 8), SAME, (1, 1)),  # 9 of 16 rows in one pass
        ((12, 12, 3), (3, 3, 3, 8), SAME, (1, 1)),  # 27 in two
        ((12, 12, 16), (3, 3, 16, 8), SAME, (3, 3)),
        ((24, 24, 3), (7, 7, 3, 8), {"stride": (2, 2), "padding": (3, 3)}, (7, 1)),
    ],
)
def test_first_layers_of_few_channels_are_packed(
    shape: tuple[int, int, int],
    size: tuple[int, int, int, int],
    options: dict[str, Any],
    positions: tuple[int, int],
) -> None:
    net = chain(shape, ("a", size, options))
    plan = compile(net)
    tile = plan.runs[0].tiles[0]
    assert (tile["kernel_height"], tile["kernel_width"]) == positions
    assert agrees(net, plan)


def test_padding_is_not_packed_where_no_code_is_0() -> None:
    rng = np.random.default_rng(0)
    fmt = ESB(4, 2)
    family = {"family": "esb", "esb_k4": 2, "modes": ["W4A4"], "activations": "signed"}
    built = config(**family)
    image = QuantTensor(fmt, 0.3)
    for padding, kernel in (((1, 1), (3, 3)), ((0, 0), (1, 1))):
        conv = random_conv(
            rng, INPUT, "a", (3, 3, 1, 8), fmt, image, None, stride=(1, 1), padding=padding
        )
        net = QuantNetwork("net", built, image, (8, 8, 1), (conv,))
        plan = compile(net)
        tile = plan.runs[0].tiles[0]
        assert (tile["kernel_height"], tile["kernel_width"]) == kernel
        assert agrees(net, plan)


def head_network(channels: int, outputs: int = 5) -> QuantNetwork:
    """Return a convolution whose output is flattened for a linear layer."""
    rng = np.random.default_rng(3)
    fmt = DyBit(8, True, 2)
    elements = 6 * channels
    conv = random_conv(rng, INPUT, "conv", (1, 1, 4, channels), fmt, EIGHT, EIGHT)
    box = {"start": 0, "sizes": (elements,), "strides": (1,)}
    flat = View(name="flat", inputs=("conv",), input=EIGHT, shape=(elements,), **box)
    head = random_linear(rng, "flat", "head", (elements, outputs), fmt, EIGHT, None)
    return QuantNetwork("net", config(4, 4), EIGHT, (3, 2, 4), (conv, flat, head))


def test_flattening_is_a_kernel_as_large_as_the_image() -> None:
    net = head_network(8)
    plan = compile(net, batch=3)
    (run,) = plan.runs
    tile = run.tiles[-1]
    assert (tile["kernel_height"], tile["kernel_width"], tile["stride_y"]) == (3, 2, 3)
    assert sum(tile["output_height"] for tile in run.tiles if tile["kernel_height"] == 3) == 3
    assert agrees(net, plan, 5)


def test_flattening_of_few_channels_is_packed_by_the_host() -> None:
    net = head_network(1)
    plan = compile(net, batch=2)
    assert len(plan.runs) == 2
    assert row(plan, "flat")["on"] == "host"
    assert agrees(net, plan, 3)


@pytest.mark.parametrize(("kernel", "unit"), [(3, "depthwise"), (0, "array")])
def test_depthwise_layers(kernel: int, unit: str) -> None:
    net = chain(
        (9, 9, 24),
        ("a", (3, 3, 1, 24), {"groups": 24, **SAME}),
        ("b", (1, 1, 24, 8), {}),
        accelerator={"depthwise_kernel": kernel},
    )
    plan = compile(net)
    assert row(plan, "a")["on"] == unit
    tile = plan.runs[0].tiles[0]
    assert (tile["kind"], tile["block_count"], tile["block_step"]) == (
        (1, 1, 0) if kernel else (0, 1, 1)
    )
    assert agrees(net, plan)


@pytest.mark.parametrize("width", [16, 64])  # windows of 16 pixels are 18 wide
def test_wide_depthwise_layers_are_cut(width: int) -> None:
    net = chain(
        (5, 32, 8),
        ("a", (3, 3, 1, 8), {"groups": 8, **SAME}),
        ("b", (1, 1, 8, 8), {}),
        accelerator={"depthwise_kernel": 3, "depthwise_width": width},
    )
    plan = compile(net)
    tiles = [tile for tile in plan.runs[0].tiles if tile["kind"] == 1]
    assert max(tile["output_width_pixels"] for tile in tiles) == (11 if width == 16 else 32)
    assert agrees(net, plan)


def pooled(pool: Layer, built: QuantConfig) -> QuantNetwork:
    rng = np.random.default_rng(3)
    fmt = DyBit(8, True, 2)
    conv = random_conv(rng, INPUT, "conv", (1, 1, 4, 20), fmt, EIGHT, EIGHT)
    head = random_conv(rng, "pool", "head", (1, 1, 20, 5), fmt, EIGHT, None)
    return QuantNetwork("net", built, EIGHT, (8, 8, 4), (conv, pool, head))


def test_average_pooling_is_a_layer_of_the_array() -> None:
    window = {"kernel": (2, 3), "stride": (2, 2), "input": EIGHT, "output": EIGHT}
    pool = AvgPool2d(name="pool", inputs=("conv",), **window)
    for built, where in (
        (config(), "array"),
        (config(accelerator={"depthwise_kernel": 3}), "depthwise"),
        (config(accelerator={"activation_words": 16, "output_words": 4096}), "array"),
        (config(4, 4, {"activation_words": 16}), "host"),  # a window does not fit
    ):
        net = pooled(pool, built)
        plan = compile(net)
        assert row(plan, "pool")["on"] == where
        assert agrees(net, plan)


def test_max_pooling_is_the_host_s() -> None:
    window = {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1)}
    net = pooled(MaxPool2d(name="pool", inputs=("conv",), input=EIGHT, **window), config())
    plan = compile(net)
    assert kinds(plan) == [
        *("Host", "Upload", "Run", "Download", "Host", "Upload", "Run", "Download", "Host")
    ]
    assert agrees(net, plan)


def test_rows_that_no_window_sees_are_not_read() -> None:
    net = chain((8, 8, 16), ("a", (1, 1, 16, 16), {"stride": (2, 2)}), ("b", (1, 1, 16, 4), {}))
    plan = compile(net)
    tile = plan.runs[0].tiles[0]
    assert (tile["stride_y"], tile["stride_x"]) == (1, 2)
    assert tile["input_row_stride"] == 2 * 8 * 16
    read = sum(
        t["input_rows"] * t["input_row_words"] for t in plan.runs[0].tiles if t["stride_x"] == 2
    )
    assert read == 4 * 7
    assert agrees(net, plan)


def test_buffers_live_no_longer_than_needed() -> None:
    """Of a chain two at a time: what a layer reads and what it writes."""
    layers = [(f"c{i}", (1, 1, 16, 16), {}) for i in range(6)]
    net = chain((16, 16, 16), *layers)
    size = 16 * 16 * 16
    plan, kept = compile(net), compile(net, keep=True)
    fixed = len(plan.constants) + sum(128 * len(run.tiles) for run in plan.runs)
    assert plan.size == fixed + 9 * size  # raw output: 8 bytes a channel
    assert kept.size == fixed + (6 + 8) * size
    assert plan.tensors == {}
    assert sorted(kept.tensors) == ["c0", "c1", "c2", "c3", "c4", "c5.accumulators"]
    assert agrees(net, plan)


def test_buffers_never_overlap_while_both_are_of_use() -> None:
    """Whatever a step writes stays as it is until the last step that reads it."""
    net = graph_network()
    plan = compile(net, batch=2)
    spans: dict[tuple[int, int], list[int]] = {}
    for moment, step in enumerate(plan.steps):
        if isinstance(step, Upload | Download):
            place = (step.buffer.address, step.buffer.address + step.buffer.size)
            spans.setdefault(place, []).append(moment)
    places = list(spans.items())
    for index, (one, times) in enumerate(places):
        assert one[0] % 64 == 0
        assert len(plan.constants) <= one[0] < one[1] <= plan.size
        for other, others in places[index + 1 :]:
            if max(times) >= min(others) and max(others) >= min(times):
                assert one[1] <= other[0] or other[1] <= one[0]


def test_plan_as_a_table() -> None:
    text = compile(random_network(), batch=2).describe().splitlines()
    assert text[0].split() == [
        *("layer", "on", "mode", "tiles", "tile", "cycles"),
        *("constant_bytes", "input_bytes", "output_bytes"),
    ]
    assert [line.split()[:3] for line in text[1:-1]] == [
        ["first", "array", "W4A4"],
        ["second", "array", "W8A8"],
        ["max", "host", "max_pool"],
        ["mean", "host", "average_pool"],
        ["flat", "host", "view"],
        ["head", "array", "W4A4"],
    ]
    assert text[-1].startswith("2 runs, about ")


DEPTH = {"accumulator_depth": 64}


@pytest.mark.parametrize(
    ("net", "built", "message"),
    [
        (random_network(), config(rows=12), r"built: array\.rows: 12 is not allowed; must be one"),
        (
            random_network(),
            config(4, 4),
            r"first: W4A4 is not built; must be one of W8A8, W4A8$",
        ),
        (
            random_network(),
            config(4, 4, modes=["W4A4"], activation_exponent_limit=2),
            r"first: input must be .*, as the array is built, not .*; quantise for this array",
        ),
        (
            random_network(),
            config(4, 4, modes=["W4A4", "W8A8"], activations="signed"),
            r'first: input must be signed, .*; set array.activations to "both"',
        ),
        (
            random_network(),
            config(4, 4, modes=["W4A4"]),
            r"first: output must be DyBit of 4 bits, .*; add a mode with such activations",
        ),
        (
            random_network(),
            config(4, 4, family="esb", modes=["W4A4"], activations="signed"),
            r"first: input must be ESB, not .*; set array.family",
        ),
        (
            chain((5, 5, 64), ("a", (3, 3, 64, 4), {}), ("b", (1, 1, 4, 1), {})),
            config(4, 4, {"activation_words": 128}),
            r"a: words of input of a tile must be at most 128, not 144; raise "
            r"accelerator.activation_words",
        ),
        (
            chain((5, 5, 4), ("a", (3, 3, 4, 200), {})),
            config(4, 4, {"output_words": 256}),
            r"a: words of output of a tile must be at most 256, not 400; raise",
        ),
        (
            chain((5, 5, 4), ("a", (3, 3, 4, 65), {})),
            config(4, 4, {"parameter_groups": 16}),
            r"a: 65 outputs are 17 groups of array.columns; must be at most 16; raise "
            r"accelerator.parameter_groups",
        ),
        (
            chain((5, 5, 4), ("a", (1, 3, 4, 5), {"stride": (1, 1), "padding": (1, 1)})),
            config(4, 4),
            r"a: padding must be at most 0, not 1",
        ),
        (
            chain((400, 5, 4), ("a", (300, 1, 4, 5), {})),
            config(4, 4),
            r"a: kernel must be at most 255, not 300",
        ),
        (
            chain((400, 5, 4), ("a", (1, 1, 4, 5), {"stride": (256, 1)})),
            config(4, 4),
            r"a: stride must be at most 255, not 256",
        ),
        (
            chain((5, 5, 64), ("a", (3, 3, 64, 4), {})),
            config(4, 4, max_reduction=500),
            r"layers.a: a reduction of 576 is not allowed; must be at most array.max_reduction",
        ),
    ],
)
def test_what_does_not_fit_is_refused(net: QuantNetwork, built: QuantConfig, message: str) -> None:
    with pytest.raises(PlanError, match=message) as error:
        compile(net, built)
    assert "\n" not in str(error.value)


def test_groups_without_a_zero_are_refused() -> None:
    rng = np.random.default_rng(0)
    fmt = ESB(4, 2)
    family = {"family": "esb", "esb_k4": 2, "modes": ["W4A4"], "activations": "signed"}
    image = QuantTensor(fmt, 0.3)
    conv = random_conv(rng, INPUT, "a", (1, 1, 2, 8), fmt, image, None, groups=2)
    net = QuantNetwork("net", config(**family), image, (8, 8, 4), (conv,))
    with pytest.raises(PlanError, match=r"a: groups must be 1 with weights of .*, which have no"):
        compile(net)


@pytest.mark.parametrize("batch", [0, -1, 1.0, True])
def test_batches_are_counted(batch: Any) -> None:
    with pytest.raises(PlanError, match="batch must be an integer of at least 1, not"):
        compile(random_network(), batch=batch)
