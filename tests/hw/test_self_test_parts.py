# amaranth: UnusedElaboratable=no
"""Random words, signatures and the serial line, each against a definition of its own."""

from __future__ import annotations

import random
from itertools import islice, pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.lib import stream

from dybit.hw.platforms.ecp5_clock import pll_dividers
from dybit.hw.port_register import PortRegister
from dybit.hw.random_source import RandomSource, seed
from dybit.hw.self_test_plan import SelfTestPlan
from dybit.hw.signature import Signature
from dybit.hw.uart import UartTransmitter
from dybit.scripts.self_test import signature, words
from tests.hw.players import play
from tests.hw.self_tests import SMALL, serial_text


def test_words_are_those_of_the_model(tmp_path: Path) -> None:
    choose = random.Random(1)
    step = [choose.randrange(2) for _ in range(60)]
    restart = [int(cycle == 40) for cycle in range(60)]
    shown = play(
        RandomSource(96), "source", {"step": step, "restart": restart}, "amaranth", tmp_path
    )["word"]
    expected, at = list(islice(words(96), 60)), 0
    for cycle, word in enumerate(shown):
        assert word == expected[at], cycle
        at = 0 if restart[cycle] else at + step[cycle]


def test_the_generator_is_xorshift32() -> None:
    # Marsaglia's own example: 2463534242 is followed by 723471715.
    state = 2463534242
    for shift in (13, -17, 5):
        state ^= (state << shift if shift > 0 else state >> -shift) & 0xFFFFFFFF
    assert state == 723471715
    first, second, *_ = islice(words(32), 2)
    assert first == seed(0) == 0x9E3779B9
    for shift in (13, -17, 5):
        first ^= (first << shift if shift > 0 else first >> -shift) & 0xFFFFFFFF
    assert second == first


def slow_signature(rows: list[list[int]], bits: int) -> int:
    """Return the remainder of a polynomial, bit by bit: words are its coefficients."""
    total = 0
    for row in rows:
        line = "".join(f"{value % (1 << bits):0{bits}b}" for value in reversed(row))
        line = line.zfill(-(-len(line) // 32) * 32)
        folded = 0
        for index in range(len(line) // 32):
            part = line[len(line) - 32 * (index + 1) :][:32]
            turn = 7 * index % 32
            folded ^= int(part[turn:] + part[:turn], 2)
        total = total * 2 ^ folded
    while total.bit_length() > 32:
        total ^= 0x104C11DB7 << total.bit_length() - 33
    return total


@pytest.mark.parametrize(("bits", "columns"), [(8, 1), (48, 2), (48, 11), (8, 32)])
def test_signature(bits: int, columns: int, tmp_path: Path) -> None:
    choose = random.Random(bits * columns)
    low = -(1 << bits - 1) if bits > 8 else 0
    rows = [[choose.randrange(low, 1 << bits - 1) for _ in range(columns)] for _ in range(70)]
    expected = slow_signature(rows, bits)
    assert signature(np.array(rows), bits) == expected

    dut = Signature(bits * columns)
    valid, word, left = [], [], list(rows)
    while left:
        valid.append(choose.randrange(2))
        row = left.pop(0) if valid[-1] else [choose.randrange(1 << bits - 1)] * columns
        word.append(sum(value % (1 << bits) << bits * i for i, value in enumerate(row)))
    # A clear forgets what came before, and what is on its way.
    lead = [choose.randrange(1 << bits * columns) for _ in range(5)]
    inputs = {
        "clear": [0] * 5 + [1] + [0] * (len(word) + 12),
        "valid": [1] * 5 + [0] + valid + [0] * 12,
        "word": [*lead, 0, *word, *[0] * 12],
    }
    shown = play(dut, "signature", inputs, "amaranth", tmp_path)["value"]
    last = 6 + max(i for i, one in enumerate(valid) if one)
    assert shown[last + dut.latency] == shown[-1] == expected
    assert shown[last + dut.latency - 1] != expected


@pytest.mark.parametrize("place", [0, 31, 32, 527])
def test_one_wrong_bit_changes_the_signature(place: int) -> None:
    rows = np.random.default_rng(3).integers(0, 1 << 48, (40, 11))
    wrong = rows.copy()
    wrong[7, place // 48] ^= 1 << place % 48
    assert signature(rows, 48) != signature(wrong, 48)


@pytest.mark.parametrize("divisor", [1, 2, 7])
def test_serial_line(divisor: int, tmp_path: Path) -> None:
    text = "DyBit \x00\xff\x55"
    cycles = (len(text) * 12 + 5) * divisor * 2
    inputs: dict[str, Any] = {"i__valid": [1] * cycles, "i__payload": [0x41] * cycles}
    shown = play(UartTransmitter(divisor), "uart", inputs, "amaranth", tmp_path)
    # Back to back, a byte takes 10 bits and the cycle in which it is taken.
    accepted = [cycle for cycle, ready in enumerate(shown["i__ready"]) if ready]
    assert {b - a for a, b in pairwise(accepted)} == {10 * divisor + 1}
    payload = [0] * cycles
    for cycle, character in zip(accepted, text, strict=False):
        payload[cycle] = ord(character)
    inputs["i__payload"] = payload
    shown = play(UartTransmitter(divisor), "uart", inputs, "amaranth", tmp_path)
    assert serial_text(np.array(shown["tx"]), divisor).startswith(text)


def test_a_port_register_delays_one_way_alone(tmp_path: Path) -> None:
    dut = PortRegister(stream.Signature(8))
    choose = random.Random(5)
    inputs = {
        "i__payload": [choose.randrange(256) for _ in range(30)],
        "i__valid": [choose.randrange(2) for _ in range(30)],
        "o__ready": [choose.randrange(2) for _ in range(30)],
    }
    shown = play(dut, "port", inputs, "amaranth", tmp_path)
    assert shown["o__payload"][1:] == inputs["i__payload"][:-1]
    assert shown["o__valid"][1:] == inputs["i__valid"][:-1]
    assert shown["i__ready"] == inputs["o__ready"]


def test_every_clock_that_the_pll_can_make() -> None:
    """By every combination of dividers within the data sheet's ranges, in exact fractions."""
    made: dict[int, set[tuple[int, int, int]]] = {}
    for divider, feedback, output in product(range(1, 129), repeat=3):
        if 3.125 * divider > 25:
            break
        mhz, rest = divmod(25 * feedback, divider)
        if not rest and mhz <= 400 and 400 <= mhz * output <= 800:
            made.setdefault(mhz, set()).add((divider, feedback, output))
    assert sorted(made) == list(range(5, 401, 5))
    for mhz in range(1, 1000):
        if mhz in made:
            assert pll_dividers(25, mhz) in made[mhz]
        else:
            message = f"multiple of 5 from 5 to 400, which the PLL makes of 25 MHz, not {mhz}$"
            with pytest.raises(ValueError, match=message):
                pll_dividers(25, mhz)


def test_what_cannot_be_built() -> None:
    for bits in (0, 33):
        with pytest.raises(ValueError, match=f"bits must be a multiple of 32, not {bits}"):
            RandomSource(bits)
    with pytest.raises(ValueError, match="bits must be at least 1, not 0"):
        Signature(0)
    with pytest.raises(ValueError, match="divisor must be at least 1, not 0"):
        UartTransmitter(0)


def test_parameters_wrap_at_the_end_of_a_word() -> None:
    plan = SelfTestPlan(SMALL)
    assert plan.word_bits == 64
    assert plan.parameter_bits(1, 0, 60)[-5:] == [63, 0, 1, 2, 3]
