"""What the decoder of ESB is given, and what it must make of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dybit.hw.esb_decoder import ESBDecoder
from dybit.hw.esb_operand import ESBOperand
from tests.hw.decoder_vectors import compare
from tests.hw.players import Cycles
from tests.oracles import ESB_4_BITS, esb_integers

__all__ = ["run"]

WIDTH_INPUT = {4: 1, 8: 2}


def stimulus(spec: ESBOperand) -> tuple[Cycles, list[tuple[int, list[int]]]]:
    """Return inputs, and for each cycle the lane width and the lanes' integers."""
    inputs: Cycles = {name: [] for name in ("word", "keep", "width")}
    expected = []
    for fmt in spec.formats:
        bits, lanes = fmt.bits, 8 // fmt.bits
        integers = esb_integers(bits, fmt.k)
        for keep in range(1 << lanes) if spec.padded else [(1 << lanes) - 1]:
            for word in range(256):
                inputs["word"].append(word)
                inputs["keep"].append(keep)
                inputs["width"].append(WIDTH_INPUT[bits])
                codes = [word >> (bits * k) & (1 << bits) - 1 for k in range(lanes)]
                values = [integers.get(code, 0) * (keep >> k & 1) for k, code in enumerate(codes)]
                expected.append((bits, values))
    # The ports of another family hold anything.
    inputs["is_signed"] = [cycle % 2 for cycle in range(len(expected))]
    inputs["exponent_limit"] = [cycle % 16 for cycle in range(len(expected))]
    return inputs, expected


def wide_integer(operand: int, k: int, linear: bool) -> int:
    """Return the integer of an 8-bit lane, its fields read from the layout's description."""
    largest = {3: 15 << 14, 4: 31 << 6, 5: 63 << 2, 6: 255}[k]
    if linear:
        bits = largest.bit_length() + 1
        integer = operand & (1 << bits) - 1
        return integer - (1 << bits) if integer >> bits - 1 else integer
    size = {3: 4, 4: 5, 5: 6, 6: 8}[k]
    sign, significand = operand & 1, operand >> 1 & (1 << size) - 1
    assert operand >> 1 + size & (1 << size + 2) - 1 == 3 * significand
    return (-1) ** sign * significand << (operand >> 2 * size + 3)


def narrow_integers(operand: int, k: int, padded: bool) -> list[int]:
    """Return the integers of 4-bit lanes; on the grid without a zero the top bit says "there"."""
    table = list(ESB_4_BITS[k])
    if k == 2 and padded:
        table = [0] * 8 + table
    size = len(table).bit_length()
    lanes = [operand >> size * lane & (1 << size) - 1 for lane in range(2)]
    return [(-1) ** (lane & 1) * table[lane >> 1] for lane in lanes]


def run(
    spec: ESBOperand, player: str, directory: Path, vectors: Callable[[str, int], None]
) -> None:
    inputs, expected = stimulus(spec)
    fractions = {fmt.bits: fmt.k for fmt in spec.formats}

    def integers(operand: int, bits: int) -> list[int]:
        if bits == 8:
            return [wide_integer(operand, fractions[8], spec.linear)]
        return narrow_integers(operand, fractions[4], spec.padded)

    decoder = ESBDecoder(spec)
    compared = compare(decoder, "esb_decoder", player, directory, inputs, expected, integers)
    vectors(f"ESB decoder, {player}", compared)
