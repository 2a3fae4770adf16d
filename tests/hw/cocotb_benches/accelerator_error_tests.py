"""Runs that end with an error, among cocotbext-axi's models: what they tell, write and leave.

After each of them the same layer runs again, without a reset, and must be right.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import cocotb
from cocotbext.axi import AxiResp

from tests.hw.cocotb_benches import bench
from tests.hw.cocotb_benches.accelerator_bench import (
    ACCELERATOR,
    ARRAY,
    SCALE,
    Bench,
    Ended,
    draw,
    drawing,
    empty_shelf,
)
from tests.hw.cocotb_benches.copy_tests import pauses
from tests.hw.cocotb_benches.faulty_memory import BASE, SIZE
from tests.hw.descriptors import DESCRIPTOR_BYTES, broken_rules, illegal, pack
from tests.hw.job_memory import BEAT, LINE
from tests.hw.tile_jobs import TileJob, list_of

RULES: list[str] = bench.PARAMETERS["rules"]
BURST = 64 * BEAT
ILLEGAL, LIST = 1, 2
READ = {AxiResp.SLVERR: 3, AxiResp.DECERR: 4}
WRITE = {AxiResp.SLVERR: 5, AxiResp.DECERR: 6}


class Failing:
    """A device whose runs fail; `control` is the layer that must be right after each."""

    def __init__(self, dut: Any) -> None:
        self.device = Bench(dut)
        self.shelf = empty_shelf()
        self.control = self.shelf.put(small())
        self.after_control = self.shelf.end

    def jobs(self, count: int) -> list[TileJob]:
        """Return layers in place of those that were there, but for the control."""
        self.shelf.end = self.after_control
        return [self.shelf.put(small()) for _ in range(count)]

    async def ends(
        self, content: bytes, length: int, jobs: list[TileJob], address: int | None = None
    ) -> Ended:
        """Run a list; nothing but the outputs of `jobs` may be written. Return how it ended."""
        place = self.device.prepare(jobs, content, self.shelf)
        await self.device.start(place if address is None else address, length)
        ended = await self.device.end()
        self.device.compare_cut_short(jobs)
        return ended

    async def recovers(self) -> None:
        """See that the next run is right."""
        self.device.read_faults.clear()
        self.device.write_faults.clear()
        # Something else, so that what the last one left there does not do.
        self.device.load(*garbage(self.control))
        await self.device.run([self.control], self.shelf)


def garbage(job: TileJob) -> tuple[int, bytes]:
    ((address, content),) = job.outputs.items()
    return address, bytes(byte ^ 0xFF for byte in content)


def small() -> TileJob:
    """Return a layer that is soon computed."""
    while True:
        job = draw()
        f = job.fields
        if f["kernel_height"] * f["kernel_width"] * f["blocks"] * f["column_tiles"] <= 2:
            return job


def changed(job: TileJob, changes: Mapping[str, int], reserved: int = 0) -> bytes:
    """Return the descriptor, last in its list, with other values in some fields."""
    fields = job.fields | {"last": 1} | changes
    return pack(fields, reserved).to_bytes(DESCRIPTOR_BYTES, "little")


def before(jobs: list[TileJob]) -> bytes:
    """Return the descriptors of layers that others follow."""
    return b"".join(changed(job, {"last": 0}) for job in jobs)


@cocotb.test()
async def bus_errors(dut: Any) -> None:
    """Reads for each purpose and writes, answered with either error somewhere in a buffer."""
    failing = Failing(dut)
    device = failing.device
    await device.begin()
    clients = ("list", "parameters_address", "weights_address", "input_address", "output_address")
    for response in (AxiResp.SLVERR, AxiResp.DECERR):
        for client in clients * SCALE:
            device.pause(random.choice([0.0, 0.5]))
            jobs = failing.jobs(3)
            at = random.randrange(3)
            # The list is placed last: what is wrong with it is known once it is there.
            content = list_of(jobs)
            address = device.prepare(jobs, content, failing.shelf)
            if client == "list":
                first, size = address + DESCRIPTOR_BYTES * at, DESCRIPTOR_BYTES
            else:
                first, size = extent(jobs[at], client)
            begin = random.randrange(size)
            wrong = range(first + begin, first + random.randrange(begin, size) + 1)
            faults = device.write_faults if client == "output_address" else device.read_faults
            faults.add(wrong, response)
            await device.start(address, len(jobs))
            ended = await device.end()
            assert ended.code == (WRITE if client == "output_address" else READ)[response], client
            assert ended.detail == 0
            # What reads the list is ahead of what else is done.
            assert ended.descriptor in (range(at, at + 1) if client == "list" else range(at, 3))
            reached = jobs[: at if client == "list" else ended.descriptor + 1]
            device.compare_cut_short(reached)
            await failing.recovers()


def extent(job: TileJob, client: str) -> tuple[int, int]:
    """Return the address and the bytes of what is read or written without a gap."""
    address = job.fields[client]
    content = job.outputs if client == "output_address" else job.inputs
    return address, len(content[address])


@cocotb.test()
async def stopped_while_writing(dut: Any) -> None:
    """What is being written when a burst before it has failed is left half written, not wrong."""
    failing = Failing(dut)
    device = failing.device
    await device.begin()
    halves = 0
    for _ in range(4 * SCALE):
        device.pause(0.0)
        device.writes.w_channel.set_pause_generator(pauses(random.choice([0.3, 0.7])))
        failing.jobs(0)
        jobs = [failing.shelf.put(job) for job in (large(), small())]
        response = random.choice(list(WRITE))
        ((first, content),) = jobs[0].outputs.items()
        wrong = first + random.randrange(len(content) - BURST)
        device.write_faults.add(range(wrong, wrong + 1), response)
        await device.start(device.prepare(jobs, list_of(jobs), failing.shelf), len(jobs))
        ended = await device.end()
        assert (ended.code, ended.detail) == (WRITE[response], 0)
        halves += len(device.compare_cut_short(jobs))
        await failing.recovers()
    assert halves >= SCALE


def large() -> TileJob:
    """Return a layer that stores more than two bursts at once."""
    while True:
        job = draw()
        if job.fields["output_rows"] == 1 and job.fields["output_row_bytes"] > 2 * BURST:
            return job


@cocotb.test()
async def illegal_descriptors(dut: Any) -> None:
    """Each field out of its range, each rule broken, alone or after layers that are right."""
    failing = Failing(dut)
    await failing.device.begin()
    breakable = set(RULES)
    if len(ARRAY.signednesses) == 2:
        breakable.remove("signedness")
    if not ACCELERATOR.depthwise_kernel:
        breakable.remove("depthwise")
    told = set()
    for fields, reserved in illegal(drawing(), ARRAY, ACCELERATOR, sorted(breakable)):
        failing.device.pause(random.choice([0.0, 0.3]))
        jobs = failing.jobs(random.randrange(2))
        descriptor = pack(fields | {"last": 1}, reserved).to_bytes(DESCRIPTOR_BYTES, "little")
        ended = await failing.ends(before(jobs) + descriptor, len(jobs) + 1, jobs)
        assert (ended.code, ended.descriptor) == (ILLEGAL, len(jobs)), fields
        rule = RULES[ended.detail - 1]
        assert rule in broken_rules(fields, ARRAY, ACCELERATOR, reserved), (rule, fields)
        told.add(rule)
        await failing.recovers()
    assert told == breakable


@cocotb.test()
async def lists(dut: Any) -> None:
    """Lists of no length, without an end, with one too early, or out of place."""
    failing = Failing(dut)
    await failing.device.begin()
    for _ in range(SCALE):
        jobs = failing.jobs(3)
        good = list_of(jobs)
        for length, expected in (
            (0, Ended(LIST, 0, 0)),
            (2, Ended(LIST, 0, 1)),  # it does not end where it must
            (4, Ended(LIST, 0, 2)),  # it ends before
            (0xFFFF_FFFF, Ended(LIST, 0, 2)),
        ):
            reached = jobs[: expected.descriptor]
            assert await failing.ends(good, length, reached) == expected
            await failing.recovers()
        # A list that never ends runs until there is no memory behind it.
        count = 3
        address = BASE + SIZE - count * DESCRIPTOR_BYTES
        failing.device.load(address, before(jobs))
        ended = await failing.ends(good, 0xFFFF_FFFF, jobs, address)
        assert ended == Ended(READ[AxiResp.DECERR], 0, count)
        await failing.recovers()


@cocotb.test()
async def misaligned_pointers(dut: Any) -> None:
    """Every pointer away from its alignment by every power of two, and beyond 40 bits."""
    failing = Failing(dut)
    await failing.device.begin()
    failing.device.pause(0.2)
    alignments = {
        "list": LINE,
        "weights_address": LINE,
        "parameters_address": LINE,
        "input_address": ARRAY.rows,
        "input_row_stride": ARRAY.rows,
        "output_address": ARRAY.rows,
        "output_row_stride": ARRAY.rows,
    }
    for name, alignment in alignments.items():
        away = [1 << bit for bit in range(alignment.bit_length() - 1)]
        if name.endswith("address") or name == "list":
            away += [1 << 40, 1 << 63]
        for delta in away:
            (job,) = failing.jobs(1)
            if name == "list":
                content = list_of([job])
                address = failing.device.prepare([], content, failing.shelf) + delta
                ended = await failing.ends(content, 1, [], address)
                assert ended == Ended(LIST, 0, 0)
            else:
                content = changed(job, {name: job.fields[name] + delta})
                ended = await failing.ends(content, 1, [])
                rule = name.replace("row_stride", "address")
                assert ended == Ended(ILLEGAL, RULES.index(rule) + 1, 0), (name, delta)
            await failing.recovers()
