"""Numbers, formats and expected codes for everything that contains an encoder.

A number is an integer count of quarters of a unit: the last bit of it is the sticky bit. That
is exact, because a format's values are whole units and its thresholds whole half units.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from tests.oracles import dybit_integers, nearest_code

__all__ = ["FORMATS", "LARGEST", "Output", "corners", "pack_number", "random_cases"]

LARGEST = 4 * 32767 + 3
"""The largest magnitude the encoder's input holds, in quarters."""


@dataclass(frozen=True)
class Output:
    """An output format: what `hw.output_format.OutputFormat` says, in plain numbers."""

    bits: int
    signed: bool
    limit: int
    relu: bool = False
    max_code: int = 255

    def __str__(self) -> str:
        sign = "signed" if self.signed else "unsigned"
        clamp = f"-max{self.max_code}" if self.max_code < 255 else ""
        return f"{self.bits}bit-{sign}-limit{self.limit}{'-relu' * self.relu}{clamp}"

    @cached_property
    def integers(self) -> dict[int, int]:
        """Integer by code, of the codes that may be produced."""
        size = self.bits - self.signed
        return {
            code: integer
            for code, integer in dybit_integers(self.bits, self.signed, self.limit).items()
            if code % 2**size <= self.max_code and not (self.relu and integer < 0)
        }

    @property
    def word(self) -> int:
        """The packed members, the first in the least significant bits."""
        width = {2: 0, 4: 1, 8: 2}[self.bits]
        return width | self.signed << 2 | self.limit << 3 | self.relu << 7 | self.max_code << 8

    def code(self, numerator: int, denominator: int) -> int:
        """Return the code that a fraction of a unit must give."""
        return nearest_code(numerator, denominator, self.integers)


FORMATS = [
    Output(bits, signed, limit)
    for bits in (2, 4, 8)
    for signed in (True, False)
    for limit in range(1, bits - signed + 1)
]
"""Every member of the family the hardware can produce."""


def pack_number(quarters: int, output: Output) -> int:
    """Return the encoder's input word of a number."""
    size = min(abs(quarters), LARGEST)
    number = (quarters < 0) | (size >> 2) << 1 | (size >> 1 & 1) << 16 | (size & 1) << 17
    return number | output.word << 18


def corners(output: Output) -> list[int]:
    """Return every value, every midpoint and what lies within half a unit of one, both signs."""
    magnitudes = sorted({abs(integer) for integer in output.integers.values()})
    points = {4 * magnitude for magnitude in magnitudes}
    points |= {2 * (low + high) for low, high in pairwise(magnitudes)}
    points |= {4 * 32767}
    near = {point + offset for point in points for offset in range(-2, 3)}
    sizes = {size for size in near if 0 <= size <= LARGEST}
    return sorted(sizes | {-size for size in sizes})


def random_cases(
    count: int, seed: int, formats: Iterable[Output] = FORMATS
) -> Iterator[tuple[int, Output]]:
    """Yield numbers of every size with random formats, rectified and clamped ones among them."""
    choose = random.Random(seed)
    formats = list(formats)
    for _ in range(count):
        output = choose.choice(formats)
        if choose.random() < 0.3:
            output = replace(output, relu=True)
        if choose.random() < 0.3:
            output = replace(output, max_code=choose.randrange(2 ** (output.bits - output.signed)))
        size = choose.getrandbits(choose.randrange(1, 18))
        yield choose.choice((size, -size)), output
