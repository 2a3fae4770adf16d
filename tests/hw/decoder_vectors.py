"""What every decoder must make of its words, whatever its operands look like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dybit.hw.edge_decoder import EdgeDecoder
from tests.hw.players import Cycles, play

__all__ = ["compare"]


def compare(
    decoder: EdgeDecoder,
    name: str,
    player: str,
    directory: Path,
    inputs: Cycles,
    expected: list[tuple[int, list[int]]],
    integers: Callable[[int, int], list[int]],
) -> int:
    """Play inputs into a decoder and compare what its operands stand for; return how many did.

    Parameters
    ----------
    decoder, name, player, directory
        See `play`.
    inputs : dict of str to list of int
        Value of each port in each cycle.
    expected : list of (int, list of int)
        For each cycle the lane width and the lanes' integers.
    integers : callable
        From an operand and the lane width to the lanes' integers.
    """
    # What went in in the last cycle comes out LATENCY cycles later.
    padded = {port: values + [0] * EdgeDecoder.LATENCY for port, values in inputs.items()}
    outputs = play(decoder, name, padded, player, directory)
    for cycle, (bits, values) in enumerate(expected):
        got = integers(outputs["operand"][cycle + EdgeDecoder.LATENCY], bits)
        shown = {port: inputs[port][cycle] for port in inputs}
        assert got == values, f"{shown} gave {got}, not {values}"
    return len(expected)
