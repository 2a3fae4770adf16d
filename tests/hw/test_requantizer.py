# amaranth: UnusedElaboratable=no
"""The requantizer in Amaranth's simulator, against exact integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from dybit.hw.encoder import Encoder
from dybit.hw.requantizer import Requantizer
from tests.hw import streams
from tests.hw.encoder_vectors import ESB_FORMATS, FORMATS, Output
from tests.hw.encoders import encoder_of
from tests.hw.requantizer_vectors import (
    Requantization,
    extremes,
    near_ties,
    random_requantizations,
)

Vectors = Callable[[str, int], None]

SIZES = [(48, 48), (22, 48), (28, 28), (27, 27), (20, 24), (2, 2)]
"""Accumulator and sum; a sum of up to 27 bits has one partial product, above two."""


def check(cases: Sequence[Requantization], dut: Requantizer, **stalls: Any) -> None:
    words = [case.word(dut.accumulator_bits) for case in cases]
    codes = streams.through(dut, words, **stalls)
    wrong = [
        f"{case} gave {code}, not {case.code}"
        for case, code in zip(cases, codes, strict=True)
        if code != case.code
    ]
    assert not wrong, wrong[:5]


@pytest.mark.rtl
@pytest.mark.parametrize(("accumulator_bits", "sum_bits"), SIZES)
def test_exact(accumulator_bits: int, sum_bits: int, vectors: Vectors) -> None:
    size = (accumulator_bits, sum_bits)
    cases = [
        *extremes(*size, FORMATS),
        *near_ties(*size, FORMATS[::5]),
        *random_requantizations(800, 13, *size, FORMATS),
    ]
    check(cases, Requantizer(*size))
    vectors("requantizer, Amaranth's simulator", len(cases))


@pytest.mark.rtl
@pytest.mark.parametrize(("bits", "factor_bits"), [(48, 18), (48, 16), (37, 18), (38, 18), (20, 9)])
def test_exact_with_narrower_multipliers(bits: int, factor_bits: int, vectors: Vectors) -> None:
    cases = [
        *extremes(bits, bits, FORMATS[::3]),
        *random_requantizations(500, 23, bits, bits, FORMATS),
    ]
    check(cases, Requantizer(bits, bits, factor_bits=factor_bits))
    vectors("requantizer, Amaranth's simulator", len(cases))


def test_random_cases_are_aimed_at_every_code() -> None:
    cases = random_requantizations(20_000, 14, 48, 48, FORMATS)
    reached = {(case.output, case.code) for case in cases}
    assert len(reached) > 0.9 * sum(len(output.integers) for output in FORMATS)


@pytest.mark.parametrize("widths", [(2,), (2, 4), (8,)], ids=str)
def test_widths_built(widths: tuple[int, ...]) -> None:
    formats = [output for output in FORMATS if output.bits in widths]
    cases = list(random_requantizations(300, 15, 30, 32, formats))
    check(cases, Requantizer(30, 32, encoder_of(formats)))


@pytest.mark.rtl
@pytest.mark.parametrize("output", ESB_FORMATS, ids=str)
def test_exact_in_esb(output: Output, vectors: Vectors) -> None:
    size, formats = (36, 36), [output, replace(output, relu=True)]
    cases = [
        *extremes(*size, formats),
        *near_ties(*size, formats),
        *random_requantizations(400, 19, *size, formats),
    ]
    check(cases, Requantizer(*size, encoder_of(formats)))
    vectors("requantizer of ESB, Amaranth's simulator", len(cases))


def test_clamp_and_relu() -> None:
    outputs = [
        Output(8, True, 3, relu=True),
        Output(4, True, 3, max_code=5),
        Output(8, False, 8, max_code=200),
    ]
    check(list(random_requantizations(600, 16, 32, 33, outputs)), Requantizer(32))


@pytest.mark.parametrize(("offer", "accept"), [(0.3, 1.0), (1.0, 0.3), (0.5, 0.5)])
def test_stalls(offer: float, accept: float) -> None:
    cases = list(random_requantizations(300, 17, 32, 33, FORMATS))
    check(cases, Requantizer(32), offer=offer, accept=accept, seed=18)


ONE = Requantization(-4, 0, 1, 0, Output(8, True, 7))


def test_back_pressure_fills_the_pipeline_and_loses_nothing() -> None:
    assert streams.capacity(Requantizer(32), ONE.word(32)) == Requantizer.LATENCY


def test_latency() -> None:
    assert Requantizer.LATENCY == 7 + Encoder.LATENCY
    assert streams.latency(Requantizer(32), ONE.word(32)) == Requantizer.LATENCY


@pytest.mark.parametrize("fill", range(1, 2 * Requantizer.LATENCY, 3))
def test_reset_in_flight(fill: int) -> None:
    cases = list(random_requantizations(10, fill, 32, 33, FORMATS))
    words = [case.word(32) for case in cases]
    codes = streams.results_after_reset(Requantizer(32), ONE.word(32), words, fill)
    assert codes == [case.code for case in cases]


@pytest.mark.parametrize("bits", [1, 49, 8.5, None])
def test_accumulator_bits_are_refused(bits: object) -> None:
    with pytest.raises(ValueError, match=f"accumulator_bits must be 2 to 48, not {bits!r}$"):
        Requantizer(bits)


@pytest.mark.parametrize("bits", [31, 49, None])
def test_sum_bits_are_refused(bits: object) -> None:
    message = f"sum_bits must be accumulator_bits, 32, to 48, not {bits!r}$"
    with pytest.raises(ValueError, match=message):
        Requantizer(32, bits)


def test_factor_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="factor_bits must be at least 16, not 15"):
        Requantizer(48, 48, factor_bits=15)
