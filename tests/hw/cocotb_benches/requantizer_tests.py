"""The emitted requantizer against exact integers, and its streams."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import cocotb

from tests.hw.cocotb_benches import bench
from tests.hw.encoder_vectors import Output
from tests.hw.requantizer_vectors import (
    Requantization,
    extremes,
    near_ties,
    random_requantizations,
)

LATENCY = bench.PARAMETERS["latency"]
SIZE = (bench.PARAMETERS["accumulator_bits"], bench.PARAMETERS["sum_bits"])
BUILT = [Output(**fields) for fields in bench.PARAMETERS["formats"]]


def words(cases: Sequence[Requantization]) -> list[int]:
    return [case.word(SIZE[0]) for case in cases]


def check(codes: Sequence[int], cases: Sequence[Requantization]) -> None:
    for code, case in zip(codes, cases, strict=True):
        assert code == case.code, f"{case} gave {code}, not {case.code}"
    bench.count(len(cases))


@cocotb.test()
async def extreme_inputs(dut: Any) -> None:
    await bench.start(dut)
    cases = extremes(*SIZE, BUILT)
    check(await bench.stream(dut, words(cases)), cases)


@cocotb.test()
async def near_ties_at_every_shift(dut: Any) -> None:
    await bench.start(dut)
    cases = list(near_ties(*SIZE, BUILT))
    check(await bench.stream(dut, words(cases)), cases)


@cocotb.test()
async def random_inputs(dut: Any) -> None:
    await bench.start(dut)
    cases = list(random_requantizations(3000, 21, *SIZE, BUILT))
    check(await bench.stream(dut, words(cases)), cases)


@cocotb.test()
@cocotb.parametrize(offer=[1.0, 0.4], accept=[0.7, 0.2])
async def stalls(dut: Any, offer: float, accept: float) -> None:
    await bench.start(dut)
    cases = list(random_requantizations(500, 22, *SIZE, BUILT))
    check(await bench.stream(dut, words(cases), offer=offer, accept=accept), cases)


@cocotb.test()
async def latency(dut: Any) -> None:
    await bench.start(dut)
    dut.i__payload.value = words([Requantization(1, 0, 1, 0, BUILT[-1])])[0]
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
    cases = list(random_requantizations(300, 23, *SIZE, BUILT))
    before = words([Requantization(1, 0, 1, 0, BUILT[-1])])[0]
    while cases:
        batch, cases = cases[:10], cases[10:]
        # What is still inside when the reset comes must never come out.
        dut.o__ready.value = 0
        dut.i__valid.value = 1
        dut.i__payload.value = before
        for _ in range(random.randrange(2 * LATENCY)):
            await bench.tick(dut)
        dut.i__valid.value = 0
        await bench.reset(dut)
        check(await bench.stream(dut, words(batch), accept=0.8), batch)
