"""The line buffer against the rows that went in, with pauses and rows that change their length."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from dybit.hw.line_buffer import LineBuffer
from tests.hw.players import Cycles, play

BITS = 5
WIDTH = 8

pytestmark = pytest.mark.rtl


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_in_amaranth(rows: int, tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    rng = random.Random(rows)
    print(f"seed {rows}")
    inputs: Cycles = {"valid": [], "column": [], "word": []}
    expected: dict[int, list[int]] = {}

    def cycle(valid: int, column: int, word: int) -> None:
        for port, value in zip(inputs, (valid, column, word), strict=True):
            inputs[port].append(value)

    for _ in range(30):
        width, pause = rng.randint(2, WIDTH), rng.choice([0.0, 0.4])
        above: list[list[int]] = [[] for _ in range(width)]
        for _ in range(rng.randint(1, 2 * rows)):
            for column in range(width):
                while rng.random() < pause:
                    cycle(0, rng.randrange(WIDTH), rng.getrandbits(BITS))
                word = rng.getrandbits(BITS)
                above[column] = [word, *above[column]][:rows]
                expected[len(inputs["word"]) + LineBuffer.LATENCY] = above[column]
                cycle(1, column, word)
    cycle(0, 0, 0)
    outputs = play(LineBuffer(BITS, rows, WIDTH), "line_buffer", inputs, "amaranth", tmp_path)
    for at, words in expected.items():
        # Where no row has come yet there may be anything.
        got = [outputs["words"][at] >> BITS * y & (1 << BITS) - 1 for y in range(len(words))]
        assert got == words, f"cycle {at}"
    vectors("line buffer, amaranth", len(expected))
