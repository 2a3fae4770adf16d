"""The emitted encoder against the definition: every threshold of every format, and streams."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import cocotb

from tests.hw.cocotb_benches import bench
from tests.hw.encoder_vectors import Output, corners, pack_number, random_cases

LATENCY = bench.PARAMETERS["latency"]
MAGNITUDE_BITS = bench.PARAMETERS["magnitude_bits"]
BUILT = [Output(**fields) for fields in bench.PARAMETERS["formats"]]

Cases = Sequence[tuple[int, Output]]


def words(cases: Cases) -> list[int]:
    return [pack_number(quarters, output, MAGNITUDE_BITS) for quarters, output in cases]


def check(codes: Sequence[int], cases: Cases) -> None:
    for code, (quarters, output) in zip(codes, cases, strict=True):
        expected = output.code(quarters, 4)
        assert code == expected, f"{output} of {quarters}/4 gave {code}, not {expected}"
    bench.count(len(cases))


@cocotb.test()
async def every_threshold(dut: Any) -> None:
    await bench.start(dut)
    cases = [(quarters, output) for output in BUILT for quarters in corners(output)]
    check(await bench.stream(dut, words(cases)), cases)


@cocotb.test()
async def random_numbers_in_random_formats(dut: Any) -> None:
    await bench.start(dut)
    cases = list(random_cases(1500, seed=2, formats=BUILT))
    check(await bench.stream(dut, words(cases)), cases)


@cocotb.test()
@cocotb.parametrize(offer=[1.0, 0.4], accept=[0.7, 0.2])
async def stalls(dut: Any, offer: float, accept: float) -> None:
    await bench.start(dut)
    cases = list(random_cases(300, seed=3, formats=BUILT))
    check(await bench.stream(dut, words(cases), offer=offer, accept=accept), cases)


@cocotb.test()
async def latency(dut: Any) -> None:
    await bench.start(dut)
    dut.i__payload.value = pack_number(4, BUILT[-1], MAGNITUDE_BITS)
    dut.i__valid.value = 1
    dut.o__ready.value = 1
    for cycle in range(LATENCY + 1):
        await bench.settle()
        assert int(dut.o__valid.value) == (cycle == LATENCY)
        await bench.tick(dut)
    bench.count(1)


@cocotb.test()
async def reset_in_flight(dut: Any) -> None:
    await bench.start(dut)
    cases = list(random_cases(200, seed=4, formats=BUILT))
    while cases:
        batch, cases = cases[:10], cases[10:]
        # What is still inside when the reset comes must never come out.
        dut.o__ready.value = 0
        dut.i__valid.value = 1
        dut.i__payload.value = pack_number(-4, BUILT[-1], MAGNITUDE_BITS)
        for _ in range(random.randrange(2 * LATENCY)):
            await bench.tick(dut)
        dut.i__valid.value = 0
        await bench.reset(dut)
        check(await bench.stream(dut, words(batch), accept=0.8), batch)
