# amaranth: UnusedElaboratable=no
"""The ESB decoder: every code of every format, kept and not, in every form of the operand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dybit.hw.esb_decoder import ESBDecoder
from dybit.hw.esb_operand import ESBOperand
from dybit.quant.formats import ESB
from tests.hw.players import Cycles, play
from tests.oracles import ESB_4_BITS, esb_integers

SPECS = {
    **{f"4k{k}": ESBOperand((ESB(4, k),)) for k in range(3)},
    "4k2-weights": ESBOperand((ESB(4, 2),), padded=False),
    **{
        f"8k{k}-{'linear' if linear else 'floating'}": ESBOperand((ESB(8, k),), linear=linear)
        for k in range(3, 7)
        for linear in (True, False)
    },
    "both-linear": ESBOperand((ESB(4, 2), ESB(8, 4))),
    "both-floating": ESBOperand((ESB(4, 1), ESB(8, 3)), linear=False),
}
WIDTH_INPUT = {4: 1, 8: 2}

pytestmark = pytest.mark.rtl


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
    # What went in in the last cycle comes out LATENCY cycles later.
    padded = {name: values + [0] * ESBDecoder.LATENCY for name, values in inputs.items()}
    outputs = play(ESBDecoder(spec), "esb_decoder", padded, player, directory)
    fractions = {fmt.bits: fmt.k for fmt in spec.formats}
    for cycle, (bits, values) in enumerate(expected):
        operand = outputs["operand"][cycle + ESBDecoder.LATENCY]
        if bits == 8:
            got = [wide_integer(operand, fractions[8], spec.linear)]
        else:
            got = narrow_integers(operand, fractions[4], spec.padded)
        shown = {name: inputs[name][cycle] for name in inputs}
        assert got == values, f"{shown} gave {got}, not {values}"
    vectors(f"ESB decoder, {player}", len(expected))


@pytest.mark.parametrize("name", SPECS)
def test_in_amaranth(name: str, tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    run(SPECS[name], "amaranth", tmp_path, vectors)


@pytest.mark.cocotb
@pytest.mark.parametrize("name", ["both-linear", "both-floating"])
def test_in_cocotb(
    name: str, simulator: str, tmp_path: Path, vectors: Callable[[str, int], None]
) -> None:
    run(SPECS[name], simulator, tmp_path, vectors)


def test_refuses_what_is_no_operand() -> None:
    with pytest.raises(TypeError, match="spec must be an ESBOperand, not 8"):
        ESBDecoder(8)
