"""A host on AXI4-Lite in Amaranth's simulator: writes, reads, in any order of their parts."""

from __future__ import annotations

import random
from typing import Any

from dybit.hw.csr import Csr
from dybit.hw.registers import REGISTERS

__all__ = ["OFFSETS", "LiteHost"]

OFFSETS = {register.name: register.offset for register in REGISTERS}

PATIENCE = 40
MOST_DELAY = 4


class LiteHost:
    """Accesses registers by name or address, one after the other.

    Parameters
    ----------
    ctx
        The simulator's context.
    dut
        A `Csr`.
    slow
        Delay each part of an access by a random number of cycles.

    Members
    -------
    cycles
        Cycles that the last access took.
    starts
        Cycles of all accesses in which there was a start.
    """

    def __init__(self, ctx: Any, dut: Csr, *, slow: bool = False, seed: int = 0) -> None:
        self.ctx = ctx
        self.dut = dut
        self.axi = dut.axi
        self.slow = slow
        self.choose = random.Random(seed)
        self.cycles = 0
        self.starts = 0

    async def write(self, register: str | int, value: int, strobes: int = 0b1111) -> None:
        ctx, axi = self.ctx, self.axi
        ctx.set(axi.awaddr, _address(register))
        ctx.set(axi.wdata, value)
        ctx.set(axi.wstrb, strobes)
        parts = [(axi.awvalid, axi.awready), (axi.wvalid, axi.wready), (axi.bready, axi.bvalid)]
        await self._exchange(parts)
        assert self.sampled == (0,)

    async def read(self, register: str | int) -> int:
        self.ctx.set(self.axi.araddr, _address(register))
        axi = self.axi
        await self._exchange([(axi.arvalid, axi.arready), (axi.rready, axi.rvalid)])
        response, value = self.sampled
        assert response == 0
        return value

    async def _exchange(self, parts: list[tuple[Any, Any]]) -> None:
        """Raise the first of each pair after its delay, until the second one meets it.

        The last pair is the answer's; what comes with it is left in `sampled`, and must stay as it
        is until taken.
        """
        ctx = self.ctx
        delays = [self.choose.randrange(MOST_DELAY) if self.slow else 0 for _ in parts]
        waiting = dict(enumerate(parts))
        held: tuple[int, ...] | None = None
        self.cycles = 0
        while waiting:
            assert self.cycles < PATIENCE, f"no answer to {waiting}"
            for index, (ours, _) in waiting.items():
                ctx.set(ours, self.cycles >= delays[index])
            answer = self._answer(len(parts) == 3) if ctx.get(parts[-1][1]) else None
            assert held is None or answer == held, f"{held} became {answer}"
            if answer is not None:
                assert list(waiting) == [len(parts) - 1], "answered before all was asked"
                held = answer
            met = [i for i, (ours, theirs) in waiting.items() if ctx.get(ours) and ctx.get(theirs)]
            self.starts += ctx.get(self.dut.start)
            await ctx.tick()
            self.cycles += 1
            for index in met:
                ctx.set(waiting.pop(index)[0], 0)
        assert held is not None
        self.sampled = held

    def _answer(self, writing: bool) -> tuple[int, ...]:
        axi, get = self.axi, self.ctx.get
        if writing:
            return (get(axi.bresp).value,)
        return get(axi.rresp).value, get(axi.rdata)


def _address(register: str | int) -> int:
    return OFFSETS[register] if isinstance(register, str) else register
