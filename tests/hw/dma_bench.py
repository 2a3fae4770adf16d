"""Clients of the DMAs in Amaranth's simulator: transfers in, data out, compared with memory."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

__all__ = ["BEAT", "ReadClient", "Transfer", "WriteClient", "cycles", "simulate"]

BEAT = 16


class Transfer(NamedTuple):
    address: int
    bytes: int

    @property
    def elements(self) -> int:
        return -(-self.bytes // BEAT)


class _Client:
    """What both kinds have in common: commands.

    Members
    -------
    elements : data taken or given so far
    finished : transfers that are over
    """

    def __init__(self, transfers: Iterable[Transfer], offer: float, accept: float, seed: int):
        self.transfers = list(transfers)
        self.offer = offer
        self.accept = accept
        self.choose = random.Random(seed)
        self.asked = 0
        self.asking = False
        self.elements = 0
        self.finished = 0

    def drive_command(self, ctx: Any, command: Any) -> None:
        if not self.asking and self.asked < len(self.transfers):
            self.asking = self.offer == 1.0 or self.choose.random() < self.offer
            transfer = self.transfers[self.asked]
            ctx.set(command.payload.address, transfer.address)
            ctx.set(command.payload.bytes, transfer.bytes)
        ctx.set(command.valid, self.asking)

    def progress(self) -> tuple[int, ...]:
        return self.asked, self.elements, self.finished

    def sample_command(self, ctx: Any, command: Any) -> None:
        if self.asking and ctx.get(command.ready):
            self.asked += 1
            self.asking = False


class ReadClient(_Client):
    """Asks client `index` of a `ReadDma` for transfers and checks what comes."""

    def __init__(
        self,
        dut: Any,
        index: int,
        base: int,
        contents: bytes,
        transfers: Iterable[Transfer],
        *,
        offer: float = 1.0,
        accept: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(transfers, offer, accept, seed)
        self.command = getattr(dut, f"command_{index}")
        self.data = getattr(dut, f"data_{index}")
        self.base = base
        self.contents = contents
        self.within = 0
        self.held: tuple[int, int] | None = None

    def drive(self, ctx: Any) -> None:
        self.drive_command(ctx, self.command)
        ctx.set(self.data.ready, self.accept == 1.0 or self.choose.random() < self.accept)

    def sample(self, ctx: Any) -> None:
        self.sample_command(ctx, self.command)
        if not ctx.get(self.data.valid):
            assert self.held is None, "an element vanished"
            return
        element = ctx.get(self.data.payload.data), ctx.get(self.data.payload.last)
        if not ctx.get(self.data.ready):
            # The bytes after a transfer's last may be anything, but must not change either.
            assert self.held in (None, element), "an element changed while it waited"
            self.held = element
            return
        self.held = None
        self.elements += 1
        self._check(*element)

    def _check(self, word: int, last: int) -> None:
        transfer = self.transfers[self.finished]
        start = transfer.address - self.base + BEAT * self.within
        count = min(BEAT, transfer.bytes - BEAT * self.within)
        assert word.to_bytes(BEAT, "little")[:count] == self.contents[start : start + count], (
            f"{transfer}, element {self.within}"
        )
        self.within += 1
        assert last == (self.within == transfer.elements), f"{transfer}, element {self.within - 1}"
        if last:
            self.finished += 1
            self.within = 0

    @property
    def done(self) -> bool:
        return self.finished == len(self.transfers)


class WriteClient(_Client):
    """Gives transfers and their data to a `WriteDma`, and counts those done.

    Bytes after a transfer's last are random. `contents` is what memory shall hold of the bytes
    from `base` on.
    """

    def __init__(
        self,
        dut: Any,
        base: int,
        contents: bytes,
        transfers: Iterable[Transfer],
        *,
        offer: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(transfers, offer, 1.0, seed)
        self.dut = dut
        self.words = [
            contents[at : min(at + BEAT, end)]
            for transfer in self.transfers
            for end in [transfer.address - base + transfer.bytes]
            for at in range(transfer.address - base, end, BEAT)
        ]
        self.giving = False

    def drive(self, ctx: Any) -> None:
        self.drive_command(ctx, self.dut.command)
        if not self.giving and self.elements < len(self.words):
            self.giving = self.offer == 1.0 or self.choose.random() < self.offer
            word = self.words[self.elements]
            word += self.choose.randbytes(BEAT - len(word))
            ctx.set(self.dut.data.payload.data, int.from_bytes(word, "little"))
        ctx.set(self.dut.data.valid, self.giving)

    def sample(self, ctx: Any) -> None:
        self.sample_command(ctx, self.dut.command)
        if self.giving and ctx.get(self.dut.data.ready):
            self.elements += 1
            self.giving = False
        self.finished += ctx.get(self.dut.done)

    @property
    def done(self) -> bool:
        return self.finished == len(self.transfers)


async def cycles(
    ctx: Any,
    actors: Iterable[Any],
    until: Callable[[], bool],
    patience: int = 512,
    each: Callable[[Any], None] | None = None,
) -> int:
    """Run all actors until a condition holds; return the cycles it took.

    Fails when they have neither taken nor given anything for `patience` cycles. `each` is called in
    every cycle, once the actors are through with it.
    """
    actors = list(actors)
    count, before = 0, None
    while not until():
        for actor in actors:
            actor.drive(ctx)
        for actor in actors:
            actor.sample(ctx)
        if each is not None:
            each(ctx)
        if count % patience == 0:
            now = [actor.progress() for actor in actors]
            assert now != before, f"nothing moved for {patience} cycles, after {count} cycles"
            before = now
        await ctx.tick()
        count += 1
    return count


def simulate(dut: Any, bench: Callable[..., Awaitable[None]]) -> None:
    """Run a bench, which takes the simulator's context and the reset of the domain."""
    m = Module()
    m.domains.sync = sync = ClockDomain()
    m.submodules.dut = dut

    async def testbench(ctx: Any) -> None:
        await bench(ctx, sync.rst)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
