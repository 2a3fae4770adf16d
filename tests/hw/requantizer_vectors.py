"""Accumulators with their scaling and format, and the codes exact integers give for them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.hw.encoder_vectors import Output

__all__ = ["Requantization", "extremes", "near_ties", "random_requantizations"]

BIAS_LIMIT = 2**47


@dataclass(frozen=True)
class Requantization:
    """One input of the requantizer."""

    accumulator: int
    bias: int
    multiplier: int
    shift: int
    output: Output

    def word(self, accumulator_bits: int) -> int:
        """The packed payload, the accumulator in the least significant bits."""
        word = self.accumulator % (1 << accumulator_bits)
        position = accumulator_bits
        fields = [(self.bias, 48), (self.multiplier, 16), (self.shift, 6), (self.output.word, 16)]
        for value, bits in fields:
            word |= value % (1 << bits) << position
            position += bits
        return word

    @property
    def code(self) -> int:
        """Section 3 of the design: the sum, the product and one rounding of the quotient."""
        return self.output.code((self.accumulator + self.bias) * self.multiplier, 2**self.shift)


def _split(
    total: int, accumulator_bits: int, choose: random.Random, extreme: bool = False
) -> tuple[int, int]:
    """Return an accumulator and a bias of that sum, each within its width."""
    low = max(-(2 ** (accumulator_bits - 1)), total - (BIAS_LIMIT - 1))
    high = min(2 ** (accumulator_bits - 1) - 1, total + BIAS_LIMIT)
    accumulator = choose.choice((low, high)) if extreme else choose.randint(low, high)
    return accumulator, total - accumulator


def extremes(accumulator_bits: int, sum_bits: int, formats: list[Output]) -> list[Requantization]:
    """Return every combination of the ends of all inputs, and of the digits of the shift."""
    choose = random.Random(11)
    largest = 2 ** (sum_bits - 1) - 1
    sums = {0, 1, -1, largest, -largest, (largest + 1) // 2, -(largest // 3)}
    return [
        Requantization(*_split(total, accumulator_bits, choose, True), multiplier, shift, output)
        for total in sorted(sums)
        for multiplier in (0, 1, 2**15, 2**16 - 1)
        for shift in (0, 1, 3, 4, 12, 15, 16, 31, 32, 47, 48, 62, 63)
        for output in choose.sample(formats, 2)
    ]


def near_ties(
    accumulator_bits: int, sum_bits: int, formats: list[Output]
) -> Iterator[Requantization]:
    """Yield quotients on a tie and one unit of the product away, at every shift.

    A single bit lost anywhere in the product changes one of these codes.
    """
    choose = random.Random(12)
    largest = 2 ** (sum_bits - 1) - 1
    for shift in range(1, 64):
        for output in formats:
            integers = sorted(output.integers.values())
            position = choose.randrange(1, len(integers))
            halves = integers[position - 1] + integers[position]
            # sum x M = halves x 2^(shift-1), M taking what the sum cannot hold.
            power = min(15, shift - 1)
            total = halves << (shift - 1 - power)
            if abs(total) >= largest:
                continue
            for offset in (-1, 0, 1):
                sum_ = total + (offset if power == 0 else 0)
                multiplier = 2**power + (offset if power else 0)
                split = _split(sum_, accumulator_bits, choose)
                yield Requantization(*split, multiplier, shift, output)


def random_requantizations(
    count: int, seed: int, accumulator_bits: int, sum_bits: int, formats: list[Output]
) -> Iterator[Requantization]:
    """Yield sums of every size; most are aimed near the integer of some code."""
    choose = random.Random(seed)
    largest = 2 ** (sum_bits - 1) - 1
    for _ in range(count):
        output = choose.choice(formats)
        total = choose.randint(-largest, largest) >> choose.randrange(sum_bits)
        multiplier, shift = choose.getrandbits(16), choose.randrange(64)
        if choose.random() < 0.8:
            aim = choose.choice(list(output.integers.values())) + choose.uniform(-1, 1)
            multiplier = choose.randrange(2**15, 2**16)
            spare_bits = sum_bits - abs(int(aim)).bit_length() - 1
            shift = max(0, min(63, 15 + choose.randint(-2, max(0, spare_bits))))
            total = max(-largest, min(largest, round(aim * 2**shift / multiplier)))
        split = _split(total, accumulator_bits, choose, extreme=choose.random() < 0.1)
        yield Requantization(*split, multiplier, shift, output)
