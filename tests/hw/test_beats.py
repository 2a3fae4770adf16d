"""Words from beats and beats from words: every size, stalled at random."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from amaranth.hdl import Value
from amaranth.sim import Simulator

from dybit.hw.beats import BEAT_BITS, BeatsFromWords, WordsFromBeats

SEED = 97
SIZES = (32, 64, 128, 256, 512)
BEAT_BYTES = BEAT_BITS // 8

pytestmark = pytest.mark.rtl


def pump(
    dut: Any, source: list[tuple[int, dict[str, int]]], count: int, pace: float, clear_at: int = -1
) -> list[int]:
    """Feed elements with the levels that go with them; return the first `count` that come out.

    With `clear_at`, everything is forgotten in that cycle and the source begins anew.
    """
    got: list[int] = []
    rng = random.Random(SEED)
    at = 0

    async def bench(ctx: Any) -> None:
        nonlocal at
        cycle = 0
        while len(got) < count:
            given = at < len(source) and (ctx.get(dut.i.valid) or rng.random() < pace)
            if given:
                element, levels = source[at]
                ctx.set(Value.cast(dut.i.payload), element)
                for name, level in levels.items():
                    ctx.set(getattr(dut, name), level)
            ctx.set(dut.i.valid, given)
            ctx.set(dut.o.ready, rng.random() < pace)
            ctx.set(dut.clear, cycle == clear_at)
            *_, taken, valid, ready, payload = await ctx.tick().sample(
                dut.i.ready, dut.o.valid, dut.o.ready, dut.o.payload
            )
            if cycle == clear_at:
                got.clear()
                at = 0
                ctx.set(dut.i.valid, 0)
            else:
                at += given and taken
                if valid and ready:
                    got.append(payload)
            cycle += 1
            assert cycle < 20_000, "nothing moves"

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return got


def rows_of_words(bits: int, rng: random.Random) -> list[list[int]]:
    """Return rows of random words; those larger than a beat come whole."""
    return [[rng.getrandbits(bits) for _ in range(rng.randint(1, 9))] for _ in range(20)]


def beats_of(row: list[int], bits: int) -> list[int]:
    """Return a row's beats, the last filled with zeros."""
    content = sum(word << bits * i for i, word in enumerate(row))
    count = -(-len(row) * bits // BEAT_BITS)
    return [content >> BEAT_BITS * i & (1 << BEAT_BITS) - 1 for i in range(count)]


@pytest.mark.parametrize("bits", SIZES)
@pytest.mark.parametrize("pace", [1.0, 0.5])
def test_words_from_beats(bits: int, pace: float, vectors: Callable[[str, int], None]) -> None:
    rows = rows_of_words(bits, random.Random(f"{bits} {SEED}"))
    print(f"seed {bits} {SEED}")
    source = [(beat, {"row_words": len(row)}) for row in rows for beat in beats_of(row, bits)]
    words = [word for row in rows for word in row]
    assert pump(WordsFromBeats(bits), source, len(words), pace) == words
    vectors("words from beats", len(words))


@pytest.mark.parametrize("bits", SIZES)
@pytest.mark.parametrize("pace", [1.0, 0.5])
def test_beats_from_words(bits: int, pace: float, vectors: Callable[[str, int], None]) -> None:
    rng = random.Random(f"{bits} {SEED}")
    print(f"seed {bits} {SEED}")
    rows = rows_of_words(bits, rng)
    source, beats, meant = [], [], []
    for row in rows:
        # Of a last word larger than a beat, only some beats may count.
        cut = rng.randrange(max(1, bits // BEAT_BITS))
        for i, word in enumerate(row):
            last = i == len(row) - 1
            levels = {"beats": max(1, bits // BEAT_BITS) - 1 - cut} if last else {}
            source.append((word | last << bits, levels))
        expected = beats_of(row, bits)
        expected = expected[: len(expected) - cut]
        beats += expected
        bytes_left = len(row) * bits // 8
        for _ in expected:
            meant.append(min(BEAT_BYTES, bytes_left))
            bytes_left -= BEAT_BYTES
    got = pump(BeatsFromWords(bits), source, len(beats), pace)
    masks = [(1 << 8 * size) - 1 for size in meant]
    assert [g & k for g, k in zip(got, masks, strict=True)] == [
        b & k for b, k in zip(beats, masks, strict=True)
    ]
    vectors("beats from words", len(beats))


@pytest.mark.parametrize("bits", [32, 128, 256])
def test_clear_begins_anew(bits: int) -> None:
    rows = rows_of_words(bits, random.Random(SEED))
    source = [(beat, {"row_words": len(row)}) for row in rows for beat in beats_of(row, bits)]
    words = [word for row in rows for word in row]
    assert pump(WordsFromBeats(bits), source, len(words), 0.5, clear_at=23) == words


@pytest.mark.parametrize("bits", [32, 128])
def test_a_beat_a_cycle(bits: int) -> None:
    words = list(range(1, 65))
    source = [(beat, {"row_words": 64}) for beat in beats_of(words, bits)]
    cycles = 0

    dut = WordsFromBeats(bits)

    async def bench(ctx: Any) -> None:
        nonlocal cycles
        ctx.set(dut.row_words, 64)
        ctx.set(dut.o.ready, 1)
        ctx.set(dut.i.valid, 1)
        at = seen = 0
        while seen < len(words):
            ctx.set(dut.i.payload, source[min(at, len(source) - 1)][0])
            *_, ready, valid = await ctx.tick().sample(dut.i.ready, dut.o.valid)
            at, seen, cycles = at + ready, seen + valid, cycles + 1

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert cycles == len(words)
