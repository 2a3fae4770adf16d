"""Layers on an accelerator, among cocotbext-axi's models: results, registers and interrupts."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Iterator
from typing import Any

import cocotb
from cocotb.triggers import ClockCycles

from dybit.quant.precision import MODES
from tests.hw.cocotb_benches import bench
from tests.hw.cocotb_benches.accelerator_bench import (
    ACCELERATOR,
    ARRAY,
    SCALE,
    START,
    Bench,
    Ended,
    draw,
    empty_shelf,
)
from tests.hw.job_memory import BEAT, Shelf
from tests.hw.tile_jobs import TileJob, list_of

COUNTERS = ("CYCLES", "VECTORS", "STALL_WEIGHTS", "STALL_ACTIVATIONS", "STALL_RESULTS")
COUNTERS += ("READ_BEATS", "WRITE_BEATS", "DEPTHWISE")


def drawn(room: Shelf, count: int) -> list[TileJob]:
    unit = ACCELERATOR.depthwise_kernel > 0
    return [room.spread(draw(unit and random.random() < 0.5)) for _ in range(count)]


@cocotb.test()
async def layers(dut: Any) -> None:
    """Lists of layers, with buffers at any place and pauses on every channel."""
    device = Bench(dut)
    await device.begin()
    for round_ in range(3 * SCALE):
        device.pause(0.4 * (round_ % 3))
        room = empty_shelf()
        await device.run(drawn(room, random.randint(2, 4)), room)


@cocotb.test()
async def capabilities(dut: Any) -> None:
    device = Bench(dut)
    await device.begin()
    parameters = ARRAY.model_dump(mode="json") | {"accelerator": ACCELERATOR.model_dump()}
    text = json.dumps(parameters, sort_keys=True, separators=(",", ":"))
    modes = sum(1 << index for index, mode in enumerate(MODES) if mode in ARRAY.modes)
    signed, unsigned = True in ARRAY.signednesses, False in ARRAY.signednesses
    expected = {
        "MAGIC": int.from_bytes(b"DYBT", "big"),
        "VERSION": 1,
        "GEOMETRY": ARRAY.rows | ARRAY.columns << 8 | BEAT << 16,
        "MODES": modes | signed << 8 | unsigned << 9 | ACCELERATOR.depthwise_kernel << 16,
        "ACTIVATION_WORDS": ACCELERATOR.activation_words,
        "ACCUMULATOR_PIXELS": ARRAY.accumulator_depth // 2,
        "OUTPUT_WORDS": ACCELERATOR.output_words,
        "PARAMETER_GROUPS": ACCELERATOR.parameter_groups,
        "CONFIGURATION": zlib.crc32(text.encode()),
    }
    for name, value in expected.items():
        await device.set(name, 0xFFFF_FFFF)
        assert await device.get(name) == value, name


async def counters(device: Bench) -> dict[str, int]:
    return {
        name: await device.get(f"{name}_LOW") | await device.get(f"{name}_HIGH") << 32
        for name in COUNTERS
    }


@cocotb.test()
async def counted(dut: Any) -> None:
    """Counters begin at 0 with every start, and count what goes over the bus."""
    device = Bench(dut)
    await device.begin()
    device.pause(0.5)
    assert set((await counters(device)).values()) == {0}
    for _ in range(2):
        room = empty_shelf()
        jobs = drawn(room, 3)
        reads, writes = device.reads.beats, device.writes.beats
        await device.run(jobs, room)
        found = await counters(device)
        assert found["READ_BEATS"] == device.reads.beats - reads
        assert found["WRITE_BEATS"] == device.writes.beats - writes
        assert (found["VECTORS"], found["DEPTHWISE"]) == tuple(
            sum(issued(job) for job in jobs if job.fields["kind"] == kind) for kind in (0, 1)
        )
        stalls = sum(value for name, value in found.items() if name.startswith("STALL"))
        assert 0 < found["VECTORS"] + found["DEPTHWISE"] + stalls <= found["CYCLES"]


def issued(job: TileJob) -> int:
    """Return the vectors that a layer takes on its unit."""
    f = job.fields
    if f["kind"] == 1:
        # All pixels of the padded rectangle, once for each group.
        height = (f["output_height"] - 1) * f["stride_y"] + f["kernel_height"]
        width = (f["output_width_pixels"] - 1) * f["stride_x"] + f["kernel_width"]
        return height * width * f["column_tiles"]
    passes = f["column_tiles"] * f["kernel_height"] * f["kernel_width"] * f["block_count"]
    return passes * f["output_height"] * f["output_width_pixels"]


@cocotb.test()
async def interrupts(dut: Any) -> None:
    """Enabled, disabled, pending and acknowledged, as Vitis HLS has them."""
    device = Bench(dut)
    await device.begin()
    for enables, rising in ((0b00, 0b00), (0b01, 0b01), (0b10, 0b10), (0b11, 0b11)):
        room = empty_shelf()
        jobs = drawn(room, 1)
        address = device.prepare(jobs, list_of(jobs), room)
        for name, value in (
            *(("GIE", 0), ("IER", enables), ("LIST_LENGTH", 1)),
            *(("LIST_LOW", address & 0xFFFFFFFF), ("LIST_HIGH", address >> 32)),
        ):
            await device.set(name, value)
        assert await device.get("CTRL") == 0b0100
        await device.set("CTRL", START)
        assert await device.get("CTRL") == 0b0001
        assert await device.get("STATUS") == 1
        async for control in polled(device):
            if control != 1:
                break
            assert dut.interrupt.value == 0
        assert control == 0b1110
        assert await device.get("CTRL") == 0b0100
        device.compare(device.results(jobs))
        # What was enabled waits until interrupts are let through, and is taken back bit by bit.
        assert await device.get("ISR") == rising
        assert dut.interrupt.value == 0
        await device.set("GIE", 1)
        assert dut.interrupt.value == (rising != 0)
        for bit in (0b01, 0b10):
            if rising & bit:
                assert dut.interrupt.value == 1
                await device.set("ISR", bit)
        assert await device.get("ISR") == 0
        assert dut.interrupt.value == 0
    # Writing 1 toggles: a bit that was 0 becomes 1.
    await device.set("ISR", 0b01)
    assert await device.get("ISR") == 0b01
    assert dut.interrupt.value == 1
    await device.set("GIE", 0)
    assert dut.interrupt.value == 0


async def polled(device: Bench) -> Iterator[int]:
    for _ in range(10_000):
        yield await device.get("CTRL")
    raise AssertionError("the run does not end")


@cocotb.test()
async def start_while_busy(dut: Any) -> None:
    """A start during a run changes nothing of it, and is told; the next one forgets it."""
    device = Bench(dut)
    await device.begin()
    for _ in range(SCALE):
        device.pause(0.3)
        room = empty_shelf()
        jobs, others = drawn(room, 3), drawn(room, 2)
        other = device.prepare(others, list_of(others), room)
        await device.start(device.prepare(jobs, list_of(jobs), room), len(jobs))
        await device.start(other, len(others))
        assert await device.get("STATUS") == 0b101
        assert await device.end(start_while_busy=True) == Ended()
        device.compare(device.results(jobs))
        await device.set("CTRL", START)
        assert await device.get("STATUS") == 0b001
        assert await device.end() == Ended()
        device.compare(device.results(others))


@cocotb.test()
async def reset_in_the_middle(dut: Any) -> None:
    """After a reset at any time registers are as at first, and the next run is as any."""
    device = Bench(dut)
    await device.begin()
    for _ in range(bench.PARAMETERS["resets"] * SCALE):
        device.pause(random.choice([0.0, 0.5]))
        room = empty_shelf()
        jobs = drawn(room, 3)
        await device.start(device.prepare(jobs, list_of(jobs), room), len(jobs))
        await ClockCycles(dut.clk, random.randrange(1, 1500))
        await bench.tick(dut)
        await bench.reset(dut)
        assert dut.interrupt.value == 0
        device.compare_cut_short(jobs)
        for name in ("GIE", "IER", "ISR", "LIST_LOW", "LIST_LENGTH", "STATUS", "ERROR"):
            assert await device.get(name) == 0, name
        assert await device.get("CTRL") == 0b0100
        device.compare_cut_short([])
        await device.run(drawn(room, 1), room)
