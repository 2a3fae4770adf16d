"""And-inverter graphs in AIGER's binary format: inputs made constant, registers made one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

__all__ = ["Graph"]


class _Builder:
    """Gates behind inputs, none twice; a literal is twice a variable, plus 1 if inverted."""

    def __init__(self, inputs: int) -> None:
        self.first = inputs + 1
        self.gates: list[tuple[int, int]] = []
        self._known: dict[tuple[int, int], int] = {}

    def both(self, a: int, b: int) -> int:
        low, high = (a, b) if a < b else (b, a)
        if low == 0 or low ^ high == 1:
            return 0
        if low == 1 or low == high:
            return high
        literal = self._known.get((high, low))
        if literal is None:
            literal = 2 * (self.first + len(self.gates))
            self._known[high, low] = literal
            self.gates.append((high, low))
        return literal

    def either(self, a: int, b: int) -> int:
        return self.both(a ^ 1, b ^ 1) ^ 1

    def differ(self, a: int, b: int) -> int:
        return self.either(self.both(a, b ^ 1), self.both(a ^ 1, b))

    def written(self, inputs: int, latches: list[int], output: int) -> bytes:
        """Return the file; latches, given by their next states, come right behind the inputs."""
        last = self.first - 1 + len(self.gates)
        lines = [f"aig {last} {inputs} {len(latches)} 1 {len(self.gates)}", *map(str, latches)]
        content = bytearray()
        for number, (high, low) in enumerate(self.gates, self.first):
            content += bytes(_digits(2 * number - high)) + bytes(_digits(high - low))
        return "\n".join([*lines, str(output), ""]).encode() + bytes(content)


@dataclass(frozen=True)
class Graph:
    """A sequential circuit with one output, whose latches begin as 0.

    Attributes
    ----------
    inputs
        Their number.
    latches
        Literal of each next state: inputs are the variables from 1 on, then come latches, then
        gates.
    output
        Its literal.
    gates
        The two literals of each.
    """

    inputs: int
    latches: list[int]
    output: int
    gates: list[tuple[int, int]]

    @classmethod
    def of_bytes(cls, content: bytes) -> Graph:
        """Return the graph of a file, whose latches begin as 0."""
        header, rest = content.split(b"\n", 1)
        _, inputs, latches, outputs, gates = map(int, header.split()[1:6])
        assert outputs == 1
        *lines, rest = rest.split(b"\n", latches + 1)
        *ends, output = (int(line) for line in lines)
        numbers = _deltas(rest, 2 * gates)
        first = 1 + inputs + latches
        pairs = []
        for index in range(gates):
            high = 2 * (first + index) - numbers[2 * index]
            pairs.append((high, high - numbers[2 * index + 1]))
        return cls(inputs, ends, output, pairs)

    def fixed(self, values: Mapping[int, int]) -> bytes:
        """Return the file of the graph with the inputs that `values` names constant."""
        new = self._ends(values)
        kept = self.inputs - len(values)
        builder = _Builder(kept + len(self.latches))
        self._copy(new, builder)
        latches = [_through(new, literal) for literal in self.latches]
        return builder.written(kept, latches, _through(new, self.output))

    def step(self, values: Mapping[int, int], same: Mapping[int, int], over: int | None) -> bytes:
        """Return a circuit of gates alone whose output, if it is never 1, proves this one's is not.

        It says that the output is 1, or that the latches of a pair differ in the next cycle,
        though they do not in this one.

        Parameters
        ----------
        values
            Inputs made constant.
        same
            From a latch to the one that it is to equal; both begin as 0.
        over
            A latch, the output being 0 from the cycle on in which it is 1.

        Returns
        -------
        bytes
            The file; empty where the output is 0 as it is.
        """
        new = self._ends(values)
        base = self.inputs + 1
        for latch, other in same.items():
            new[base + latch] = new[base + other]
        inputs = self.inputs - len(values) + len(self.latches)
        builder = _Builder(inputs)
        self._copy(new, builder)
        after = [_through(new, literal) for literal in self.latches]
        part = 0
        for latch, other in same.items():
            part = builder.either(part, builder.differ(after[latch], after[other]))
        if over is not None:
            part = builder.both(part, after[over] ^ 1)
        bad = builder.either(part, _through(new, self.output))
        return builder.written(inputs, [], bad) if bad else b""

    def _ends(self, values: Mapping[int, int]) -> list[int]:
        """Return what becomes of the variables before the gates."""
        new = [0] + [values.get(index, -1) for index in range(self.inputs)]
        number = 0
        for index in range(1, self.inputs + 1):
            if new[index] < 0:
                number += 1
                new[index] = 2 * number
        return new + [2 * (number + 1 + latch) for latch in range(len(self.latches))]

    def _copy(self, new: list[int], builder: _Builder) -> None:
        for a, b in self.gates:
            new.append(builder.both(_through(new, a), _through(new, b)))


def _through(new: list[int], literal: int) -> int:
    return new[literal >> 1] ^ literal & 1


def _deltas(content: bytes, count: int) -> list[int]:
    """Return numbers of seven bits a byte, the lowest first."""
    numbers: list[int] = []
    number = shift = 0
    for byte in content:
        if len(numbers) == count:
            break
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            numbers.append(number)
            number = shift = 0
    return numbers


def _digits(number: int) -> Iterator[int]:
    while number > 127:
        yield number & 127 | 128
        number >>= 7
    yield number
