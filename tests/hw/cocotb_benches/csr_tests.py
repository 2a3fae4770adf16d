"""The registers behind cocotbext-axi's AXI4-Lite manager, with pauses on every channel."""

from __future__ import annotations

import random
from typing import Any

import cocotb
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from tests.hw.cocotb_benches import bench
from tests.hw.cocotb_benches.copy_tests import pauses

OFFSETS: dict[str, int] = bench.PARAMETERS["offsets"]
CONSTANTS: dict[str, int] = bench.PARAMETERS["constants"]
SCALE = bench.PARAMETERS["scale"]
KEPT = {"GIE": 0x1, "IER": 0x3} | dict.fromkeys(
    ["LIST_LOW", "LIST_HIGH", "LIST_LENGTH"], 0xFFFFFFFF
)


async def start(dut: Any, chance: float = 0.0) -> AxiLiteMaster:
    dut.rst.value = 1
    dut.i__valid.value = 0
    dut.abort.value = 0
    for name in ("arready", "rvalid", "awready", "wready", "bvalid"):
        getattr(dut, f"m_axi_gmem_{name}").value = 0
    host = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi_control"), dut.clk, dut.rst)
    await bench.start(dut)
    if chance:
        write, read = host.write_if, host.read_if
        written = [write.aw_channel, write.w_channel, write.b_channel]
        for channel in [*written, read.ar_channel, read.r_channel]:
            channel.set_pause_generator(pauses(chance * random.random()))
    return host


async def read(host: AxiLiteMaster, name: str) -> int:
    return int(await host.read_dword(OFFSETS[name]))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def whole_map(dut: Any) -> None:
    host = await start(dut, 0.5)
    for _ in range(SCALE):
        # One access of many words is many accesses of the bus, one after the other.
        found = await host.read(0, 256)
        assert found.resp == AxiResp.OKAY
        for offset in range(0, 256, 4):
            names = [name for name, at in OFFSETS.items() if at == offset]
            expected = CONSTANTS.get(names[0], 0) if names else 0
            expected = 4 if names == ["CTRL"] else expected
            assert int.from_bytes(found.data[offset : offset + 4], "little") == expected, names
    bench.count(64 * SCALE)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def bytes_are_kept(dut: Any) -> None:
    """Writes of any bytes, many under way at once, with reads between them."""
    host = await start(dut, 0.6)
    first = OFFSETS["LIST_LOW"]
    expected = bytearray(12)
    for _ in range(40 * SCALE):
        at = random.randrange(12)
        data = random.randbytes(random.randrange(1, 13 - at))
        expected[at : at + len(data)] = data
        writes = [
            cocotb.start_soon(host.write(address, data))
            for address in (first + at, OFFSETS["MAGIC"], OFFSETS["STATUS"])
        ]
        assert await read(host, "MAGIC") == CONSTANTS["MAGIC"]
        for write in writes:
            await write
        assert (await host.read(first, 12)).data == expected
        bench.count(1)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def runs(dut: Any) -> None:
    host = await start(dut, 0.3)
    await host.write_dword(OFFSETS["GIE"], 1)
    await host.write_dword(OFFSETS["IER"], 1)
    for cycles in (1, 2, 300, 1000):
        await host.write_dword(OFFSETS["LIST_LENGTH"], cycles)
        await host.write_dword(OFFSETS["CTRL"], 1)
        if cycles > 250:
            await host.write_dword(OFFSETS["CTRL"], 1)  # ignored, and reported
        for _ in range(cycles + 200):
            if dut.interrupt.value == 1:
                break
            await bench.tick(dut)
        assert dut.interrupt.value == 1
        assert await read(host, "STATUS") == (0b100 if cycles > 250 else 0)
        assert await read(host, "CTRL") == 0b10_0000_1110
        assert await read(host, "CTRL") == 0b10_0000_0100
        assert await read(host, "CYCLES_LOW") == cycles
        assert await read(host, "CYCLES_HIGH") == 0
        assert await read(host, "READ_BEATS_LOW") == 0
        await host.write_dword(OFFSETS["ISR"], 1)
        assert dut.interrupt.value == 0
        bench.count(1)
