# amaranth: UnusedElaboratable=no
"""The write DMA in Amaranth's simulator, against the bytes of a memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from dybit.hw.axi import Response
from dybit.hw.burst import BurstSplitter
from dybit.hw.byte_lanes import QUEUE_DEPTH
from dybit.hw.write_dma import WriteDma
from tests.hw.axi_memory import WriteMemory
from tests.hw.dma_bench import BEAT, Transfer, WriteClient, cycles, simulate

Vectors = Callable[[str, int], None]

BASE = 0xFF_FFFE_0000
SIZE = 1 << 16
CONTENTS = random.Random(1).randbytes(SIZE)
EMPTY = random.Random(2).randbytes(SIZE)
PAGE = 4096
SLVERR, DECERR = Response.SLVERR.value, Response.DECERR.value


def expected(transfers: Sequence[Transfer]) -> bytes:
    """Return memory after the transfers: what no transfer names is as it was."""
    contents = bytearray(EMPTY)
    for address, count in transfers:
        at = address - BASE
        contents[at : at + count] = CONTENTS[at : at + count]
    return bytes(contents)


def write(
    dut: WriteDma,
    transfers: Sequence[Transfer],
    *,
    latency: int = 1,
    go: float = 1.0,
    offer: float = 1.0,
    seed: int = 1,
) -> tuple[int, WriteMemory]:
    """Run transfers, compare all of the memory, and return the cycles and the memory."""
    memory = WriteMemory(dut.axi, BASE, bytearray(EMPTY), latency=latency, go=go, seed=seed)
    client = WriteClient(dut, BASE, CONTENTS, transfers, offer=offer, seed=seed)
    taken = 0

    async def bench(ctx: Any, reset: Any) -> None:
        nonlocal taken
        taken = await cycles(ctx, [memory, client], lambda: client.done)
        assert memory.quiet()
        for _ in range(8):
            assert ctx.get(dut.idle)
            await ctx.tick()
            assert not ctx.get(dut.done)
            assert not ctx.get(dut.axi.awvalid) | ctx.get(dut.axi.wvalid)

    simulate(dut, bench)
    assert memory.contents == expected(transfers)
    return taken, memory


def elements(transfers: Sequence[Transfer]) -> int:
    return sum(transfer.elements for transfer in transfers)


@pytest.mark.rtl
@pytest.mark.parametrize("stalls", [{}, {"go": 0.6, "offer": 0.7}], ids=str)
def test_every_start_and_length(stalls: dict[str, float], vectors: Vectors) -> None:
    lengths = [(start, count) for start in range(BEAT) for count in range(1, 2 * BEAT + 2)]
    every = [
        Transfer(BASE + 128 * n + 112 + start, count)
        for n, (start, count) in enumerate(lengths[:500])
    ] + [Transfer(BASE + 64_512 + start, count) for start, count in lengths[500:]]
    random.Random(2).shuffle(every)
    write(WriteDma(), every, **stalls)
    vectors("write DMA, Amaranth's simulator", elements(every))


@pytest.mark.rtl
@pytest.mark.parametrize("seed", range(2))
def test_random_transfers(seed: int, vectors: Vectors) -> None:
    choose = random.Random(seed)
    transfers, at = [], choose.randrange(PAGE)
    while at < SIZE - PAGE and len(transfers) < 25:
        count = choose.randrange(1, 1 << choose.choice([4, 7, 12]))
        transfers.append(Transfer(BASE + at, count))
        at += count + choose.choice([0, 0, 1, 500])
    stalls = {name: choose.choice([0.3, 0.8, 1.0]) for name in ("go", "offer")}
    write(WriteDma(depth=128), transfers, latency=choose.choice([1, 30]), seed=seed, **stalls)
    vectors("write DMA, Amaranth's simulator", elements(transfers))


@pytest.mark.parametrize("alignment", [2, 4, 8, 16])
def test_alignments(alignment: int) -> None:
    choose = random.Random(alignment)
    transfers = [
        Transfer(BASE + 512 * n + alignment * choose.randrange(16), choose.randrange(1, 200))
        for n in range(60)
    ]
    write(WriteDma(alignment=alignment), transfers, go=0.8)


def test_latency() -> None:
    """To the address, the first beat, and the transfer's end."""
    dut = WriteDma()
    client = WriteClient(dut, BASE, CONTENTS, [Transfer(BASE, 1)])
    memory = WriteMemory(dut.axi, BASE, bytearray(EMPTY))
    seen: dict[str, int] = {}

    async def bench(ctx: Any, reset: Any) -> None:
        def watch(ctx: Any) -> None:
            signals = {"address": dut.axi.awvalid, "beat": dut.axi.wvalid, "done": dut.done}
            for name, signal in {**signals, "answer": dut.axi.bvalid}.items():
                if ctx.get(signal):
                    seen.setdefault(name, memory.cycle - 1)

        await cycles(ctx, [memory, client], lambda: client.done, each=watch)

    simulate(dut, bench)
    assert seen["beat"] == BurstSplitter.LATENCY + WriteDma.LATENCY
    assert seen["address"] == seen["beat"] - 1
    assert seen["done"] == seen["answer"] + 1


