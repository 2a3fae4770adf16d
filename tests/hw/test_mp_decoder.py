# amaranth: UnusedElaboratable=no
"""The decoder: every code of every width, signedness and exponent limit, kept and not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dybit.hw.mp_decoder import MPDecoder
from dybit.hw.operand import Operand, Signedness
from tests.hw.array_vectors import code_integers, floating_code
from tests.hw.players import Cycles, play

S, U, B = Signedness.SIGNED, Signedness.UNSIGNED, Signedness.BOTH
BUILDS = {
    "all-both": Operand((2, 4, 8), B),
    "all-signed": Operand((2, 4, 8), S, 3),
    "all-unsigned": Operand((2, 4, 8), U),
    "floating-both": Operand((2, 4, 8), B, linear=False),
    "floating-signed": Operand((4, 8), S, linear=False),
    "narrow-r3": Operand((2, 4), B, 3),
    "narrow-r2": Operand((2, 4), B, 2),
    "narrow-r1": Operand((2, 4), B, 1),
    "signed-r2": Operand((4,), S, 2),
    "wide": Operand((8,), B),
    "run-time-both": Operand((2, 4, 8), B, run_time_limits=(1, 2, 3)),
    "run-time-signed": Operand((4,), S, run_time_limits=(2, 3)),
}
WIDTH_INPUT = {2: 0, 4: 1, 8: 2}

pytestmark = pytest.mark.rtl


def stimulus(spec: Operand) -> tuple[Cycles, list[tuple[int, list[int]]]]:
    """Return inputs, and for each cycle the lane width and the lanes' integers."""
    inputs: Cycles = {name: [] for name in ("word", "keep", "width", "is_signed", "exponent_limit")}
    expected = []
    flags = {"signed": [True], "unsigned": [False], "both": [True, False]}[spec.signedness.value]
    for bits in spec.widths:
        lanes = 8 // bits
        for signed in flags:
            narrow = spec.run_time_limits if signed and spec.run_time_limits else (spec.limit,)
            for exponent_limit in {2: (2,), 4: narrow, 8: range(1, 9 - signed)}[bits]:
                integers = code_integers(bits, signed, exponent_limit)
                for keep in sorted({0, (1 << lanes) - 1, 1, 1 << (lanes - 1)}):
                    for word in range(256):
                        inputs["word"].append(word)
                        inputs["keep"].append(keep)
                        inputs["width"].append(WIDTH_INPUT[bits])
                        inputs["is_signed"].append(signed)
                        chosen = bits == 8 or (bits == 4 and len(narrow) > 1)
                        inputs["exponent_limit"].append(exponent_limit if chosen else 9)
                        values = [
                            integers[word >> (bits * k) & (1 << bits) - 1] * (keep >> k & 1)
                            for k in range(lanes)
                        ]
                        expected.append((bits, values))
    return inputs, expected


def operand_integers(operand: int, bits: int, spec: Operand) -> list[int]:
    """Return the integers an operand stands for."""
    magnitude_bits = spec.signedness.magnitude_bits(bits)
    if bits == 8 and spec.linear:
        width = 2 * magnitude_bits
        operand &= (1 << width) - 1
        return [operand - (1 << width) * (operand >> width - 1)]
    if bits == 8:
        sign, significand = operand & 1, operand >> 1 & (1 << magnitude_bits) - 1
        tripled = operand >> 1 + magnitude_bits & (1 << magnitude_bits + 2) - 1
        assert tripled == 3 * significand
        exponent = operand >> 3 + 2 * magnitude_bits
        return [(-1) ** sign * significand << exponent]
    # Where both signednesses meet, lanes are those of the unsigned format.
    table = code_integers(magnitude_bits, False, spec.limit if bits == 4 else magnitude_bits)
    if bits == 4 and spec.run_time_limits:
        odd_bits = 1 if spec.run_time_limits == (2, 3) and spec.signedness is S else 2
        magnitude_bits = odd_bits + 3
        largest_odd = 2 << odd_bits
        table = [0] * (1 << magnitude_bits)
        for integer in range(65):
            if integer // max(1, integer & -integer) < largest_odd:
                table[floating_code(integer, odd_bits)] = integer
    lanes = [operand >> (1 + magnitude_bits) * k for k in range(8 // bits)]
    return [(-1) ** (lane & 1) * table[lane >> 1 & (1 << magnitude_bits) - 1] for lane in lanes]


def run(spec: Operand, player: str, directory: Path, vectors: Callable[[str, int], None]) -> None:
    inputs, expected = stimulus(spec)
    # What went in in the last cycle comes out LATENCY cycles later.
    padded = {name: values + [0] * MPDecoder.LATENCY for name, values in inputs.items()}
    outputs = play(MPDecoder(spec), "mp_decoder", padded, player, directory)
    for cycle, (bits, values) in enumerate(expected):
        operand = outputs["operand"][cycle + MPDecoder.LATENCY]
        got = operand_integers(operand, bits, spec)
        shown = {name: inputs[name][cycle] for name in inputs}
        assert got == values, f"{shown} gave {got}, not {values}"
    vectors(f"decoder, {player}", len(expected))


@pytest.mark.parametrize("build", BUILDS)
def test_in_amaranth(build: str, tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    run(BUILDS[build], "amaranth", tmp_path, vectors)


@pytest.mark.cocotb
@pytest.mark.parametrize("build", ["all-both", "floating-signed", "run-time-both"])
def test_in_cocotb(
    build: str, simulator: str, tmp_path: Path, vectors: Callable[[str, int], None]
) -> None:
    run(BUILDS[build], simulator, tmp_path, vectors)


@pytest.mark.parametrize("widths", [(), (3,), (2, 16)])
def test_refuses_widths(widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="widths must be one or more of 2, 4 and 8, not"):
        Operand(widths, Signedness.BOTH)


def test_refuses_signedness() -> None:
    with pytest.raises(TypeError, match="signedness must be a Signedness, not 'both'"):
        Operand((8,), "both")


@pytest.mark.parametrize("limit", [0, 5])
def test_refuses_limit(limit: int) -> None:
    with pytest.raises(ValueError, match=f"limit must be 1 to 4, not {limit}"):
        Operand((4,), Signedness.BOTH, limit)


def test_refuses_specs() -> None:
    with pytest.raises(TypeError, match="spec must be an Operand, not 8"):
        MPDecoder(8)
