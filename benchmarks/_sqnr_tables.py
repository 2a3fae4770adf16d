"""The SQNR of every row of formats: of populations by their moments, of tensors as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks._sqnr_formats import FAMILY, PLAIN, ROWS
from benchmarks._sqnr_tensors import Tensor
from dybit.quant.distributions import Laplace, Normal, Population, StudentT4
from dybit.quant.format_choice import rate_formats
from dybit.quant.formats import NumberFormat
from dybit.quant.lloyd_max import population_error, sample_errors
from dybit.quant.sqnr import decibels, population_sqnr

LIMIT = "Lloyd-Max limit"
BEHIND = 0.005
"""Decibels under which two formats count as equal: tables have two decimals."""

POPULATIONS: dict[str, tuple[Population, bool]] = {
    "Gaussian": (Normal(), True),
    "Laplace": (Laplace(), True),
    "Student-t(4)": (StudentT4(), True),
    "half-normal, unsigned": (Normal(), False),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """The best of a row's formats: its SQNR in decibels, and its name."""

    sqnr: float
    format: str


@dataclass(frozen=True, slots=True)
class Table:
    """Cells by row and width; rows lack widths they have no format of.

    ``limit`` has the Lloyd-Max limit of each width, infinite where a tensor has no more numbers
    than there are codes.
    """

    name: str
    rows: dict[str, dict[int, Cell]]
    limit: dict[int, float]

    def winner(self, bits: int) -> str:
        """Return the row of the highest SQNR, DyBit where it is as high as any."""
        there = {row: cells[bits].sqnr for row, cells in self.rows.items() if bits in cells}
        most = max(there.values()) - BEHIND
        preferred = [row for row in (PLAIN, FAMILY) if there[row] >= most]
        return (preferred or sorted(there, key=there.__getitem__, reverse=True))[0]

    def markdown(self) -> str:
        """Return the table, the best of each width in bold."""
        widths = sorted(self.limit)
        lines = [f"## {self.name}", "", "| | " + " | ".join(f"{b} bits" for b in widths) + " |"]
        lines.append("|---" * (len(widths) + 1) + "|")
        for row, cells in self.rows.items():
            texts = [f"{cells[b].sqnr:.2f}" if b in cells else "" for b in widths]
            most = [max(c[b].sqnr for c in self.rows.values() if b in c) for b in widths]
            for place, bits in enumerate(widths):
                if bits in cells and cells[bits].sqnr >= most[place] - BEHIND:
                    texts[place] = f"**{texts[place]}**"
            lines.append(f"| {row} | " + " | ".join(texts) + " |")
        limits = [f"{self.limit[b]:.2f}" if np.isfinite(self.limit[b]) else "-" for b in widths]
        lines.append(f"| {LIMIT} | " + " | ".join(limits) + " |")
        best = [self.rows[FAMILY][b].format for b in widths]
        lines += ["", f"{FAMILY}: " + ", ".join(best) + "."]
        behind = [
            f"{b} bits, {self.winner(b)} by "
            f"{self.rows[self.winner(b)][b].sqnr - self.rows[FAMILY][b].sqnr:.2f} dB"
            for b in widths
            if self.winner(b) not in (PLAIN, FAMILY)
        ]
        lines.append("Beaten at: " + ("; ".join(behind) if behind else "no width") + ".")
        return "\n".join([*lines, ""])


def _table(
    name: str,
    signed: bool,
    bits: Sequence[int],
    best: Callable[[Sequence[NumberFormat]], Cell],
    limit: dict[int, float],
) -> Table:
    rows = {
        row: {b: best(formats(b, signed)) for b in bits if formats(b, signed)}
        for row, formats in ROWS.items()
    }
    return Table(name, {row: cells for row, cells in rows.items() if cells}, limit)


def population_table(name: str, bits: Sequence[int]) -> Table:
    """Return the table of one of `POPULATIONS`."""
    population, signed = POPULATIONS[name]

    def best(formats: Sequence[NumberFormat]) -> Cell:
        cells = [Cell(population_sqnr(population, fmt), fmt.name) for fmt in formats]
        return max(cells, key=lambda cell: round(cell.sqnr, 6))

    power = float(population.power[0])
    limit = {b: decibels(power, population_error(population, 1 << b - signed)) for b in bits}
    return _table(name, signed, bits, best, limit)


def tensor_table(tensor: Tensor, bits: Sequence[int]) -> Table:
    """Return the table of a tensor with one scale for all of it."""
    everything = [f for b in bits for formats in ROWS.values() for f in formats(b, tensor.signed)]
    ratings = rate_formats(tensor.values, everything)

    def best(formats: Sequence[NumberFormat]) -> Cell:
        return Cell(ratings.sqnr(formats), ratings.best(formats).format.name)

    errors = sample_errors(tensor.values, 1 << max(bits))
    limit = {
        b: decibels(ratings.power, _counted(errors[(1 << b) - 1], ratings.power)) for b in bits
    }
    return _table(tensor.name, tensor.signed, bits, best, limit)


def _counted(error: float, power: float) -> float:
    """Return an error, 0 where it is what rounding of sums leaves of none."""
    return error if error > 1e-12 * power else 0.0