@pytest.mark.parametrize("start", [0, 64, 1024 - 64, 1, 1023])
def test_one_beat_a_cycle(start: int) -> None:
    transfers = [Transfer(BASE + start + 9600 * n, 9600) for n in range(2)]
    beats = elements(transfers) + sum(transfer.address % BEAT > 0 for transfer in transfers)
    taken, memory = write(WriteDma(), transfers, latency=40)
    assert max(burst["len"] for burst in memory.bursts) == 63
    # A full burst waits for its data: its first beat goes 63 cycles and a latency after they come.
    assert taken == BurstSplitter.LATENCY + beats + 63 + WriteDma.LATENCY + 40 + 1


def test_one_burst_a_cycle() -> None:
    transfers = [Transfer(BASE + 64 * n, 16) for n in range(100)]
    taken, _ = write(WriteDma(), transfers)
    assert taken == BurstSplitter.LATENCY + 100 + WriteDma.LATENCY + 1 + 1


def test_a_burst_is_announced_when_all_its_data_are_there() -> None:
    dut = WriteDma()
    memory = WriteMemory(dut.axi, BASE, bytearray(EMPTY))
    client = WriteClient(dut, BASE, CONTENTS, [Transfer(BASE, 1024)])
    client.words, missing = client.words[:-1], client.words[-1:]

    async def bench(ctx: Any, reset: Any) -> None:
        await cycles(ctx, [memory, client], lambda: memory.cycle == 100)
        assert client.elements == 63
        assert not memory.bursts
        client.words += missing
        await cycles(ctx, [memory, client], lambda: client.done)

    simulate(dut, bench)


def test_done_waits_for_all_responses() -> None:
    dut = WriteDma()
    memory = WriteMemory(dut.axi, BASE, bytearray(EMPTY), latency=500)
    transfers = [Transfer(BASE, 16), Transfer(BASE + 1008, 2048), Transfer(BASE + 4000, 16)]
    client = WriteClient(dut, BASE, CONTENTS, transfers)
    answered, finished = [0], []

    async def bench(ctx: Any, reset: Any) -> None:
        def watch(ctx: Any) -> None:
            answered.append(memory.answered)
            if ctx.get(dut.done):
                finished.append(answered[-2])  # those of the cycles before this one
            assert not ctx.get(dut.idle) or memory.quiet()

        await cycles(ctx, [memory, client], lambda: client.done, patience=1024, each=watch)

    simulate(dut, bench)
    assert len(memory.bursts) == 1 + 3 + 1
    assert finished == [1, 4, 5]


def test_bursts_outstanding() -> None:
    dut = WriteDma()
    memory = WriteMemory(dut.axi, BASE, bytearray(EMPTY), latency=300)
    client = WriteClient(dut, BASE, CONTENTS, [Transfer(BASE + 16 * n, 16) for n in range(50)])

    async def bench(ctx: Any, reset: Any) -> None:
        await cycles(ctx, [memory, client], lambda: memory.cycle == 200)
        assert len(memory.bursts) == dut.OUTSTANDING == QUEUE_DEPTH
        await cycles(ctx, [memory, client], lambda: client.done)

    simulate(dut, bench)


def test_errors_are_reported_once_a_burst() -> None:
    dut = WriteDma()
    faults = {BASE: SLVERR, BASE + 2048: DECERR, BASE + 3072: 1}
    memory = WriteMemory(dut.axi, BASE, bytearray(EMPTY), faults=faults, go=0.7)
    client = WriteClient(dut, BASE, CONTENTS, [Transfer(BASE, 4096)])
    errors = []

    async def bench(ctx: Any, reset: Any) -> None:
        def watch(ctx: Any) -> None:
            errors.append(ctx.get(dut.error).value)

        await cycles(ctx, [memory, client], lambda: client.done, each=watch)

    simulate(dut, bench)
    assert [error for error in errors if error] == [SLVERR, DECERR]


@pytest.mark.parametrize("depth", [64, 192, 0, "256"])
def test_depths_are_refused(depth: object) -> None:
    message = f"depth must be a power of two, at least 128, not {depth!r}$"
    with pytest.raises(ValueError, match=message):
        WriteDma(depth)


@pytest.mark.parametrize("alignment", [0, 3, 32, None])
def test_alignments_are_refused(alignment: object) -> None:
    message = f"alignment must be one of 1, 2, 4, 8, 16, not {alignment!r}$"
    with pytest.raises(ValueError, match=message):
        WriteDma(alignment=alignment)
