"""An accelerator between cocotbext-axi's models of a memory, which can fail, and of a host.

Every run is seen to its end: the bytes of the whole memory, the registers and the interrupt.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster

from dybit.quant.accelerator_config import AcceleratorConfig
from dybit.quant.array_config import ArrayConfig
from tests.hw.cocotb_benches import bench
from tests.hw.cocotb_benches.copy_tests import pauses
from tests.hw.cocotb_benches.faulty_memory import BASE, SIZE, Faults, FaultyRead, FaultyWrite
from tests.hw.cocotb_benches.held import watch
from tests.hw.job_memory import Shelf
from tests.hw.tile_jobs import TileJob, draw_job, list_of

__all__ = [
    "ACCELERATOR",
    "ARRAY",
    "SCALE",
    "START",
    "Bench",
    "Ended",
    "draw",
    "drawing",
    "empty_shelf",
]

ARRAY = ArrayConfig.model_validate(bench.PARAMETERS["array"])
ACCELERATOR = AcceleratorConfig.model_validate(bench.PARAMETERS["accelerator"])
OFFSETS: dict[str, int] = bench.PARAMETERS["offsets"]
SCALE: int = bench.PARAMETERS["scale"]

START = 1
DONE, IDLE, READY, INTERRUPT = 1 << 1, 1 << 2, 1 << 3, 1 << 9
PATIENCE = 100_000


@dataclass(frozen=True)
class Ended:
    """How a run ended, by the registers."""

    code: int = 0
    detail: int = 0
    descriptor: int = 0


def empty_shelf() -> Shelf:
    """Return the whole memory to place buffers in."""
    return Shelf(drawing(), ARRAY, BASE, SIZE)


def draw(depthwise: bool = False) -> TileJob:
    """Return a random layer, not placed yet."""
    return draw_job(drawing(), ARRAY, ACCELERATOR, BASE, depthwise)


def drawing() -> random.Random:
    return random.Random(random.getrandbits(64))


class Bench:
    """An accelerator, its memory and host, and what the memory must hold.

    Members
    -------
    expected : bytearray
        The memory, from `BASE` on, as it must be.
    read_faults, write_faults : Faults
    outstanding : int
        Bursts that the bus knows of and has not answered.
    """

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        dut.rst.value = 1
        bus = AxiBus.from_prefix(dut, "m_axi_gmem")
        clock, faults = (dut.clk, dut.rst), (Faults(), Faults())
        self.read_faults, self.write_faults = faults
        self.reads = FaultyRead(bus.read, *clock, size=SIZE, faults=faults[0])
        memory = {"size": SIZE, "mem": self.reads.mem}
        self.writes = FaultyWrite(bus.write, *clock, **memory, faults=faults[1])
        self.host = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi_control"), dut.clk, dut.rst)
        for model in (self.reads, self.writes, self.host.write_if, self.host.read_if):
            model.log.setLevel(logging.WARNING)  # a line for each burst takes longer than the burst
        self.outstanding = 0
        self.expected = bytearray(random.randbytes(SIZE))
        self.reads.write(0, self.expected)

    async def begin(self) -> None:
        """Reset, and watch the bus from now on."""
        cocotb.start_soon(watch(self.dut))
        cocotb.start_soon(self._count())
        await bench.start(self.dut)

    async def _count(self) -> None:
        dut = self.dut
        ends = [(dut.m_axi_gmem_rvalid, dut.m_axi_gmem_rready, dut.m_axi_gmem_rlast)]
        ends += [(dut.m_axi_gmem_bvalid, dut.m_axi_gmem_bready)]
        begins = [
            (getattr(dut, f"m_axi_gmem_{c}valid"), getattr(dut, f"m_axi_gmem_{c}ready"))
            for c in ("ar", "aw")
        ]
        while True:
            await FallingEdge(dut.clk)
            if dut.rst.value == 1:
                self.outstanding = 0
                continue
            self.outstanding += sum(all(s.value == 1 for s in begin) for begin in begins)
            self.outstanding -= sum(all(s.value == 1 for s in end) for end in ends)

    def pause(self, chance: float) -> None:
        """Let every channel pause at random, each with a chance of its own."""
        memory = [self.writes.aw_channel, self.writes.w_channel, self.writes.b_channel]
        memory += [self.reads.ar_channel, self.reads.r_channel]
        write, read = self.host.write_if, self.host.read_if
        host = [write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel]
        for channel in [*memory, *host]:
            channel.set_pause_generator(pauses(chance * random.random()) if chance else None)
            channel.pause = False
        # Of how many bursts memory knows at a time.
        for channel in memory:
            channel.queue_occupancy_limit = random.choice((1, 2, 16))

    async def set(self, name: str, value: int) -> None:
        await self.host.write_dword(OFFSETS[name], value)

    async def get(self, name: str) -> int:
        return int(await self.host.read_dword(OFFSETS[name]))

    def load(self, address: int, content: bytes) -> None:
        """Write to the memory."""
        at = address - BASE
        assert 0 <= at <= SIZE - len(content)
        self.expected[at : at + len(content)] = content
        self.reads.write(at, content)

    def prepare(self, jobs: Iterable[TileJob], content: bytes, shelf: Shelf) -> int:
        """Load what the jobs read and their list; return its address."""
        for job in jobs:
            for address, data in job.inputs.items():
                self.load(address, data)
        address = shelf.place(len(content))
        self.load(address, content)
        return address

    async def start(self, address: int, length: int) -> None:
        """Begin with a list, as a driver does."""
        for name, value in (("LIST_LOW", address & 0xFFFFFFFF), ("LIST_HIGH", address >> 32)):
            await self.set(name, value)
        await self.set("LIST_LENGTH", length)
        await self.set("GIE", 1)
        await self.set("IER", 1)
        await self.set("CTRL", START)

    async def interrupted(self) -> int:
        """Wait for the interrupt; return the cycles that took."""
        for cycle in range(PATIENCE):
            if self.dut.interrupt.value == 1:
                return cycle
            await FallingEdge(self.dut.clk)
        raise AssertionError("no interrupt")

    async def end(self, start_while_busy: bool = False) -> Ended:
        """Wait for the end of a run; check all that tells of it, and acknowledge it."""
        await self.interrupted()
        assert self.outstanding == 0
        error = await self.get("ERROR")
        ended = Ended(error & 255, error >> 8 & 255, await self.get("ERROR_DESCRIPTOR"))
        assert error >> 16 == 0
        status = (2 if ended.code else 0) | (4 if start_while_busy else 0)
        assert await self.get("STATUS") == status
        assert await self.get("ISR") == 1
        assert await self.get("CTRL") == DONE | IDLE | READY | INTERRUPT
        assert await self.get("CTRL") == IDLE | INTERRUPT  # done is cleared by reading
        await self.set("ISR", 1)
        assert self.dut.interrupt.value == 0
        assert await self.get("ISR") == 0
        return ended

    async def run(self, jobs: list[TileJob], shelf: Shelf) -> None:
        """Run a list that is as it must be, and compare the memory."""
        address = self.prepare(jobs, list_of(jobs), shelf)
        await self.start(address, len(jobs))
        assert await self.end() == Ended(), [job.fields for job in jobs]
        self.compare(self.results(jobs))

    def results(self, jobs: Iterable[TileJob]) -> int:
        """Expect the jobs' results; return how many bytes they are."""
        count = 0
        for job in jobs:
            for address, data in job.outputs.items():
                at = address - BASE
                self.expected[at : at + len(data)] = data
                count += len(data)
        return count

    def compare(self, count: int) -> None:
        """Compare all of the memory; `count` of its bytes are new."""
        found = self.reads.read(0, SIZE)
        if found != self.expected:
            wrong = [at for at in range(SIZE) if found[at] != self.expected[at]]
            raise AssertionError(f"{len(wrong)} bytes from {BASE + wrong[0]:#x} on are wrong")
        bench.count(count)

    def compare_cut_short(self, jobs: Iterable[TileJob]) -> list[TileJob]:
        """Compare the memory after a run that did not end well: any byte of `jobs` may be there.

        Return those that are there in part.
        """
        found = self.reads.read(0, SIZE)
        parts = []
        for job in jobs:
            news = []
            for address, data in job.outputs.items():
                for at, byte in enumerate(data, address - BASE):
                    assert found[at] in (byte, self.expected[at]), f"{BASE + at:#x}"
                    if byte != self.expected[at]:
                        news.append(found[at] == byte)
                    self.expected[at] = found[at]
            if any(news) and not all(news):
                parts.append(job)
        self.compare(1)
        return parts
