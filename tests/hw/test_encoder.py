# amaranth: UnusedElaboratable=no
"""Both encoders in Amaranth's simulator, against the definition."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from dybit.hw.encoder import Encoder
from dybit.hw.esb_encoder import ESBEncoder
from dybit.quant.formats import ESB
from tests.hw import streams
from tests.hw.encoder_vectors import (
    ESB_FORMATS,
    FORMATS,
    Output,
    corners,
    pack_number,
    random_cases,
)
from tests.hw.encoders import encoder_of

Vectors = Callable[[str, int], None]
Cases = Sequence[tuple[int, Output]]


# One format of each width: a build has no more.
MIXED_ESB = [
    [Output(4, True, 0, k=k4), Output(8, True, 0, k=k8)]
    for k4, k8 in ((0, 3), (1, 4), (2, 5), (1, 6), (2, 6))
]
FAMILIES = [FORMATS, *MIXED_ESB]
# One of each size of magnitude.
CLAMPED = [Output(*o) for o in ((2, True, 1), (2, False, 2), (4, True, 3), (4, False, 4))]
CLAMPED += [Output(8, True, 7), Output(8, False, 8)]


def family_name(outputs: Sequence[Output]) -> str:
    return "dybit" if outputs[0].k is None else "-".join(map(str, outputs))


def words(cases: Cases, magnitude_bits: int = 15) -> list[int]:
    return [pack_number(quarters, output, magnitude_bits) for quarters, output in cases]


def expected(cases: Cases) -> list[int]:
    return [output.code(quarters, 4) for quarters, output in cases]


def check(cases: Cases, built: Sequence[Output] = FORMATS, **stalls: Any) -> None:
    dut = encoder_of(built)
    codes = streams.through(dut, words(cases, dut.magnitude_bits), **stalls)
    wrong = [
        f"{output} of {quarters}/4 gave {code}, not {right}"
        for (quarters, output), code, right in zip(cases, codes, expected(cases), strict=True)
        if code != right
    ]
    assert not wrong, wrong[:5]


@pytest.mark.rtl
@pytest.mark.parametrize("output", [*FORMATS, *ESB_FORMATS], ids=str)
def test_thresholds(output: Output, vectors: Vectors) -> None:
    """Every threshold of the narrow formats, a sample of the 8-bit ones (cocotb has all)."""
    numbers = corners(output)
    if output.bits == 8:
        numbers = random.Random(5).sample(numbers, 300)
    check([(quarters, output) for quarters in numbers], FORMATS if output.k is None else [output])
    vectors("encoder, Amaranth's simulator", len(numbers))


@pytest.mark.parametrize("widths", [(2,), (4,), (8,), (2, 4), (2, 8), (4, 8)], ids=str)
def test_widths_built(widths: tuple[int, ...]) -> None:
    formats = [output for output in FORMATS if output.bits in widths]
    check(list(random_cases(400, seed=6, formats=formats)), formats)


@pytest.mark.parametrize("built", MIXED_ESB, ids=family_name)
def test_esb_widths_built(built: list[Output]) -> None:
    check(list(random_cases(600, seed=9, formats=built)), built)
    # Values and midpoints of the narrow format that only the wide one's magnitude can exceed.
    check([(quarters, built[0]) for quarters in corners(built[0])], built)


def test_esb_reads_no_other_member_of_the_format() -> None:
    """Signedness and exponent limit may hold anything."""
    odd = [replace(output, signed=True, limit=9) for output in MIXED_ESB[1]]
    check(list(random_cases(200, seed=10, formats=odd)), odd)
    plain = list(random_cases(200, seed=10, formats=MIXED_ESB[1]))
    dut = encoder_of(MIXED_ESB[1])
    unsigned = [
        word & ~(1 << 3 + dut.magnitude_bits + 2) for word in words(plain, dut.magnitude_bits)
    ]
    assert streams.through(dut, unsigned) == expected(plain)


@pytest.mark.parametrize(
    "output",
    [*CLAMPED, *ESB_FORMATS[:4]],
    ids=str,
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
    check(cases, FORMATS if output.k is None else [output])


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
    for built in (FORMATS, *([output] for output in ESB_FORMATS)):
        dut = encoder_of(built)
        cases = [
            (quarters, replace(output, max_code=max_code))
            for output in built
            if output.signed
            for max_code in (255, 0)
            for quarters in (-1, -2, -400)
        ]
        # Minus 0 itself: 0, or where there is no zero the smallest positive value.
        tiny = [pack_number(0, output, dut.magnitude_bits) | 1 for output in built]
        codes = streams.through(dut, [*words(cases, dut.magnitude_bits), *tiny])
        assert codes == [*expected(cases), *[0] * len(tiny)]


def test_bits_of_a_magnitude() -> None:
    assert [Encoder(widths).magnitude_bits for widths in ((2,), (2, 4), (8,))] == [3, 7, 15]
    bits = [encoder_of([output]).magnitude_bits for output in ESB_FORMATS]
    # 64, 12, 15; 15 x 2^14, 31 x 2^6, 63 x 2^2, 255.
    assert bits == [7, 4, 4, 18, 11, 8, 8]


@pytest.mark.parametrize("built", FAMILIES[:2], ids=family_name)
class TestStream:
    @pytest.mark.parametrize(("offer", "accept"), [(1.0, 1.0), (0.3, 1.0), (1.0, 0.3), (0.5, 0.5)])
    def test_stalls(self, built: list[Output], offer: float, accept: float) -> None:
        cases = list(random_cases(300, seed=7, formats=built))
        check(cases, built, offer=offer, accept=accept, seed=8)

    def test_back_pressure_fills_the_pipeline_and_loses_nothing(self, built: list[Output]) -> None:
        dut = encoder_of(built)
        word = pack_number(4, built[0], dut.magnitude_bits)
        assert streams.capacity(dut, word) == dut.LATENCY

    def test_latency(self, built: list[Output]) -> None:
        dut = encoder_of(built)
        word = pack_number(4, built[0], dut.magnitude_bits)
        assert dut.LATENCY == 4
        assert streams.latency(dut, word) == dut.LATENCY

    @pytest.mark.parametrize("fill", range(1, 2 * Encoder.LATENCY))
    def test_reset_in_flight(self, built: list[Output], fill: int) -> None:
        dut = encoder_of(built)
        cases = list(random_cases(10, seed=fill, formats=built))
        before = pack_number(-4, built[-1], dut.magnitude_bits)
        after = words(cases, dut.magnitude_bits)
        assert streams.results_after_reset(dut, before, after, fill) == expected(cases)


@pytest.mark.parametrize("widths", [(), (3,), (2, 16)], ids=str)
def test_widths_are_refused(widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"widths must be one or more of 2, 4 and 8, not \(") as e:
        Encoder(widths)
    assert str(e.value).endswith(repr(widths))


@pytest.mark.parametrize("formats", [[], [ESB(4, 1), ESB(4, 2)], [ESB(6, 3)]], ids=str)
def test_esb_formats_are_refused(formats: list[ESB]) -> None:
    with pytest.raises(ValueError, match="formats must be one or two, of 4 and 8 bits, not") as e:
        ESBEncoder(formats)
    assert str(e.value).endswith(repr(formats))
