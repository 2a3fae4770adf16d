"""Transfers of every length from and to every place, among cocotbext-axi's models."""

from __future__ import annotations

import itertools
import random
from typing import Any

import cocotb

from tests.hw.cocotb_benches.accelerator_bench import ARRAY, Bench, draw, empty_shelf
from tests.hw.job_memory import BEAT
from tests.hw.tile_jobs import TileJob


@cocotb.test()
async def every_length(dut: Any) -> None:
    """Rows of every length modulo the bus, from and to every place in a beat that there is."""
    device = Bench(dut)
    await device.begin()
    places = range(0, BEAT, ARRAY.rows)
    outputs = list(itertools.product(range(BEAT), places))
    inputs = itertools.cycle(itertools.product(places, places))
    wanted = list(zip(outputs, inputs, strict=False))
    for first in range(0, len(wanted), 8):
        device.pause(random.choice([0.0, 0.6]))
        room = empty_shelf()
        jobs = []
        for (stored, to), (read, start) in wanted[first : first + 8]:
            starts = {"input_address": start, "output_address": to}
            jobs.append(room.put(cut(read, stored), starts))
        await device.run(jobs, room)


def cut(read: int, stored: int) -> TileJob:
    """Return a layer with rows to read, and one to store, of these lengths modulo the bus."""
    while True:
        job = draw()
        f = job.fields
        size = f["output_row_bytes"] - (f["output_row_bytes"] - stored) % BEAT
        fits = f["input_row_words"] * ARRAY.rows % BEAT == read
        if fits and f["output_rows"] == 1 and size > 0:
            ((address, content),) = job.outputs.items()
            return TileJob(f | {"output_row_bytes": size}, job.inputs, {address: content[:size]})
