"""The descriptor check against the rules written down a second time."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from amaranth.sim import Simulator

from dybit.hw.descriptor import FIELDS, reserved_mask
from dybit.hw.descriptor_check import CHECKS, DescriptorCheck
from dybit.hw.tile import Tile
from dybit.quant.accelerator_config import AcceleratorConfig
from tests.hw.array_vectors import array_config
from tests.hw.descriptors import PLACES, broken_rules, legal, pack

SEED = 20261121
ARRAY = array_config(8, 8, "W8A8 W4A4 W2A4", accumulator_depth=64)
ACCELERATOR = AcceleratorConfig(
    activation_words=256,
    output_words=512,
    parameter_groups=16,
    weight_rows=16,
    depthwise_kernel=3,
    depthwise_width=16,
)

pytestmark = pytest.mark.rtl


def check_all(cases: list[int]) -> list[tuple[int, int]]:
    """Return (rule broken, or 0; tile) of each descriptor."""
    dut = DescriptorCheck(ARRAY, ACCELERATOR)
    results = []

    async def bench(ctx):
        ctx.set(dut.o.ready, 1)
        for case in cases:
            ctx.set(dut.i.payload, case)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)
            for _ in range(80):
                offered, broken = ctx.get(dut.o.valid), ctx.get(dut.broken)
                if offered or broken:
                    results.append((broken, ctx.get(dut.o.payload.as_value()) if offered else 0))
                    await ctx.tick()
                    break
                await ctx.tick()
            else:
                pytest.fail("no answer within 80 cycles")

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return results


def tile_of(fields: dict[str, int]) -> dict[str, dict[str, int]]:
    """Return what of the tile follows from the descriptor by multiplication."""
    f = fields
    depthwise = f["kind"] == 1
    row_words = f["input_width"] * f["blocks"]
    return {
        "load": {
            "words": f["input_height"] * row_words,
            "groups": f["column_tiles"] * (1 if depthwise else {0: 1, 3: 2, 4: 4}[f["mode"]]),
        },
        "weights": {"taps": f["kernel_height"] * f["kernel_width"]},
        "walk": {
            "row_words": row_words,
            "step_y": row_words * (1 if depthwise else f["stride_y"]),
            "step_x": f["blocks"] * (1 if depthwise else f["stride_x"]),
            "origin": -(f["pad_top"] * row_words + f["pad_left"] * f["blocks"]) % (1 << 16),
            "height": (f["output_height"] - 1) * f["stride_y"] + f["kernel_height"]
            if depthwise
            else f["output_height"],
            "width": (f["output_width_pixels"] - 1) * f["stride_x"] + f["kernel_width"]
            if depthwise
            else f["output_width_pixels"],
        },
        "drain": {"pixels": f["output_height"] * f["output_width_pixels"]},
    }


def test_fields_lie_where_the_contract_says():
    assert {f.name: (f.word, f.low, f.bits) for f in FIELDS} == PLACES


def test_legal_descriptors(vectors: Callable[[str, int], None]):
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    cases = [legal(rng, ARRAY, ACCELERATOR) for _ in range(150)]
    layout = Tile(ARRAY)
    for fields, (broken, tile) in zip(cases, check_all([pack(c) for c in cases]), strict=True):
        assert broken == 0, (list(CHECKS)[broken - 1], fields)
        for part, expected in tile_of(fields).items():
            for name, value in expected.items():
                low = layout[part].offset + layout[part].shape[name].offset
                got = tile >> low & (1 << layout[part].shape[name].width) - 1
                assert got == value, (part, name, fields)
    vectors("descriptor check, legal", len(cases))


def test_each_field_at_odd_values(vectors: Callable[[str, int], None]):
    rng = random.Random(SEED + 1)
    print(f"seed {SEED + 1}")
    cases = []
    for name, (_, _, bits) in PLACES.items():
        top = (1 << bits) - 1
        for value in {0, 1, 2, 3, top, top >> 1, 1 << bits - 1, rng.randint(0, top)}:
            fields = legal(rng, ARRAY, ACCELERATOR)
            fields[name] = min(value, top)
            cases.append(fields)
    seen = set()
    for fields, (broken, _) in zip(cases, check_all([pack(c) for c in cases]), strict=True):
        expected = broken_rules(fields, ARRAY, ACCELERATOR)
        got = list(CHECKS)[broken - 1] if broken else None
        assert (got in expected) if expected else got is None, (got, expected, fields)
        seen.add(got)
    vectors("descriptor check, odd values", len(cases))
    # Bits without a field, and reduced modes, have tests of their own.
    assert seen - {None} >= set(CHECKS) - {"reserved", "parameters", "signedness"}, seen


def test_bits_of_no_field():
    fields = legal(random.Random(SEED), ARRAY, ACCELERATOR)
    bits = [bit for bit in range(1024) if reserved_mask() >> bit & 1]
    results = check_all([pack(fields, reserved=1 << bit) for bit in bits[::7]])
    assert {list(CHECKS)[broken - 1] for broken, _ in results} == {"reserved"}


def test_rules_have_a_line_each():
    assert all("\n" not in rule and len(rule) < 90 for rule in CHECKS.values())
