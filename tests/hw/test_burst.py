"""The burst splitter, against transfers cut up beat by beat."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from dybit.hw.burst import Burst, BurstSplitter
from tests.hw.dma_bench import BEAT, Transfer, simulate

BLOCK = 1024
TOP = 1 << 40

FIELDS = tuple(Burst.as_shape().members)


def split(transfer: Transfer) -> Iterator[dict[str, int]]:
    """Yield the bursts of a transfer, from the list of all beats that hold a byte of it."""
    end = transfer.address + transfer.bytes - 1
    beats = list(range(transfer.address // BEAT, end // BEAT + 1))
    bursts: list[list[int]] = []
    for beat in beats:
        if not bursts or beat * BEAT % BLOCK == 0:
            bursts.append([])
        bursts[-1].append(beat)
    for index, burst in enumerate(bursts):
        yield {
            "beat": burst[0],
            "length": len(burst) - 1,
            "first": int(index == 0),
            "last": int(index == len(bursts) - 1),
            "start": transfer.address % BEAT,
            "end": end % BEAT,
            "extra": int(len(beats) > transfer.elements),
        }


def bursts(
    transfers: Sequence[Transfer],
    number: int,
    *,
    offer: float = 1.0,
    accept: float = 1.0,
    clear_after: int | None = None,
) -> tuple[list[dict[str, int]], list[int]]:
    """Return so many bursts of the transfers, and the cycle in which each was taken.

    With `clear_after`, everything is cleared after so many cycles, and the transfers begin anew.
    """
    dut = BurstSplitter()
    found: list[dict[str, int]] = []
    taken: list[int] = []
    choose = random.Random(5)

    async def bench(ctx: Any, reset: Any) -> None:
        sent, offered, cycle = 0, False, 0
        while len(found) < number:
            clear = cycle == clear_after
            ctx.set(dut.clear, clear)
            offered = offered or (sent < len(transfers) and choose.random() < offer)
            if offered:
                ctx.set(dut.i.payload.address, transfers[sent].address)
                ctx.set(dut.i.payload.bytes, transfers[sent].bytes)
            ctx.set(dut.i.valid, offered)
            ctx.set(dut.o.ready, choose.random() < accept)
            if ctx.get(dut.o.valid) and ctx.get(dut.o.ready):
                found.append({name: ctx.get(dut.o.payload[name]) for name in FIELDS})
                taken.append(cycle)
            if offered and ctx.get(dut.i.ready):
                sent, offered = sent + 1, False
            if clear:
                assert not ctx.get(dut.i.ready), "a command was taken while all is cleared"
                sent, offered = 0, False
                found.clear()
            cycle += 1
            assert cycle < 200_000, f"stuck after {len(found)} bursts"
            await ctx.tick()

    simulate(dut, bench)
    return found, taken


def cases() -> list[Transfer]:
    edges = [
        Transfer(7 * BLOCK + start, count)
        for start in (0, 1, 15, 16, 1008, 1023)
        for count in range(1, 50)
    ]
    whole = [
        Transfer(start, count)
        for start in (0, BLOCK - BEAT, TOP - 4 * BLOCK)
        for count in (BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + BEAT, 3 * BLOCK + BEAT)
    ]
    choose = random.Random(1)
    others = [
        Transfer(
            choose.randrange(TOP - (1 << 12)), choose.randrange(1, 1 << choose.choice([4, 12]))
        )
        for _ in range(200)
    ]
    return edges + whole + others


@pytest.mark.parametrize(("offer", "accept"), [(1.0, 1.0), (0.4, 0.7)])
def test_bursts(offer: float, accept: float) -> None:
    transfers = cases()
    expected = [burst for transfer in transfers for burst in split(transfer)]
    found, _ = bursts(transfers, len(expected), offer=offer, accept=accept)
    assert found == expected


def test_the_longest_transfer() -> None:
    transfer = Transfer(TOP - (1 << 24) + 3, (1 << 24) - 3)
    expected = list(split(transfer))
    assert len(expected) == 1 << 14
    found, _ = bursts([transfer], len(expected))
    assert found == expected


def test_latency_and_throughput() -> None:
    transfers = [Transfer(BLOCK * n - BEAT, 1 + 2 * BEAT * (n % 2)) for n in range(1, 60)]
    number = sum(len(list(split(transfer))) for transfer in transfers)
    _, taken = bursts(transfers, number)
    assert taken == list(range(BurstSplitter.LATENCY, BurstSplitter.LATENCY + number))


@pytest.mark.parametrize("after", range(1, 8))
def test_clear(after: int) -> None:
    transfers = [Transfer(BLOCK - BEAT, 3 * BLOCK), Transfer(5, 5000)]
    expected = [burst for transfer in transfers for burst in split(transfer)]
    found, _ = bursts(transfers, len(expected), accept=0.8, clear_after=after)
    assert found == expected
