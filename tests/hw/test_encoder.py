# amaranth: UnusedElaboratable=no
"""The encoder in Amaranth's simulator, against the definition."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from dybit.hw.encoder import Encoder
from tests.hw import streams
from tests.hw.encoder_vectors import FORMATS, Output, corners, pack_number, random_cases

Vectors = Callable[[str, int], None]
Cases = Sequence[tuple[int, Output]]


def words(cases: Cases) -> list[int]:
    return [pack_number(quarters, output) for quarters, output in cases]


def expected(cases: Cases) -> list[int]:
    return [output.code(quarters, 4) for quarters, output in cases]


def check(cases: Cases, widths: tuple[int, ...] = (2, 4, 8), **stalls: Any) -> None:
    codes = streams.through(Encoder(widths), words(cases), **stalls)
    wrong = [
        f"{output} of {quarters}/4 gave {code}, not {right}"
        for (quarters, output), code, right in zip(cases, codes, expected(cases), strict=True)
        if code != right
    ]
    assert not wrong, wrong[:5]


@pytest.mark.rtl
@pytest.mark.parametrize("output", FORMATS, ids=str)
def test_thresholds(output: Output, vectors: Vectors) -> None:
    """Every threshold of the narrow formats, a sample of the 8-bit ones (cocotb has all)."""
    numbers = corners(output)
    if output.bits == 8:
        numbers = random.Random(5).sample(numbers, 300)
    check([(quarters, output) for quarters in numbers])
    vectors("encoder, Amaranth's simulator", len(numbers))


@pytest.mark.parametrize("widths", [(2,), (4,), (8,), (2, 4), (2, 8), (4, 8)], ids=str)
def test_widths_built(widths: tuple[int, ...]) -> None:
    formats = [output for output in FORMATS if output.bits in widths]
    check(list(random_cases(400, seed=6, formats=formats)), widths)


@pytest.mark.parametrize(
    "output", [Output(2, True, 1), Output(4, True, 3), Output(8, False, 8)], ids=str
)
def test_clamp_and_relu(output: Output) -> None:
    """Every clamp, with and without relu; a clamp above the format's largest code is none."""
    size = output.bits - output.signed
    clamps = {*range(2**size), min(2**size, 255), 255}
    numbers = {0, 1, 2, 3, 4, 6, 4 * 32767 + 3} | set(corners(output)[::7])
    cases = [
        (sign * quarters, replace(output, relu=relu, max_code=max_code))
        for max_code in sorted(clamps)
        for relu in (False, True)
        for quarters in random.Random(max_code).sample(sorted(numbers), 6)
        for sign in (1, -1)
    ]
    check(cases)


@pytest.mark.parametrize(
    "output", [Output(2, True, 1), Output(4, True, 3), Output(4, False, 4)], ids=str
)
def test_a_limit_above_the_magnitude_bits_is_none(output: Output) -> None:
    numbers = [quarters for quarters in corners(output) if abs(quarters) < 4 * 2000]
    cases = [(quarters, output) for quarters in numbers]
    for limit in (output.limit + 1, 8, 15):
        beyond = [(quarters, replace(output, limit=limit)) for quarters in numbers]
        assert streams.through(Encoder(), words(beyond)) == expected(cases)


def test_never_negative_zero() -> None:
    cases = [
        (quarters, replace(output, max_code=max_code))
        for output in FORMATS
        if output.signed
        for max_code in (255, 0)
        for quarters in (-1, -2, -400)
    ]
    tiny = [(pack_number(0, output) | 1, 0) for output in FORMATS]  # minus 0 itself
    codes = streams.through(Encoder(), [*words(cases), *(word for word, _ in tiny)])
    assert codes == [*expected(cases), *(code for _, code in tiny)]


@pytest.mark.parametrize(("offer", "accept"), [(1.0, 1.0), (0.3, 1.0), (1.0, 0.3), (0.5, 0.5)])
def test_stalls(offer: float, accept: float) -> None:
    cases = list(random_cases(300, seed=7))
    check(cases, offer=offer, accept=accept, seed=8)


def test_back_pressure_fills_the_pipeline_and_loses_nothing() -> None:
    assert streams.capacity(Encoder(), pack_number(4, FORMATS[0])) == Encoder.LATENCY


def test_latency() -> None:
    assert Encoder.LATENCY == 4
    assert streams.latency(Encoder(), pack_number(4, FORMATS[0])) == Encoder.LATENCY


@pytest.mark.parametrize("fill", range(1, 2 * Encoder.LATENCY))
def test_reset_in_flight(fill: int) -> None:
    cases = list(random_cases(10, seed=fill))
    before = pack_number(-4, Output(8, True, 7))
    codes = streams.results_after_reset(Encoder(), before, words(cases), fill)
    assert codes == expected(cases)


@pytest.mark.parametrize("widths", [(), (3,), (2, 16)], ids=str)
def test_widths_are_refused(widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"widths must be one or more of 2, 4 and 8, not \(") as e:
        Encoder(widths)
    assert str(e.value).endswith(repr(widths))
