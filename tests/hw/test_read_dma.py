# amaranth: UnusedElaboratable=no
"""The read DMA in Amaranth's simulator, against the bytes of a memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from dybit.hw.axi import Response
from dybit.hw.burst import BurstSplitter
from dybit.hw.byte_lanes import QUEUE_DEPTH
from dybit.hw.read_dma import ReadDma
from tests.hw.axi_memory import ReadMemory
from tests.hw.dma_bench import BEAT, ReadClient, Transfer, cycles, simulate

Vectors = Callable[[str, int], None]

BASE = 0xFF_FFFE_0000
CONTENTS = random.Random(1).randbytes(1 << 16)
PAGE = 4096
LATENCY = 40
SLVERR, DECERR = Response.SLVERR.value, Response.DECERR.value


def read(
    dut: ReadDma,
    transfers: Sequence[Sequence[Transfer]],
    *,
    latency: int = 1,
    go: float = 1.0,
    offer: float = 1.0,
    accept: float = 1.0,
    seed: int = 1,
) -> tuple[int, list[ReadClient], ReadMemory]:
    """Run the transfers of each client; return the cycles it took, the clients and the memory."""
    memory = ReadMemory(dut.axi, BASE, CONTENTS, latency=latency, go=go, seed=seed)
    stalls = {"offer": offer, "accept": accept}
    clients = [
        ReadClient(dut, i, BASE, CONTENTS, wanted, **stalls, seed=seed + i)
        for i, wanted in enumerate(transfers)
    ]
    taken = 0

    async def bench(ctx: Any, reset: Any) -> None:
        nonlocal taken
        taken = await cycles(ctx, [memory, *clients], lambda: all(c.done for c in clients))
        assert ctx.get(dut.idle)
        for client in clients:  # nothing nobody asked for
            ctx.set(client.data.ready, 1)
        for _ in range(8):
            await ctx.tick()
            assert not any(ctx.get(client.data.valid) for client in clients)

    simulate(dut, bench)
    assert memory.quiet()
    return taken, clients, memory


def elements(transfers: Sequence[Transfer]) -> int:
    return sum(transfer.elements for transfer in transfers)


@pytest.mark.rtl
@pytest.mark.parametrize("stalls", [{}, {"go": 0.6, "offer": 0.5, "accept": 0.6}], ids=str)
def test_every_start_and_length(stalls: dict[str, float], vectors: Vectors) -> None:
    every = [
        Transfer(BASE + 2 * PAGE - 16 + start, count)
        for start in range(BEAT)
        for count in range(1, 2 * BEAT + 2)
    ]
    random.Random(2).shuffle(every)
    read(ReadDma(2), [every[::2], every[1::2]], **stalls)
    vectors("read DMA, Amaranth's simulator", elements(every))


@pytest.mark.rtl
@pytest.mark.parametrize("seed", range(2))
def test_random_transfers_of_three_clients(seed: int, vectors: Vectors) -> None:
    choose = random.Random(seed)
    transfers = [
        [
            Transfer(
                BASE + at, min(choose.randrange(1, 1 << choose.choice([4, 7, 11])), 65536 - at)
            )
            for at in (
                choose.choice([0, PAGE - 40, 61_000]) + choose.randrange(4000) for _ in range(20)
            )
        ]
        for _ in range(3)
    ]
    stalls = {name: choose.choice([0.3, 0.8, 1.0]) for name in ("go", "offer", "accept")}
    read(ReadDma(3, depth=128), transfers, latency=choose.choice([1, 7, 60]), seed=seed, **stalls)
    vectors("read DMA, Amaranth's simulator", sum(map(elements, transfers)))


@pytest.mark.parametrize("alignment", [2, 4, 8, 16])
def test_alignments(alignment: int) -> None:
    choose = random.Random(alignment)
    transfers = [
        Transfer(BASE + alignment * choose.randrange(300), choose.randrange(1, 200))
        for _ in range(60)
    ]
    read(ReadDma(1, alignment=alignment), [transfers], accept=0.8)


@pytest.mark.parametrize("start", [0, 64, 1024 - 64, 1, 1023])
def test_one_beat_a_cycle_at_a_latency_of_40(start: int) -> None:
    transfer = Transfer(BASE + start, 600 * BEAT)
    taken, _, memory = read(ReadDma(1), [[transfer]], latency=LATENCY)
    ahead = BurstSplitter.LATENCY + 1 + LATENCY + ReadDma.LATENCY
    assert taken == ahead + 600
    assert max(burst["len"] for burst in memory.bursts) == 63


@pytest.mark.parametrize(("latency", "whole"), [(128 - 68, True), (128 - 64, False)])
def test_latency_that_a_buffer_hides(latency: int, whole: bool) -> None:
    taken, _, _ = read(ReadDma(1, depth=128), [[Transfer(BASE, 400 * BEAT)]], latency=latency)
    assert (taken == BurstSplitter.LATENCY + 1 + latency + ReadDma.LATENCY + 400) == whole


def test_transfer_after_transfer_without_a_gap() -> None:
    transfers = [Transfer(BASE + 192 * n, 192) for n in range(60)]
    taken, _, _ = read(ReadDma(1), [transfers], latency=LATENCY)
    assert taken == BurstSplitter.LATENCY + 1 + LATENCY + ReadDma.LATENCY + elements(transfers)


def test_a_transfer_that_touches_one_beat_more_takes_a_cycle_more() -> None:
    transfers = [Transfer(BASE + 200 * n + 8, 192) for n in range(60)]
    more = sum(transfer.address % BEAT != 0 for transfer in transfers)
    assert more == 30
    taken, _, _ = read(ReadDma(1), [transfers], latency=LATENCY)
    ahead = BurstSplitter.LATENCY + 1 + LATENCY + ReadDma.LATENCY
    assert taken == ahead + elements(transfers) + more


def test_the_bus_is_shared_without_a_gap() -> None:
    transfers = [[Transfer(BASE + 4096 * n, 1024)] * 3 for n in range(4)]
    taken, _, _ = read(ReadDma(4), transfers, latency=LATENCY)
    ahead = BurstSplitter.LATENCY + 1 + LATENCY + ReadDma.LATENCY
    assert taken == ahead + sum(map(elements, transfers))


def test_no_client_waits_for_another() -> None:
    """While one client takes nothing, the other gets all it asks for at full speed."""
    dut = ReadDma(2)
    memory = ReadMemory(dut.axi, BASE, CONTENTS, latency=LATENCY)
    stuck = ReadClient(dut, 0, BASE, CONTENTS, [Transfer(BASE, 12_000)] * 2, accept=0.0)
    other = ReadClient(dut, 1, BASE, CONTENTS, [Transfer(BASE + 3, 12_000)])

    async def bench(ctx: Any, reset: Any) -> None:
        await cycles(ctx, [memory, stuck], lambda: memory.quiet() and len(memory.bursts) == 4)
        taken = await cycles(ctx, [memory, stuck, other], lambda: other.done)
        ahead = BurstSplitter.LATENCY + 1 + LATENCY + ReadDma.LATENCY
        assert taken == ahead + other.elements
        assert stuck.elements == 0
        stuck.accept = 1.0
        await cycles(ctx, [memory, stuck], lambda: stuck.done)

    simulate(dut, bench)


def test_the_lowest_index_goes_first() -> None:
    transfers = [[Transfer(BASE + 8192 * n, 3 * 1024)] for n in range(3)]
    _, _, memory = read(ReadDma(3), transfers)
    order = [(burst["addr"] - BASE) // 8192 for burst in memory.bursts]
    assert order == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_bursts_outstanding() -> None:
    """Short bursts fill the queue; no more is announced than it holds."""
    dut = ReadDma(1)
    memory = ReadMemory(dut.axi, BASE, CONTENTS, latency=200)
    client = ReadClient(dut, 0, BASE, CONTENTS, [Transfer(BASE, 1)] * 50)

    async def bench(ctx: Any, reset: Any) -> None:
        await cycles(ctx, [memory, client], lambda: memory.cycle == 150)
        assert len(memory.bursts) == dut.OUTSTANDING == QUEUE_DEPTH
        await cycles(ctx, [memory, client], lambda: client.done)

    simulate(dut, bench)


def test_errors_are_reported_once_a_beat() -> None:
    dut = ReadDma(1)
    faults = {BASE + 32: SLVERR, BASE + 48: DECERR, BASE + 1024: DECERR, BASE + 1040: 1}
    memory = ReadMemory(dut.axi, BASE, CONTENTS, faults=faults, go=0.7)
    client = ReadClient(dut, 0, BASE, CONTENTS, [Transfer(BASE, 2048)])
    errors = []

    async def bench(ctx: Any, reset: Any) -> None:
        def watch(ctx: Any) -> None:
            errors.append(ctx.get(dut.error).value)

        await cycles(ctx, [memory, client], lambda: client.done, each=watch)

    simulate(dut, bench)
    assert [error for error in errors if error] == [SLVERR, DECERR, DECERR]


@pytest.mark.parametrize("clients", [0, -1, 1.0, None])
def test_clients_are_refused(clients: object) -> None:
    with pytest.raises(ValueError, match=f"clients must be a number, at least 1, not {clients!r}$"):
        ReadDma(clients)


@pytest.mark.parametrize("depth", [64, 192, 0, "256"])
def test_depths_are_refused(depth: object) -> None:
    message = f"depth must be a power of two, at least 128, not {depth!r}$"
    with pytest.raises(ValueError, match=message):
        ReadDma(1, depth)


@pytest.mark.parametrize("alignment", [0, 3, 32, None])
def test_alignments_are_refused(alignment: object) -> None:
    message = f"alignment must be one of 1, 2, 4, 8, 16, not {alignment!r}$"
    with pytest.raises(ValueError, match=message):
        ReadDma(1, alignment=alignment)
