"""What the decoder of DyBit is given, and what it must make of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dybit.hw.mp_decoder import MPDecoder
from dybit.hw.operand import Operand, Signedness
from tests.hw.array_vectors import code_integers, floating_code
from tests.hw.decoder_vectors import compare
from tests.hw.players import Cycles

__all__ = ["run"]

WIDTH_INPUT = {2: 0, 4: 1, 8: 2}


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
        signed = spec.signedness is Signedness.SIGNED
        odd_bits = 1 if signed and spec.run_time_limits == (2, 3) else 2
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
    compared = compare(
        MPDecoder(spec),
        "mp_decoder",
        player,
        directory,
        inputs,
        expected,
        lambda operand, bits: operand_integers(operand, bits, spec),
    )
    vectors(f"decoder, {player}", compared)
