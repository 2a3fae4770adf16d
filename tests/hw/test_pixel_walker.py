"""Passes and their pixels against nested loops, with whatever they wait for coming late."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.lib import wiring
from amaranth.sim import Simulator

from dybit.hw.pass_generator import PassGenerator
from dybit.hw.pixel_walker import PixelWalker
from dybit.hw.tile import Tile
from dybit.quant.accelerator_config import AcceleratorConfig
from tests.hw.array_vectors import array_config

SEED = 73
ARRAY = array_config(4, 4, "W8A8 W4A4", accumulator_depth=32)
ACCELERATOR = AcceleratorConfig(
    activation_words=256,
    output_words=64,
    parameter_groups=16,
    weight_rows=16,
    depthwise_kernel=3,
    depthwise_width=16,
)
LATENCY = {"revisit": 3, "accumulate": 12}
HALF = ARRAY.accumulator_depth // 2

pytestmark = pytest.mark.rtl

ALONG = ("mode", "signed", "exponent_limit", "swap", "first", "address", "part")

Walk = dict[str, int]


class Walker(Elaboratable):
    """Pass generator and pixel walker, one behind the other."""

    def __init__(self) -> None:
        self.passes = PassGenerator(ARRAY)
        self.walker = PixelWalker(ARRAY, ACCELERATOR, LATENCY)
        self.clear = Signal()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.passes, m.submodules.walker = self.passes, self.walker
        wiring.connect(m, self.passes.o, self.walker.i)
        m.d.comb += [self.passes.clear.eq(self.clear), self.walker.clear.eq(self.clear)]
        return m


def draw_walk(rng: random.Random, depthwise: bool) -> Walk:
    """Return a tile's walk, as the check of a descriptor derives it."""
    index = rng.randrange(len(ARRAY.modes))
    channels = ARRAY.modes[index].channels
    height, width, blocks = rng.randint(1, 4), rng.randint(1, 4), rng.randint(1, 3)
    kernel = (rng.randint(1, 3), rng.randint(1, 3))
    stride = (1, 1) if depthwise else (rng.randint(1, 2), rng.randint(1, 2))
    pad = (rng.randint(0, 2), rng.randint(0, 2))
    row_words = width * blocks
    parts = ARRAY.rows * channels // ARRAY.columns
    tiles = rng.randint(1, blocks * parts) if depthwise else rng.randint(1, 3)
    count = 1 if depthwise else rng.randint(1, blocks)
    step = 0 if depthwise or tiles == 1 else (blocks - count) // (tiles - 1)
    return {
        "depthwise": int(depthwise),
        "mode": index,
        "signed": rng.randint(0, 1),
        "exponent_limit": rng.randint(1, 8),
        "input_height": height,
        "input_width": width,
        "row_words": row_words,
        "blocks": blocks,
        "tail": rng.randint(1, ARRAY.rows * channels),
        "kernel_height": kernel[0],
        "kernel_width": kernel[1],
        "stride_y": stride[0],
        "stride_x": stride[1],
        "unit_stride_y": rng.randint(1, 2),
        "unit_stride_x": rng.randint(1, 2),
        "step_y": stride[0] * row_words,
        "step_x": stride[1] * blocks,
        "pad_top": pad[0],
        "pad_left": pad[1],
        "origin": -(pad[0] * row_words + pad[1] * blocks) % (1 << 16),
        "block_count": count,
        "block_step": step,
        "column_tiles": tiles,
        "height": rng.randint(1, 4),
        "width": rng.randint(1, 4),
    }


