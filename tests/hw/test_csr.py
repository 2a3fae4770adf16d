# amaranth: UnusedElaboratable=no
"""The registers, as a host sees them and as the engine does."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dybit.hw.csr import Csr
from dybit.hw.registers import COUNTERS, REGISTERS, Access
from tests.hw.dma_bench import simulate
from tests.hw.lite_host import OFFSETS, LiteHost

CONSTANTS = {
    register.name: 0x1357_0000 + 0x1111 * register.offset
    for register in REGISTERS
    if register.access == Access.CONSTANT
}
KEPT = {"GIE": 0x1, "IER": 0x3, "LIST_LOW": 0xFFFF_FFFF, "LIST_HIGH": 0xFFFF_FFFF}
KEPT["LIST_LENGTH"] = 0xFFFF_FFFF
IDLE, START, DONE, READY, INTERRUPT = 0x4, 0x1, 0x2, 0x8, 0x200

Bench = Callable[[Any, Csr, LiteHost], Awaitable[None]]


def run(bench: Bench, *, slow: bool = False, seed: int = 0) -> None:
    dut = Csr(CONSTANTS)

    async def testbench(ctx: Any, reset: Any) -> None:
        await bench(ctx, dut, LiteHost(ctx, dut, slow=slow, seed=seed))

    simulate(dut, testbench)


async def finish(ctx: Any, dut: Csr) -> None:
    ctx.set(dut.done, 1)
    await ctx.tick()
    ctx.set(dut.done, 0)


@pytest.mark.parametrize("slow", [False, True])
def test_every_address(slow: bool) -> None:
    async def bench(ctx: Any, dut: Csr, host: LiteHost) -> None:
        expected = {OFFSETS[name]: value for name, value in CONSTANTS.items()}
        expected[OFFSETS["CTRL"]] = IDLE
        for address in [*range(0, 0x120, 4), 0x400, 0x800, 0xFFC]:
            assert await host.read(address) == expected.get(address, 0), hex(address)

    run(bench, slow=slow, seed=1)


@pytest.mark.parametrize("slow", [False, True])
def test_what_is_kept_and_what_ignores_writes(slow: bool) -> None:
    async def bench(ctx: Any, dut: Csr, host: LiteHost) -> None:
        choose = random.Random(2)
        kept = dict.fromkeys(KEPT, 0)
        ignored = set(range(0, 0x100, 4)) - {OFFSETS[name] for name in [*KEPT, "CTRL", "ISR"]}
        for _ in range(120):
            value, strobes = choose.getrandbits(32), choose.getrandbits(4)
            mask = sum(0xFF << 8 * byte for byte in range(4) if strobes >> byte & 1)
            if choose.random() < 0.7:
                name = choose.choice(list(KEPT))
                await host.write(name, value, strobes)
                kept[name] = (kept[name] & ~mask | value & mask) & KEPT[name]
                assert await host.read(name) == kept[name]
            else:
                await host.write(choose.choice([*ignored, 0x400 + OFFSETS["LIST_LOW"]]), value)
        for name, value in (kept | CONSTANTS | {"STATUS": 0, "ERROR": 0, "CTRL": IDLE}).items():
            assert await host.read(name) == value, name

    run(bench, slow=slow, seed=3)


def test_a_run() -> None:
    async def bench(ctx: Any, dut: Csr, host: LiteHost) -> None:
        await host.write("LIST_LOW", 0x89AB_CDC0)
        await host.write("LIST_HIGH", 0x12)
        await host.write("LIST_LENGTH", 7)
        await host.write("CTRL", START, 0b1110)  # its byte is not written
        await host.write("CTRL", 0xFE)
        assert (host.starts, await host.read("CTRL"), await host.read("STATUS")) == (0, IDLE, 0)
        await host.write("CTRL", START)
        assert host.starts == 1
        assert ctx.get(dut.list_address) == 0x12_89AB_CDC0
        assert ctx.get(dut.list_length) == 7
        ctx.set(dut.busy, 1)

        # What the host writes meanwhile is for the next run, and a start is none.
        await host.write("LIST_LOW", 0x40)
        await host.write("LIST_LENGTH", 9)
        assert await host.read("STATUS") == 0b001
        await host.write("CTRL", START)
        assert (host.starts, await host.read("CTRL")) == (1, START)
        assert ctx.get(dut.list_address) == 0x12_89AB_CDC0
        assert ctx.get(dut.list_length) == 7
        assert await host.read("STATUS") == 0b101

        await finish(ctx, dut)
        assert await host.read("CTRL") == DONE | READY  # the engine is still busy
        ctx.set(dut.busy, 0)
        assert await host.read("CTRL") == IDLE
        assert await host.read("STATUS") == 0b100
        await host.write("CTRL", START)
        assert host.starts == 2
        assert ctx.get(dut.list_address) == 0x12_0000_0040
        assert ctx.get(dut.list_length) == 9
        assert await host.read("STATUS") == 0b001

    run(bench)


def test_a_start_while_only_the_engine_is_busy_is_ignored() -> None:
    async def bench(ctx: Any, dut: Csr, host: LiteHost) -> None:
        ctx.set(dut.busy, 1)
        await host.write("CTRL", START)
        ctx.set(dut.busy, 0)
        assert (await host.read("CTRL"), await host.read("STATUS")) == (IDLE, 0b100)

    run(bench)


def test_the_end_of_a_run_is_never_lost() -> None:
    async def bench(ctx: Any, dut: Csr, host: LiteHost) -> None:
        for delay in range(8):  # the end comes before, in and after the cycle of the read
            await host.write("CTRL", START)
            ctx.set(dut.axi.araddr, OFFSETS["CTRL"])
            ctx.set(dut.axi.arvalid, 1)
            ctx.set(dut.axi.rready, 1)
            seen = 0
            for cycle in range(8):
                ctx.set(dut.done, cycle == delay)
                if ctx.get(dut.axi.rvalid):
                    seen += ctx.get(dut.axi.rdata) >> 1 & 1
                asked = ctx.get(dut.axi.arready)
                await ctx.tick()
                if asked:
                    ctx.set(dut.axi.arvalid, 0)
            ctx.set(dut.done, 0)
            ctx.set(dut.axi.rready, 0)
            seen += await host.read("CTRL") >> 1 & 1
            assert seen == 1, delay
            assert await host.read("CTRL") == IDLE

    run(bench)


def test_interrupts() -> None:
    async def bench(ctx: Any, dut: Csr, host: LiteHost) -> None:
        for enable in range(2):
            for enabled in range(4):
                await host.write("GIE", enable)
                await host.write("IER", enabled)
                await host.write("CTRL", START)
                await finish(ctx, dut)
                assert await host.read("ISR") == enabled
                raised = int(bool(enable and enabled))
                assert ctx.get(dut.interrupt) == raised
                assert await host.read("CTRL") == DONE | READY | IDLE | raised * INTERRUPT
                for bit in (1, 2):
                    if enabled & bit:
                        await host.write("ISR", bit, 0b1110)
                        assert await host.read("ISR") == enabled
                        await host.write("ISR", bit)
                        enabled &= ~bit
                        assert await host.read("ISR") == enabled
                        assert ctx.get(dut.interrupt) == int(bool(enable and enabled))
        # Writing 1 toggles: it can raise, too.
        await host.write("ISR", 0b10)
        assert (await host.read("ISR"), ctx.get(dut.interrupt)) == (0b10, 1)
        await host.write("GIE", 0)
        assert ctx.get(dut.interrupt) == 0

    run(bench)


def test_errors() -> None:
    async def fail(ctx: Any, dut: Csr, code: int, detail: int, descriptor: int) -> None:
        ctx.set(dut.error, 1)
        ctx.set(dut.error_code, code)
        ctx.set(dut.error_detail, detail)
        ctx.set(dut.error_descriptor, descriptor)
        await ctx.tick()
        ctx.set(dut.error, 0)
        ctx.set(dut.error_code, 0xFF)

    async def bench(ctx: Any, dut: Csr, host: LiteHost) -> None:
        for code in (1, 6):
            await host.write("CTRL", START)
            assert await host.read("ERROR") == 0
            assert await host.read("ERROR_DESCRIPTOR") == 0
            await fail(ctx, dut, code, 0x20 + code, 0x1234_5678)
            await fail(ctx, dut, 5, 0x31, 3)  # the first one counts
            assert await host.read("STATUS") == 0b011
            await finish(ctx, dut)
            assert await host.read("STATUS") == 0b010
            assert await host.read("ERROR") == (0x20 + code) << 8 | code
            assert await host.read("ERROR_DESCRIPTOR") == 0x1234_5678
        await host.write("CTRL", START)
        await finish(ctx, dut)
        assert await host.read("STATUS") == 0
        assert await host.read("ERROR") == 0

    run(bench)


def test_counters() -> None:
    async def bench(ctx: Any, dut: Csr, host: LiteHost) -> None:
        for _ in range(2):
            await host.write("CTRL", START)
            await ctx.tick()
            for index, (name, _) in enumerate(COUNTERS):
                count = getattr(dut, f"count_{name.lower()}")
                ctx.set(count, 1)
                await ctx.tick().repeat(100 + 13 * index)
                ctx.set(count, 0)
            await finish(ctx, dut)
            for index, (name, _) in enumerate(COUNTERS):
                assert await host.read(f"{name}_LOW") == 100 + 13 * index
                assert host.cycles <= 3 + 7
                assert await host.read(f"{name}_HIGH") == 0

    run(bench)


def test_the_upper_half_of_a_counter_is_that_of_the_lower_one() -> None:
    async def bench(ctx: Any, dut: Csr, host: LiteHost) -> None:
        # A counter that overflows into its upper half between the two reads.
        words = dut.counters.words
        await host.write("CTRL", START)
        await ctx.tick().repeat(20)
        ctx.set(words.data[1], (6 << 32) - 2)
        assert await host.read("VECTORS_LOW") == (1 << 32) - 2
        ctx.set(dut.count_vectors, 1)
        await ctx.tick().repeat(30)
        ctx.set(dut.count_vectors, 0)
        assert await host.read("VECTORS_HIGH") == 5
        assert await host.read("VECTORS_LOW") == 28
        assert await host.read("VECTORS_HIGH") == 6
        assert await host.read("CYCLES_HIGH") == 6  # the last LOW that was read counts
        assert await host.read("CYCLES_LOW") == 0
        assert await host.read("CYCLES_HIGH") == 0

    run(bench)


def test_latency() -> None:
    async def bench(ctx: Any, dut: Csr, host: LiteHost) -> None:
        await host.write("LIST_LOW", 1)
        assert host.cycles == 3
        await host.read("LIST_LOW")
        assert host.cycles == 3

    run(bench)


def test_reset_ends_a_run() -> None:
    dut = Csr(CONSTANTS)

    async def bench(ctx: Any, reset: Any) -> None:
        host = LiteHost(ctx, dut)
        await host.write("LIST_LOW", 5)
        await host.write("IER", 3)
        await host.write("CTRL", START)
        ctx.set(dut.axi.araddr, OFFSETS["LIST_LOW"])
        ctx.set(dut.axi.arvalid, 1)
        await ctx.tick().repeat(2)
        ctx.set(dut.axi.arvalid, 0)
        assert ctx.get(dut.axi.rvalid)
        ctx.set(reset, 1)
        await ctx.tick()
        ctx.set(reset, 0)
        assert not ctx.get(dut.axi.rvalid)
        for name, value in {"CTRL": IDLE, "LIST_LOW": 0, "IER": 0, "STATUS": 0}.items():
            assert await host.read(name) == value

    simulate(dut, bench)


def test_capabilities_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^capabilities must be MAGIC, .*, not MAGIC$"):
        Csr({"MAGIC": 1})
    with pytest.raises(
        ValueError, match=r"^capabilities\['MODES'\] must be 32 bits, not 4294967296"
    ):
        Csr(CONSTANTS | {"MODES": 1 << 32})
