"""Drives a component with one input and one output stream in Amaranth's simulator."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from amaranth.hdl import ClockDomain, Module, Signal, Value
from amaranth.sim import Simulator

__all__ = ["capacity", "latency", "results_after_reset", "through"]

PATIENCE = 64
"""Cycles without a transfer, for streams that always offer and accept, that mean stuck."""


def through(
    dut: Any, payloads: Sequence[int], *, offer: float = 1.0, accept: float = 1.0, seed: int = 0
) -> list[int]:
    """Send payloads and return as many results, in order.

    Parameters
    ----------
    payloads
        Packed payloads.
    offer, accept
        Probability that a waiting payload is offered, and that a result is accepted, in a
        cycle. A payload once offered stays until taken; a result not taken must stay as it is.
    """
    results: list[int] = []

    async def bench(ctx: Any, reset: Signal) -> None:
        results.extend(await _exchange(ctx, dut, payloads, offer, accept, random.Random(seed)))

    _simulate(dut, bench)
    return results


async def _exchange(
    ctx: Any, dut: Any, payloads: Sequence[int], offer: float, accept: float, choose: random.Random
) -> list[int]:
    results: list[int] = []
    sent, idle, offered = 0, 0, False
    held: int | None = None
    while len(results) < len(payloads):
        if not offered and sent < len(payloads) and choose.random() < offer:
            offered = True
            ctx.set(_word(dut.i.payload), payloads[sent])
        ctx.set(dut.i.valid, offered)
        ready = choose.random() < accept
        ctx.set(dut.o.ready, ready)
        idle += 1
        result = ctx.get(_word(dut.o.payload)) if ctx.get(dut.o.valid) else None
        assert held is None or result == held, f"result {held} became {result} while waiting"
        held = None if ready else result
        if ready and result is not None:
            results.append(result)
            idle = 0
        if offered and ctx.get(dut.i.ready):
            sent, offered, idle = sent + 1, False, 0
        assert idle * offer * accept < PATIENCE, f"stuck after {len(results)} results"
        await ctx.tick()
    ctx.set(dut.i.valid, 0)
    ctx.set(dut.o.ready, 0)
    return results


def latency(dut: Any, payload: int) -> int:
    """Return the cycles from a payload to its result in an empty, unhindered pipeline."""
    cycles = -1

    async def bench(ctx: Any, reset: Signal) -> None:
        nonlocal cycles
        ctx.set(_word(dut.i.payload), payload)
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.o.ready, 1)
        for cycle in range(PATIENCE):
            if ctx.get(dut.o.valid):
                cycles = cycle
                return
            await ctx.tick()
            ctx.set(dut.i.valid, 0)

    _simulate(dut, bench)
    return cycles


def capacity(dut: Any, payload: int) -> int:
    """Return how many payloads are accepted while no result ever is."""
    accepted = 0

    async def bench(ctx: Any, reset: Signal) -> None:
        nonlocal accepted
        ctx.set(_word(dut.i.payload), payload)
        ctx.set(dut.i.valid, 1)
        for _ in range(PATIENCE):
            accepted += ctx.get(dut.i.ready)
            await ctx.tick()
        assert ctx.get(dut.o.valid), "a result must not wait for ready"

    _simulate(dut, bench)
    return accepted


def results_after_reset(dut: Any, before: int, payloads: Sequence[int], fill: int) -> list[int]:
    """Fill the pipeline for some cycles, reset it, and return the results of `payloads`.

    Parameters
    ----------
    before
        Payload offered `fill` cycles before the reset; no result of it may appear after.
    """
    results: list[int] = []

    async def bench(ctx: Any, reset: Signal) -> None:
        ctx.set(_word(dut.i.payload), before)
        ctx.set(dut.i.valid, 1)
        await ctx.tick().repeat(fill)
        ctx.set(dut.i.valid, 0)
        ctx.set(reset, 1)
        await ctx.tick()
        ctx.set(reset, 0)
        assert not ctx.get(dut.o.valid), "a result survived the reset"
        results.extend(await _exchange(ctx, dut, payloads, 1.0, 1.0, random.Random(0)))
        ctx.set(dut.o.ready, 1)
        for _ in range(PATIENCE):
            assert not ctx.get(dut.o.valid), "a result nobody asked for"
            await ctx.tick()

    _simulate(dut, bench)
    return results


def _word(payload: Any) -> Value:
    """Return a payload, structured or not, as the bits it is packed into."""
    return Value.cast(payload)


def _simulate(dut: Any, bench: Callable[[Any, Signal], Awaitable[None]]) -> None:
    m = Module()
    m.domains.sync = sync = ClockDomain()
    m.submodules.dut = dut

    async def testbench(ctx: Any) -> None:
        await bench(ctx, sync.rst)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
