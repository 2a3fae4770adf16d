"""Aborts at any time: the bus is left in order, and the next transfers are as any first."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from dybit.hw.read_dma import ReadDma
from dybit.hw.write_dma import WriteDma
from tests.hw.axi_memory import ReadMemory, WriteMemory
from tests.hw.dma_bench import ReadClient, Transfer, WriteClient, cycles, simulate

Vectors = Callable[[str, int], None]

BASE = 0x12_3456_0000
SIZE = 1 << 14
CONTENTS = random.Random(1).randbytes(SIZE)
EMPTY = random.Random(2).randbytes(SIZE)
ABORTS = 10


def transfers(choose: random.Random, number: int) -> list[Transfer]:
    """Return transfers in the middle of memory that do not overlap."""
    found, at = [], 1024
    while at < SIZE - 4096 and len(found) < number:
        count = choose.randrange(1, 1 << choose.choice([4, 8, 11]))
        found.append(Transfer(BASE + at, count))
        at += count + choose.randrange(200)
    return found


async def abort(
    ctx: Any, dut: Any, memory: Any, commands: Sequence[Any], data: Sequence[Any], pulse: bool
) -> None:
    """Abort, for a cycle or until some cycles after the DMA is idle; return when it is.

    What the DMA was offered stays there. It must not take a command, announce a burst that it had
    not before, or show data of the past; and it is idle when all that it announced is over.
    """
    ctx.set(dut.abort, 1)
    announced, more = -1, 0 if pulse else 3
    for cycle in range(2000):
        memory.drive(ctx)
        assert not any(ctx.get(command.ready) for command in commands)
        assert cycle == 0 or not any(ctx.get(stream.valid) for stream in data)
        idle = ctx.get(dut.idle)
        memory.sample(ctx)
        memory.silenced = True
        now = len(memory.bursts) + (memory.addresses.offered is not None)
        assert announced in (-1, now), "a burst after the abort"
        announced = now
        assert not ctx.get(dut.error).value
        await ctx.tick()
        if pulse:
            ctx.set(dut.abort, 0)
        if idle:
            assert memory.quiet()
            more -= 1
        if more < 0:
            break
    else:
        raise AssertionError("never idle")
    ctx.set(dut.abort, 0)
    memory.silenced = False


@pytest.mark.rtl
@pytest.mark.parametrize("go", [1.0, 0.6])
def test_reads(go: float, vectors: Vectors) -> None:
    dut = ReadDma(2)
    choose = random.Random(3)
    faults = {BASE + at: choose.choice([2, 3]) for at in range(0, SIZE, 16)}
    memory = ReadMemory(dut.axi, BASE, CONTENTS, latency=20, go=go, seed=4)
    compared = 0

    def clients(number: int) -> list[ReadClient]:
        accept = choose.choice([0.5, 1.0])
        return [
            ReadClient(dut, i, BASE, CONTENTS, transfers(choose, number), accept=accept, seed=i)
            for i in range(2)
        ]

    async def bench(ctx: Any, reset: Any) -> None:
        nonlocal compared
        for trial in range(ABORTS):
            cut, end = clients(20), memory.cycle + choose.randrange(150)
            await cycles(ctx, [memory, *cut], lambda end=end: memory.cycle == end)
            memory.faults = faults  # errors of what is thrown away are not reported
            commands, data = [c.command for c in cut], [c.data for c in cut]
            await abort(ctx, dut, memory, commands, data, pulse=trial % 2 == 0)
            memory.faults = {}
            whole = clients(2)
            await cycles(ctx, [memory, *whole], lambda whole=whole: all(c.done for c in whole))
            compared += sum(client.elements for client in [*cut, *whole])

    simulate(dut, bench)
    vectors("aborted reads", compared)


def test_a_pulse_empties_buffers_that_nobody_reads() -> None:
    dut = ReadDma(1)
    memory = ReadMemory(dut.axi, BASE, CONTENTS)
    stuck = ReadClient(dut, 0, BASE, CONTENTS, [Transfer(BASE, 8192)], accept=0.0)
    whole = ReadClient(dut, 0, BASE, CONTENTS, [Transfer(BASE + 4096, 8192)])

    async def bench(ctx: Any, reset: Any) -> None:
        await cycles(ctx, [memory, stuck], lambda: len(memory.bursts) == 4 and memory.quiet())
        await ctx.tick().repeat(4)
        assert ctx.get(dut.idle)
        await abort(ctx, dut, memory, [stuck.command], [], pulse=True)
        await cycles(ctx, [memory, whole], lambda: whole.done)

    simulate(dut, bench)


@pytest.mark.rtl
@pytest.mark.parametrize("go", [1.0, 0.6])
def test_writes(go: float, vectors: Vectors) -> None:
    dut = WriteDma()
    choose = random.Random(5)
    faults = {BASE + at: choose.choice([2, 3]) for at in range(0, SIZE, 16)}
    memory = WriteMemory(dut.axi, BASE, bytearray(SIZE), latency=20, go=go, seed=6)

    async def bench(ctx: Any, reset: Any) -> None:
        partly = 0
        for trial in range(ABORTS):
            memory.contents[:] = EMPTY
            cut = WriteClient(dut, BASE, CONTENTS, transfers(choose, 20), offer=0.9, seed=trial)
            end = memory.cycle + choose.randrange(250)
            await cycles(ctx, [memory, cut], lambda end=end: memory.cycle == end)
            memory.faults = faults
            await abort(ctx, dut, memory, [dut.command], [], pulse=trial % 2 == 0)
            memory.faults = {}
            allowed = bytearray(EMPTY)
            for address, count in cut.transfers:
                at = address - BASE
                allowed[at : at + count] = CONTENTS[at : at + count]
            for was, wanted, is_now in zip(EMPTY, allowed, memory.contents, strict=True):
                assert is_now in (was, wanted)
            partly += memory.contents not in (EMPTY, allowed)

            wanted, whole = bytearray(memory.contents), transfers(choose, 3)
            for address, count in whole:
                at = address - BASE
                wanted[at : at + count] = CONTENTS[at : at + count]
            client = WriteClient(dut, BASE, CONTENTS, whole, seed=trial)
            await cycles(ctx, [memory, client], lambda client=client: client.done)
            assert memory.contents == wanted
        assert partly > ABORTS // 3  # most aborts came in the middle

    simulate(dut, bench)
    vectors("aborted writes", ABORTS)
