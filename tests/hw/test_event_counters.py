# amaranth: UnusedElaboratable=no
"""The event counters, against counting."""

from __future__ import annotations

import random
from typing import Any

import pytest

from dybit.hw.event_counters import EventCounters
from tests.hw.dma_bench import simulate

COUNT = 8


async def read(ctx: Any, dut: EventCounters, address: int) -> int:
    """Return a counter, at the first opportunity."""
    ctx.set(dut.address, address)
    for _ in range(dut.count):
        if ctx.get(dut.valid):
            return int(ctx.get(dut.value))
        await ctx.tick()
    raise AssertionError(f"counter {address} is never there")


def test_counts(vectors: Any) -> None:
    dut = EventCounters(COUNT, 8)
    choose = random.Random(1)
    compared = 0

    async def bench(ctx: Any, reset: Any) -> None:
        nonlocal compared
        for rates in ([1.0] * COUNT, [0.0] * COUNT, [index / 9 for index in range(COUNT)]) * 2:
            ctx.set(dut.clear, 1)
            ctx.set(dut.events, choose.getrandbits(COUNT))  # those of this cycle do not count
            await ctx.tick()
            ctx.set(dut.clear, 0)
            expected = [0] * COUNT
            for _ in range(choose.randrange(500)):
                events = [choose.random() < rate for rate in rates]
                ctx.set(dut.events, sum(event << i for i, event in enumerate(events)))
                expected = [total + event for total, event in zip(expected, events, strict=True)]
                await ctx.tick()
            ctx.set(dut.events, 0)
            await ctx.tick().repeat(dut.latency)
            for index in choose.sample(range(COUNT), COUNT):
                assert await read(ctx, dut, index) == expected[index] % 256
                compared += 1

    simulate(dut, bench)
    vectors("event counters", compared)


def test_latency() -> None:
    dut = EventCounters(COUNT)

    async def bench(ctx: Any, reset: Any) -> None:
        await ctx.tick().repeat(2 * COUNT)
        worst = 0
        for wait in range(1, COUNT + 1):
            before = await read(ctx, dut, 3)
            await ctx.tick().repeat(wait)
            ctx.set(dut.events[3], 1)
            await ctx.tick()
            ctx.set(dut.events[3], 0)
            cycles = 1
            while not ctx.get(dut.valid) or ctx.get(dut.value) == before:
                await ctx.tick()
                cycles += 1
            worst = max(worst, cycles)
        assert worst == dut.latency

    simulate(dut, bench)


@pytest.mark.parametrize("count", [2, 6, 8.0, None])
def test_counts_are_refused(count: object) -> None:
    with pytest.raises(ValueError, match=f"count must be a power of two, .* not {count!r}$"):
        EventCounters(count)
