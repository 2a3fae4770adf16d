"""What every bench uses: its parameters, its count of vectors, the clock and streams.

Inputs change at falling edges only and are sampled, once settled, before the rising edge, so
no bench depends on the order in which a simulator runs what happens at one edge::

    @cocotb.test()
    async def every_code(dut):
        await bench.start(dut)
        for code in range(256):
            dut.word.value = code
            await bench.settle()              # combinational outputs may be read
            ...
            await bench.tick(dut)             # inputs may be set again
        bench.count(256)
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator, Sequence
from typing import Any

from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, Timer

__all__ = ["PARAMETERS", "count", "reset", "settle", "start", "stream", "tick"]

PARAMETERS: dict[str, Any] = json.loads(os.environ["DYBIT_BENCH_PARAMETERS"])
"""What the test that runs the bench gave as `parameters`."""

_PERIOD = 2


def count(vectors: int) -> None:
    """Report that so many more vectors were compared."""
    with open(os.environ["DYBIT_BENCH_COUNTS"], "a") as counts:
        counts.write(f"{vectors}\n")


async def start(dut: Any) -> None:
    """Start the clock and reset; returns at a falling edge."""
    dut.clk.value = 0
    await Timer(_PERIOD, unit="ns")  # what the last test left of a cycle is over
    Clock(dut.clk, _PERIOD, unit="ns").start(start_high=False)
    await reset(dut)


async def reset(dut: Any) -> None:
    """Reset for one cycle; begins and returns at a falling edge."""
    dut.rst.value = 1
    await tick(dut)
    dut.rst.value = 0


async def settle() -> None:
    """Wait until everything that follows from the inputs without a clock has its value."""
    await ReadOnly()


async def tick(dut: Any) -> None:
    """Go on to the next falling edge, past one rising edge."""
    await FallingEdge(dut.clk)


async def stream(
    dut: Any,
    payloads: Sequence[int],
    *,
    offer: float = 1.0,
    accept: float = 1.0,
    patience: int = 64,
) -> list[int]:
    """Send payloads through ``i`` and return what comes out of ``o``, in order.

    A result not taken must stay as it is.

    Parameters
    ----------
    payloads
        What to send. The call returns when as many results came out.
    offer, accept
        Probability that ``i.valid`` is raised for a waiting payload, and that ``o.ready`` is
        set, in a cycle. A payload once offered stays until taken, as streams demand.
    patience
        Cycles without any transfer, times 1 / (offer x accept), after which the bench fails.
    """
    results: list[int] = []
    waiting: Iterator[int] = iter(payloads)
    pending = next(waiting, None)
    offered = False
    held: int | None = None
    idle = 0
    while len(results) < len(payloads):
        if not offered and pending is not None and random.random() < offer:
            offered = True
            dut.i__payload.value = pending
        dut.i__valid.value = offered
        ready = random.random() < accept
        dut.o__ready.value = ready
        await settle()
        idle += 1
        result = int(dut.o__payload.value) if dut.o__valid.value == 1 else None
        assert held is None or result == held, f"result {held} became {result} while waiting"
        held = None if ready else result
        if ready and result is not None:
            results.append(result)
            idle = 0
        if offered and dut.i__ready.value == 1:
            pending, offered = next(waiting, None), False
            idle = 0
        assert idle * offer * accept < patience, f"stuck after {len(results)} results"
        await tick(dut)
    dut.i__valid.value = 0
    dut.o__ready.value = 0
    return results
