# amaranth: UnusedElaboratable=no
"""The decoder: every code of every width, signedness and exponent limit, kept and not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dybit.hw.mp_decoder import MPDecoder
from dybit.hw.operand import Signedness
from tests.hw.array_vectors import code_integers
from tests.hw.players import Cycles, play

BUILDS = {
    "all-both": ((2, 4, 8), Signedness.BOTH, 4),
    "all-signed": ((2, 4, 8), Signedness.SIGNED, 3),
    "all-unsigned": ((2, 4, 8), Signedness.UNSIGNED, 4),
    "narrow-r3": ((2, 4), Signedness.BOTH, 3),
    "narrow-r2": ((2, 4), Signedness.BOTH, 2),
    "narrow-r1": ((2, 4), Signedness.BOTH, 1),
    "signed-r2": ((4,), Signedness.SIGNED, 2),
    "wide": ((8,), Signedness.BOTH, 4),
}
WIDTH_INPUT = {2: 0, 4: 1, 8: 2}

pytestmark = pytest.mark.rtl


def stimulus(
    widths: tuple[int, ...], signedness: Signedness, limit: int
) -> tuple[Cycles, list[tuple[int, list[int]]]]:
    """Return inputs, and for each cycle the lane width and the lanes' integers."""
    inputs: Cycles = {name: [] for name in ("word", "keep", "width", "is_signed", "exponent_limit")}
    expected = []
    flags = {"signed": [True], "unsigned": [False], "both": [True, False]}[signedness.value]
    for bits in widths:
        lanes = 8 // bits
        for signed in flags:
            limits = {2: [2], 4: [limit], 8: list(range(1, 9 - signed))}[bits]
            for exponent_limit in limits:
                integers = code_integers(bits, signed, exponent_limit)
                for keep in sorted({0, (1 << lanes) - 1, 1, 1 << (lanes - 1)}):
                    for word in range(256):
                        inputs["word"].append(word)
                        inputs["keep"].append(keep)
                        inputs["width"].append(WIDTH_INPUT[bits])
                        inputs["is_signed"].append(signed)
                        inputs["exponent_limit"].append(exponent_limit if bits == 8 else 9)
                        values = [
                            integers[word >> (bits * k) & (1 << bits) - 1] * (keep >> k & 1)
                            for k in range(lanes)
                        ]
                        expected.append((bits, values))
    return inputs, expected


def operand_integers(operand: int, bits: int, magnitude_bits: int, limit: int) -> list[int]:
    """Return the integers an operand stands for."""
    if bits == 8:
        sign, significand = operand & 1, operand >> 1 & (1 << magnitude_bits) - 1
        exponent = operand >> 1 + magnitude_bits
        return [(-1) ** sign * significand << exponent]
    table = code_integers(magnitude_bits, False, limit if bits == 4 else magnitude_bits)
    lanes = [operand >> (1 + magnitude_bits) * k for k in range(8 // bits)]
    return [(-1) ** (lane & 1) * table[lane >> 1 & (1 << magnitude_bits) - 1] for lane in lanes]


def run(
    build: tuple[tuple[int, ...], Signedness, int],
    player: str,
    directory: Path,
    vectors: Callable[[str, int], None],
) -> None:
    widths, signedness, limit = build
    inputs, expected = stimulus(widths, signedness, limit)
    # What went in in the last cycle comes out LATENCY cycles later.
    padded = {name: values + [0] * MPDecoder.LATENCY for name, values in inputs.items()}
    outputs = play(MPDecoder(widths, signedness, limit), "mp_decoder", padded, player, directory)
    for cycle, (bits, values) in enumerate(expected):
        operand = outputs["operand"][cycle + MPDecoder.LATENCY]
        got = operand_integers(operand, bits, signedness.magnitude_bits(bits), limit)
        shown = {name: inputs[name][cycle] for name in inputs}
        assert got == values, f"{shown} gave {got}, not {values}"
    vectors(f"decoder, {player}", len(expected))


@pytest.mark.parametrize("build", BUILDS)
def test_in_amaranth(build: str, tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    run(BUILDS[build], "amaranth", tmp_path, vectors)


@pytest.mark.cocotb
@pytest.mark.parametrize("build", ["all-both", "all-signed", "narrow-r2"])
def test_in_cocotb(
    build: str, simulator: str, tmp_path: Path, vectors: Callable[[str, int], None]
) -> None:
    run(BUILDS[build], simulator, tmp_path, vectors)


@pytest.mark.parametrize("widths", [(), (3,), (2, 16)])
def test_refuses_widths(widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="widths must be one or more of 2, 4 and 8, not"):
        MPDecoder(widths)


def test_refuses_signedness() -> None:
    with pytest.raises(TypeError, match="signedness must be a Signedness, not 'both'"):
        MPDecoder((8,), "both")


@pytest.mark.parametrize("limit", [0, 5])
def test_refuses_limit(limit: int) -> None:
    with pytest.raises(ValueError, match=f"limit must be 1 to 4, not {limit}"):
        MPDecoder((4,), Signedness.BOTH, limit)
