"""Drives a recorded job through a design, checks it, and reports how long its cycles took.

A driver for each group of input ports and a monitor for each group of output ports: see
`benchmarks.rtl`, which compares the time with that of other simulators.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import cocotb

from tests.hw.cocotb_benches import bench

Ports = dict[str, Sequence[int | None]]
"""Value of each port in each cycle; None where it does not matter."""


async def drive(dut: Any, ports: Ports, cycles: int) -> None:
    handles = [(getattr(dut, port), values) for port, values in ports.items()]
    for cycle in range(cycles):
        for handle, values in handles:
            handle.value = values[cycle]
        await bench.tick(dut)


async def monitor(dut: Any, ports: Ports, cycles: int) -> None:
    handles = [(port, getattr(dut, port), values) for port, values in ports.items()]
    for cycle in range(cycles):
        await bench.settle()
        for port, handle, values in handles:
            expected = values[cycle]
            if expected is not None:
                got = handle.value
                assert got == expected, f"cycle {cycle}: {port} is {got}, not {expected:b}"
        await bench.tick(dut)


def grouped(ports: Ports) -> list[Ports]:
    """Return the ports of each interface: those whose names begin alike."""
    groups: dict[str, Ports] = defaultdict(dict)
    for port, values in ports.items():
        groups[port.split("__")[0]][port] = values
    return list(groups.values())


@cocotb.test()
async def job(dut: Any) -> None:
    recorded = json.loads(Path(bench.PARAMETERS["job"]).read_text())
    for port in recorded["inputs"]:
        getattr(dut, port).value = 0
    await bench.start(dut)
    cycles = len(next(iter(recorded["inputs"].values())))
    start = perf_counter()
    tasks = [
        cocotb.start_soon(run(dut, ports, cycles))
        for side, run in (("inputs", drive), ("outputs", monitor))
        for ports in grouped(recorded[side])
    ]
    for task in tasks:
        await task
    seconds = perf_counter() - start
    bench.count(cycles)
    Path(bench.PARAMETERS["seconds"]).write_text(json.dumps(seconds))
