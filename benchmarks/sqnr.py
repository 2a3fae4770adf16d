"""Signal-to-noise ratio of every format at 2 to 8 bits, beside the Lloyd-Max limit.

Populations (Gaussian, Laplace, Student-t(4), half-normal) by their moments, without samples; and
tensors of a trained CNN. Then what it buys to choose a format for each tensor: of all in software,
and of what built arrays decode. Besides the entries there are the tables, ``sqnr.md``, and
pictures, ``sqnr-populations.svg`` and ``sqnr-tensors.svg``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._sqnr_choice import WIDTHS, entries, held_out
from benchmarks._sqnr_formats import BITS
from benchmarks._sqnr_plots import plot_widths
from benchmarks._sqnr_tables import LIMIT, POPULATIONS, Table, population_table, tensor_table
from benchmarks._sqnr_tensors import tensors
from dybit.scripts import digits
from dybit.scripts.console import write

SEEDS = (0, 1, 2)
HEAD = """# Signal-to-quantisation-noise ratios

Decibels, each format at its best scale (one for the tensor). The best of each width is bold, and
where that is not DyBit the line below the table says so. Plain DyBit has the values of flint and,
signed, of the posit of es 0. ANT adaptive chooses from integer, flint and power of two.
"""


def run(
    folder: Path = Path("build/bench"),
    bits: Sequence[int] = BITS,
    seeds: Sequence[int] = SEEDS,
    epochs: int = digits.EPOCHS,
) -> list[dict[str, Any]]:
    """Return the ratios, the wins and gains of choices, and write tables and pictures."""
    models = [digits.train(seed, epochs=epochs)[0] for seed in seeds]
    populations = [population_table(name, bits) for name in POPULATIONS]
    real = [tensor_table(tensor, bits) for tensor in tensors(models[0])]
    texts = [HEAD, *(table.markdown() for table in (*populations, *real))]
    write(folder / "sqnr.md", "\n".join(texts))
    plot_widths(folder / "sqnr-populations.svg", "Populations", populations)
    plot_widths(folder / "sqnr-tensors.svg", "Tensors of a CNN for handwritten digits", real)
    several = [tensor for model in models for tensor in tensors(model)]
    return [
        *(entry for table in (*populations, *real) for entry in ratios(table)),
        *entries(several, [width for width in WIDTHS if width in bits]),
        *held_out(models[0], bits),
    ]


def ratios(table: Table) -> Iterator[dict[str, Any]]:
    """Yield the cells of a table, beside the limit where there is one."""
    for row, cells in table.rows.items():
        for bits, cell in cells.items():
            if not np.isfinite(cell.sqnr):
                continue
            limit = table.limit[bits]
            beside = {
                "rival": f"{LIMIT}, {limit:.2f} dB",
                "ratio": float(10 ** ((cell.sqnr - limit) / 10)),
            }
            yield {
                "name": f"{table.name}, {bits} bits, {row}",
                "value": cell.sqnr,
                "unit": "dB",
                **(beside if np.isfinite(limit) else {}),
            }
