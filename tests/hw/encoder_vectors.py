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

from dybit.quant.array_config import ArrayConfig
from tests.oracles import dybit_integers, esb_integers, nearest_code

__all__ = [
    "ESB_FORMATS",
    "FORMATS",
    "Output",
    "array_outputs",
    "corners",
    "pack_number",
    "random_cases",
]


@dataclass(frozen=True)
class Output:
    """An output format: what `hw.output_format.OutputFormat` says, in plain numbers.

    With `k`, the format is ESB of so many fraction bits, else DyBit.
    """

    bits: int
    signed: bool
    limit: int
    relu: bool = False
    max_code: int = 255
    k: int | None = None

    def __str__(self) -> str:
        sign = "signed" if self.signed else "unsigned"
        family = f"{sign}-limit{self.limit}" if self.k is None else f"esb-k{self.k}"
        clamp = f"-max{self.max_code}" if self.max_code < 255 else ""
        return f"{self.bits}bit-{family}{'-relu' * self.relu}{clamp}"

    @cached_property
    def integers(self) -> dict[int, int]:
        """Integer by code, of the codes that may be produced."""
        size = self.bits - self.signed
        if self.k is None:
            integers = dybit_integers(self.bits, self.signed, self.limit)
        else:
            integers = esb_integers(self.bits, self.k)
        return {
            code: integer
            for code, integer in integers.items()
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
"""Every member of the DyBit family the hardware can produce."""

ESB_FORMATS = [
    Output(bits, True, 0, k=k)
    for bits, fractions in ((4, range(3)), (8, range(3, 7)))
    for k in fractions
]
"""Every ESB format the hardware can produce; a build has one of each width."""


def array_outputs(array: ArrayConfig) -> list[Output]:
    """Return the formats that an array's encoders are built for."""
    if array.family == "esb":
        fractions = {4: array.esb_k4, 8: array.esb_k8}
        return [Output(bits, True, 0, k=fractions[bits]) for bits in array.activation_widths]
    return [output for output in FORMATS if output.bits in array.activation_widths]


def pack_number(quarters: int, output: Output, magnitude_bits: int = 15) -> int:
    """Return the input word of a number for an encoder that takes so many integer bits."""
    size = min(abs(quarters), (4 << magnitude_bits) - 1)
    fields = [(quarters < 0, 1), (size >> 2, magnitude_bits), (size >> 1 & 1, 1), (size & 1, 1)]
    word = position = 0
    for value, bits in [*fields, (output.word, 16)]:
        word |= value << position
        position += bits
    return word


def corners(output: Output) -> list[int]:
    """Return every value, every midpoint and what lies within half a unit of one, both signs."""
    magnitudes = sorted({abs(integer) for integer in output.integers.values()})
    points = {4 * magnitude for magnitude in magnitudes}
    points |= {2 * (low + high) for low, high in pairwise(magnitudes)}
    points |= {4 * 32767, 8 * magnitudes[-1]}
    near = {point + offset for point in points for offset in range(-2, 3)}
    sizes = {size for size in near if size >= 0}
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
        size = choose.getrandbits(choose.randrange(1, 21))
        yield choose.choice((size, -size)), output
