"""A bench for the runner's own test: a register, and as many vectors as it is told."""

from __future__ import annotations

from typing import Any

import cocotb

from tests.hw.cocotb_benches import bench

VECTORS = bench.PARAMETERS["vectors"]


@cocotb.test()
async def register_follows(dut: Any) -> None:
    await bench.start(dut)
    for value in range(VECTORS):
        dut.i.value = value
        await bench.tick(dut)
        await bench.settle()
        assert dut.o.value == value + bench.PARAMETERS["offset"]
        await bench.tick(dut)
        bench.count(1)
