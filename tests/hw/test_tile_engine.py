"""The tile engine against memory: random layers, memory that answers when it likes."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from math import prod

import pytest
from amaranth.hdl import Cat, Value
from amaranth.lib.data import Layout
from amaranth.sim import Simulator

from dybit.hw.descriptor_reader import ErrorCode
from dybit.hw.tile_engine import READ_CLIENTS, TileEngine
from dybit.quant.accelerator_config import AcceleratorConfig
from dybit.quant.array_config import ArrayConfig
from tests.hw.array_vectors import array_config
from tests.hw.tile_jobs import PAGE, TileJob, draw_job, list_of

SEED = 411
ACCELERATOR = AcceleratorConfig(
    activation_words=256, output_words=1024, parameter_groups=16, weight_rows=32
)
ARRAYS = {
    "4x4": array_config(4, 4, "W8A8 W4A4 W2A2", accumulator_depth=128),
    "4x8": array_config(4, 8, "W8A8 W4A8 W8A4", accumulator_depth=128),
    "8x4": array_config(8, 4, "W8A8 W4A4", accumulator_depth=128),
}
WITH_UNIT = ACCELERATOR.model_copy(update={"depthwise_kernel": 3, "depthwise_width": 16})
LIST = 1 << 36
LONGEST = 500
"""Vectors of a layer, at most: Amaranth's simulator takes milliseconds for each."""

pytestmark = pytest.mark.rtl


class Memory:
    """Bytes by address; what has not been set reads as a pattern."""

    def __init__(self) -> None:
        self.bytes: dict[int, int] = {}

    def load(self, address: int, content: bytes) -> None:
        self.bytes.update(enumerate(content, address))

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.bytes.get(at, at * 37 & 255) for at in range(address, address + size))


class Over(Exception):
    """The run has ended, and those who serve it go home."""


async def take(ctx, source, over):
    """Accept an element of a stream and return its fields."""
    fields = [source.payload[name] for name, _ in Layout.cast(source.payload.shape())]
    ctx.set(source.ready, 1)
    while True:
        if over:
            raise Over
        *_, valid, values = await ctx.tick().sample(source.valid, Cat(*fields))
        if valid:
            break
    ctx.set(source.ready, 0)
    taken = []
    for item in fields:
        taken.append(values & (1 << len(Value.cast(item))) - 1)
        values >>= len(Value.cast(item))
    return taken


def run_jobs(
    array: ArrayConfig,
    jobs: list[TileJob],
    pace: float,
    seed: int,
    accelerator: AcceleratorConfig = ACCELERATOR,
) -> tuple[Memory, int]:
    """Run the list of `jobs`; return memory afterwards and the cycles taken."""
    dut = TileEngine(array, accelerator)
    memory = Memory()
    for job in jobs:
        for address, content in job.inputs.items():
            memory.load(address, content)
    memory.load(LIST, list_of(jobs))
    cycles = 0
    over: list[bool] = []

    def serving(serve):
        async def until_over(ctx):
            with suppress(Over):
                await serve(ctx)

        return until_over

    def reader(client: str):
        command, reply = getattr(dut, f"{client}_command"), getattr(dut, f"{client}_data")
        rng = random.Random(f"{client} {seed}")

        async def serve(ctx):
            while True:
                address, size = await take(ctx, command, over)
                content = memory.read(address, size)
                for start in range(0, size, 16):
                    while rng.random() > pace:
                        await ctx.tick()
                    beat = content[start : start + 16].ljust(16, b"\xa5")
                    ctx.set(reply.payload.data, int.from_bytes(beat, "little"))
                    ctx.set(reply.payload.last, start + 16 >= size)
                    ctx.set(reply.valid, 1)
                    while not (await ctx.tick().sample(reply.ready))[-1]:
                        if over:
                            raise Over
                    ctx.set(reply.valid, 0)

        return serve

    async def writer(ctx):
        rng = random.Random(seed)
        command, data = dut.output_command, dut.output_data
        while True:
            address, size = await take(ctx, command, over)
            for start in range(0, size, 16):
                while rng.random() > pace:
                    await ctx.tick()
                (beat,) = await take(ctx, data, over)
                content = beat.to_bytes(16, "little")[: size - start]
                memory.load(address + start, content)
            ctx.set(dut.written, 1)
            await ctx.tick()
            ctx.set(dut.written, 0)

    async def bench(ctx):
        nonlocal cycles
        ctx.set(dut.address, LIST)
        ctx.set(dut.length, len(jobs))
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        while not ctx.get(dut.done):
            assert ctx.get(dut.error) is ErrorCode.NONE, ctx.get(dut.detail)
            await ctx.tick()
            cycles += 1
            assert cycles < 100_000, "the engine stands still"
        over.append(True)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for client in READ_CLIENTS:
        simulator.add_testbench(serving(reader(client)))
    simulator.add_testbench(serving(writer))
    simulator.add_testbench(bench)
    simulator.run()
    return memory, cycles


def draw_short(rng: random.Random, array: ArrayConfig, base: int) -> TileJob:
    """Return a random layer of few vectors."""
    passes = ("kernel_height", "kernel_width", "block_count", "column_tiles")
    pixels = ("output_height", "output_width_pixels")
    while True:
        job = draw_job(rng, array, ACCELERATOR, base)
        if prod(job.fields[name] for name in (*passes, *pixels)) <= LONGEST:
            return job


@pytest.mark.parametrize(("name", "pace"), [("4x4", 1.0), ("4x4", 0.4), ("4x8", 0.7), ("8x4", 0.7)])
def test_random_layers(name: str, pace: float, vectors: Callable[[str, int], None]):
    array = ARRAYS[name]
    rng = random.Random(f"{name} {SEED}")
    print(f"seed {name} {SEED}")
    jobs = [draw_short(rng, array, (1 + i) << 24) for i in range(4)]
    memory, _ = run_jobs(array, jobs, pace, SEED)
    vectors("tile engine, bytes", compare(memory, jobs))


def test_depthwise_layers_between_others(vectors: Callable[[str, int], None]):
    array = ARRAYS["8x4"]
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    jobs: list[TileJob] = []
    for depthwise in (True, True, False, True, False, True):
        jobs.append(draw_job(rng, array, WITH_UNIT, (1 + len(jobs)) << 24, depthwise))
    # Of a single column of pixels the taps lie in a row.
    shape = ("output_width_pixels", "kernel_width", "kernel_height")
    while [jobs[-1].fields[name] for name in shape] != [1, 1, 3]:
        jobs[-1] = draw_job(rng, array, WITH_UNIT, len(jobs) << 24, True)
    memory, _ = run_jobs(array, jobs, 0.7, SEED, WITH_UNIT)
    vectors("tile engine with a depthwise unit, bytes", compare(memory, jobs))


def compare(memory: Memory, jobs: list[TileJob]) -> int:
    """Compare what the jobs must write, and nothing else; return the bytes."""
    count = 0
    for index, job in enumerate(jobs):
        for address, content in job.outputs.items():
            got = memory.read(address, len(content))
            assert got == content, (index, job.fields)
            assert not any(at in memory.bytes for at in (address - 1, address + len(content)))
            count += len(content)
    written = {at for at in memory.bytes if at >> 24 and at < LIST and at % (1 << 24) >= 3 * PAGE}
    assert len(written) == count
    return count