def expected_vectors(walks: list[Walk]) -> Iterator[tuple[Walk, dict[str, Any]]]:
    """Yield each vector: the word it takes, or None, its bank, and what goes along."""
    half = 0
    for bank, walk in enumerate(walks):
        mode = ARRAY.modes[walk["mode"]]
        parts = ARRAY.rows * mode.channels // ARRAY.columns
        for tile in range(walk["column_tiles"]):
            if walk["depthwise"]:
                passes = [(0, 0, tile // parts)]
            else:
                passes = [
                    (ky, kx, tile * walk["block_step"] + block)
                    for ky in range(walk["kernel_height"])
                    for kx in range(walk["kernel_width"])
                    for block in range(walk["block_count"])
                ]
            for index, (ky, kx, block) in enumerate(passes):
                for oy in range(walk["height"]):
                    for ox in range(walk["width"]):
                        y = oy * walk["stride_y"] + ky - walk["pad_top"]
                        x = ox * walk["stride_x"] + kx - walk["pad_left"]
                        inside = 0 <= y < walk["input_height"] and 0 <= x < walk["input_width"]
                        word = (y * walk["input_width"] + x) * walk["blocks"] + block
                        limit = walk["tail"] if block == walk["blocks"] - 1 else 1 << 16
                        pixel = oy * walk["width"] + ox
                        yield (
                            walk,
                            {
                                "word": word if inside else None,
                                "bank": bank % 2,
                                "keep": [
                                    [
                                        int(inside and r * mode.channels + lane < limit)
                                        for lane in range(mode.channels)
                                    ]
                                    for r in range(ARRAY.rows)
                                ],
                                "swap": int(pixel == 0),
                                "first": int(index == 0),
                                "address": half * HALF + pixel,
                                "part": tile % parts if walk["depthwise"] else 0,
                            },
                        )
            half ^= 1


def walk_all(walks: list[Walk], lateness: float) -> tuple[list[dict[str, Any]], int]:
    """Return every vector that comes out, and the cycles from the first to the last."""
    dut = Walker()
    walker = dut.walker
    rng = random.Random(SEED)
    got: list[dict[str, Any]] = []
    total = sum(1 for _ in expected_vectors(walks))
    times: list[int] = []

    async def feed(ctx: Any) -> None:
        for walk in walks:
            for name, value in walk.items():
                ctx.set(dut.passes.i.payload[name], value)
            ctx.set(dut.passes.i.valid, 1)
            while not (await ctx.tick().sample(dut.passes.i.ready))[-1]:
                pass
            ctx.set(dut.passes.i.valid, 0)

    async def bench(ctx: Any) -> None:
        # At most one tile of weights waits in the array, and one beyond those in use in the unit.
        owed = {"loaded": 2, "weights_loaded": 1, "taps_loaded": 1, "half_freed": 0}
        addresses: list[int] = []
        for cycle in range(20_000):
            for name in owed:
                given = owed[name] > 0 and rng.random() >= lateness
                ctx.set(getattr(walker, name), given)
                owed[name] -= given
            addresses.append(ctx.get(walker.read_address))
            vector = walker.vector
            valid, unit = ctx.get(vector.valid), ctx.get(vector.unit_valid)
            if valid or unit:
                address = addresses[cycle - PixelWalker.LATENCY]
                got.append(
                    {
                        "depthwise": unit,
                        "word": address % ACCELERATOR.activation_words,
                        "bank": address // ACCELERATOR.activation_words,
                        "keep": [
                            [ctx.get(vector.keep[r][lane]) for lane in range(ARRAY.max_channels)]
                            for r in range(ARRAY.rows)
                        ],
                        **{name: ctx.get(getattr(vector, name)) for name in ALONG},
                    }
                )
                times.append(cycle)
                if ctx.get(vector.swap):
                    owed["taps_loaded" if unit else "weights_loaded"] += 1
            owed["loaded"] += ctx.get(walker.bank_freed)
            owed["half_freed"] += ctx.get(walker.summed)
            if len(got) == total:
                break
            await ctx.tick()
        for _ in range(40):
            await ctx.tick()
            assert not ctx.get(walker.vector.valid)
            assert not ctx.get(walker.vector.unit_valid)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(feed)
    simulator.add_testbench(bench)
    simulator.run()
    return got, times[-1] - times[0] + 1


@pytest.mark.parametrize("lateness", [0.0, 0.6])
def test_every_vector(lateness: float, vectors: Callable[[str, int], None]) -> None:
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    walks = [draw_walk(rng, rng.random() < 0.3) for _ in range(12)]
    got, _ = walk_all(walks, lateness)
    expected = list(expected_vectors(walks))
    assert len(got) == len(expected)
    for index, ((walk, want), have) in enumerate(zip(expected, got, strict=True)):
        channels = ARRAY.modes[walk["mode"]].channels
        same = {name: walk[name] for name in ("depthwise", "mode", "signed", "exponent_limit")}
        want |= same
        have["keep"] = [lanes[:channels] for lanes in have["keep"]]
        if want["word"] is None:
            del want["word"], have["word"]
        if walk["depthwise"]:
            # The unit counts its own results, from where the pass begins.
            for each in (want, have):
                if not want["swap"]:
                    each.pop("address")
        else:
            del want["part"], have["part"]
        assert have == want, (index, walk)
    vectors("pixel walker", len(expected))


def test_passes_follow_without_a_gap() -> None:
    """Nothing missing, passes of as many vectors as the accumulators ask for: one a cycle."""
    walk = draw_walk(random.Random(SEED), False) | {"height": 3, "width": 4}
    walk |= {"kernel_height": 3, "kernel_width": 2, "column_tiles": 1, "block_step": 0}
    got, cycles = walk_all([walk], 0.0)
    assert cycles == len(got) == 12 * 6 * walk["block_count"]


def test_a_short_pass_takes_as_long_as_its_sums() -> None:
    walk = draw_walk(random.Random(SEED), False) | {"height": 1, "width": 1}
    walk |= {"kernel_height": 3, "kernel_width": 3, "block_count": 1, "column_tiles": 1}
    got, cycles = walk_all([walk], 0.0)
    assert len(got) == 9
    assert cycles >= 8 * LATENCY["revisit"] + 1


def test_tile_has_the_fields_that_are_drawn() -> None:
    assert set(draw_walk(random.Random(0), False)) == set(Tile(ARRAY)["walk"].shape.members)
