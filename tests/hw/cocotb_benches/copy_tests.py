"""Memory copied by both DMAs between cocotbext-axi's models of a memory.

Pauses on every channel are random. After each round all of the memory is compared, also what lies
between the copies.
"""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Iterator
from typing import Any

import cocotb
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam

from tests.hw.cocotb_benches import bench

SIZE = 1 << 16
HALF = SIZE // 2
PAGE = 4096
BASE = 0xA0_0000_0000  # the model's memory repeats
SCALE = bench.PARAMETERS["scale"]
SLVERR, DECERR = 2, 3
CTRL, GIE, IER, ISR, LIST_LENGTH, STATUS, ERROR = 0x00, 0x04, 0x08, 0x0C, 0x3C, 0x40, 0x44
START, DONE, FAILED = 1, 2, 2

Copy = tuple[int, int, int]


class Bench:
    """A copier, its memory, and what that must hold."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        dut.rst.value = 1
        dut.i__valid.value = 0
        dut.abort.value = 0
        self.host = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi_control"), dut.clk, dut.rst)
        self.ram = AxiRam(AxiBus.from_prefix(dut, "m_axi_gmem"), dut.clk, dut.rst, size=SIZE)
        write, read = self.host.write_if, self.host.read_if
        for model in (self.ram.write_if, self.ram.read_if, write, read):
            model.log.setLevel(logging.WARNING)  # a line for each burst takes longer than the burst
        self.expected = bytearray(random.randbytes(SIZE))
        self.ram.write(0, self.expected)

    @property
    def channels(self) -> list[Any]:
        write, read = self.ram.write_if, self.ram.read_if
        written = [write.aw_channel, write.w_channel, write.b_channel]
        return [*written, read.ar_channel, read.r_channel]

    def pause(self, chance: float) -> None:
        """Let every channel pause at random, each with a chance of its own."""
        for channel in self.channels:
            channel.set_pause_generator(pauses(chance * random.random()) if chance else None)
            channel.pause = False

    async def copy(self, copies: list[Copy]) -> None:
        """Copy, and compare memory."""
        dut = self.dut
        waiting, done, idle = list(copies), 0, 0
        while done < len(copies):
            source, target, count = waiting[0] if waiting else (0, 0, 0)
            dut.i__payload.value = (BASE + source) | (BASE + target) << 40 | count << 80
            dut.i__valid.value = bool(waiting)
            await bench.settle()
            done += int(dut.done.value)
            taken = waiting and dut.i__ready.value == 1
            idle = 0 if taken or dut.done.value == 1 else idle + 1
            assert idle < 20_000, f"stuck after {done} copies"
            await bench.tick(dut)
            if taken:
                waiting.pop(0)
        for source, target, count in copies:
            self.expected[target : target + count] = self.expected[source : source + count]
        dut.i__valid.value = 0
        self.compare()
        assert dut.idle.value == 1
        bench.count(sum(count for _, _, count in copies))

    def compare(self) -> None:
        found = self.ram.read(0, SIZE)
        if found != self.expected:
            wrong = [at for at in range(SIZE) if found[at] != self.expected[at]]
            raise AssertionError(f"{len(wrong)} bytes from 0x{wrong[0]:x} on are not as expected")

    def answer(self, channel: Any, response: int, period: int) -> None:
        """Let a channel answer every so many transfers with an error."""
        member = "rresp" if channel is self.ram.read_if.r_channel else "bresp"
        send = type(channel).send
        number = itertools.count(1)

        async def failing(transfer: Any) -> None:
            if next(number) % period == 0:
                setattr(transfer, member, response)
            await send(channel, transfer)

        channel.send = failing

    def recover(self) -> None:
        """End what `answer` began."""
        for channel in self.channels:
            vars(channel).pop("send", None)

    async def quiet(self) -> None:
        """Wait until nothing is outstanding, and some more for the model of the memory."""
        for _ in range(4000):
            await bench.settle()
            if self.dut.idle.value == 1:
                break
            await bench.tick(self.dut)
        assert self.dut.idle.value == 1
        await ClockCycles(self.dut.clk, 20)
        await bench.tick(self.dut)


def pauses(chance: float) -> Iterator[bool]:
    while True:
        yield random.random() < chance


def lengths_and_starts() -> Iterator[Copy]:
    """Every length modulo the bus, from and to every alignment, some of it across pages."""
    target = HALF
    for count in range(1, 34):
        for shift in range(0, 16, 1 if SCALE > 1 else 5):
            source = PAGE * random.randrange(1, 7) - random.randrange(64)
            target += 16 - target % 16 + (source + shift) % 16
            if target + count < SIZE - 64:
                yield source, target, count
            target += count + random.randrange(8)


def long_copies(number: int) -> Iterator[Copy]:
    for _ in range(number):
        count = random.randrange(2000, 3 * PAGE)
        yield random.randrange(HALF - count), HALF + random.randrange(HALF - count), count


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def every_length(dut: Any) -> None:
    copier = Bench(dut)
    await bench.start(dut)
    for chance in (0.0, 0.7):
        copier.pause(chance)
        await copier.copy(list(lengths_and_starts()))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def across_pages(dut: Any) -> None:
    copier = Bench(dut)
    await bench.start(dut)
    for round_ in range(2 * SCALE):
        copier.pause(round_ / 4)
        await copier.copy(list(long_copies(1 + SCALE)))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def aborted_at_any_time(dut: Any) -> None:
    copier = Bench(dut)
    await bench.start(dut)
    for trial in range(6 * SCALE):
        copier.pause(random.choice([0.0, 0.5]))
        await interrupted(copier, next(long_copies(1)), random.randrange(5, 400), trial % 2 == 0)
        await copier.copy(list(long_copies(1)))


async def interrupted(copier: Bench, copy: Copy, cycles: int, pulse: bool) -> None:
    """Begin a copy, abort it after some cycles, and see that nothing around it was written."""
    dut = copier.dut
    source, target, count = copy
    await bench.tick(dut)  # the host's accesses end at rising edges
    dut.i__payload.value = (BASE + source) | (BASE + target) << 40 | count << 80
    dut.i__valid.value = 1
    await bench.settle()
    assert dut.i__ready.value == 1
    await bench.tick(dut)
    dut.i__valid.value = 0
    for _ in range(cycles):
        await bench.tick(dut)
    dut.abort.value = 1
    await bench.tick(dut)
    if pulse:
        dut.abort.value = 0
    await copier.quiet()
    dut.abort.value = 0
    found = copier.ram.read(0, SIZE)
    for at in range(count):
        was, copied = copier.expected[target + at], copier.expected[source + at]
        assert found[target + at] in (was, copied)
    copier.expected[target : target + count] = found[target : target + count]
    copier.compare()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def reset_at_any_time(dut: Any) -> None:
    copier = Bench(dut)
    await bench.start(dut)
    for _ in range(3 * SCALE):
        copier.pause(0.5)
        source, target, count = next(long_copies(1))
        dut.i__payload.value = (BASE + source) | (BASE + target) << 40 | count << 80
        dut.i__valid.value = 1
        await bench.tick(dut)
        dut.i__valid.value = 0
        for _ in range(random.randrange(5, 300)):
            await bench.tick(dut)
        await bench.reset(dut)
        copier.expected[:] = copier.ram.read(0, SIZE)
        await copier.copy(list(long_copies(1)))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def bus_errors(dut: Any) -> None:
    """A response that is an error ends the run with its code; the next run is good."""
    copier = Bench(dut)
    host = copier.host
    await bench.start(dut)
    await host.write_dword(GIE, 1)
    await host.write_dword(IER, 1)
    await host.write_dword(LIST_LENGTH, 0xFFFF_FFFF)
    for response in (SLVERR, DECERR):
        for channel, shift in (
            (copier.ram.read_if.r_channel, 0),
            (copier.ram.write_if.b_channel, 4),
        ):
            copier.pause(0.3)
            await host.write_dword(CTRL, START)
            copier.answer(channel, response, period=3 + random.randrange(4))
            await interrupted(copier, (100, HALF + 1000, 9000), 1500, pulse=False)
            copier.recover()
            assert dut.interrupt.value == 1
            assert await host.read_dword(CTRL) & DONE
            assert await host.read_dword(STATUS) == FAILED
            assert await host.read_dword(ERROR) == response << shift
            await host.write_dword(ISR, 1)
            assert dut.interrupt.value == 0
            await bench.tick(dut)
            await copier.copy(list(long_copies(1)))
