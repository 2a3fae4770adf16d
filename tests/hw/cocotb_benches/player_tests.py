"""Plays a file of cycles and records the outputs: see `tests.hw.players`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cocotb

from tests.hw.cocotb_benches import bench

UNKNOWN = -1


@cocotb.test()
async def play(dut: Any) -> None:
    inputs = json.loads(Path(bench.PARAMETERS["stimulus"]).read_text())
    outputs: dict[str, list[int]] = {port: [] for port in bench.PARAMETERS["outputs"]}
    handles = {port: getattr(dut, port) for port in [*inputs, *outputs]}
    for port in inputs:
        handles[port].value = 0
    await bench.start(dut)
    names = list(inputs)
    previous: tuple[int | None, ...] = (None,) * len(names)
    for values in zip(*inputs.values(), strict=True):
        for port, value, before in zip(names, values, previous, strict=True):
            if value != before:
                handles[port].value = value
        previous = values
        await bench.settle()
        for port, seen in outputs.items():
            value = handles[port].value
            # Icarus shows what was never written as unknown; no test may expect it.
            seen.append(int(value) if value.is_resolvable else UNKNOWN)
        await bench.tick(dut)
    bench.count(len(next(iter(inputs.values()))))
    Path(bench.PARAMETERS["response"]).write_text(json.dumps(outputs))
