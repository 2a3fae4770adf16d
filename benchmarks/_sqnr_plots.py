"""The SQNR tables as pictures: how far each row stays below the Lloyd-Max limit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from benchmarks._sqnr_formats import ADAPTIVE, FAMILY, INTEGER, MINIFLOAT, PLAIN, ROWS
from benchmarks._sqnr_tables import Table
from dybit.scripts.console import replacing
from dybit.scripts.demo_plot import FAINT, INK, SOFT, STYLE

COLOURS = {
    FAMILY: "#0a9396",
    PLAIN: "#005f73",
    INTEGER: "#ee9b00",
    MINIFLOAT: "#ca6702",
    "ESB, best k": "#9b2226",
    ADAPTIVE: "#7d8c3c",
    "NF": "#8e5ea2",
    "posit es 1": "#3d7dca",
    "posit es 2": "#9db8d2",
    "power of two": FAINT,
}
OURS = {"linewidth": 2.6, "zorder": 4}
OTHERS = {"linewidth": 1.3}
# Dashes on top: other lines run along it.
EXTRAS = {FAMILY: OURS, PLAIN: OURS, MINIFLOAT: OTHERS | {"linestyle": (0, (2, 2)), "zorder": 5}}
SVG = {"svg.hashsalt": "sqnr", "svg.fonttype": "none"}
# What would make two runs differ: the date, the library's version.
NOTHING = {"Date": None, "Creator": None}


def plot_widths(path: Path, title: str, tables: Sequence[Table]) -> None:
    """Draw every row's loss by width, a panel a table; crosses where DyBit is beaten."""
    with rc_context(STYLE | SVG):
        columns = 2
        rows = -(-len(tables) // columns)
        figure = Figure(figsize=(12, 0.9 + 4.1 * rows), facecolor="white")
        FigureCanvasSVG(figure)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, table in zip(panels, tables, strict=False):
            _draw_losses(axes, table)
        for axes in panels[len(tables) :]:
            axes.axis("off")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.suptitle(title, x=0.02, ha="left", fontweight="bold", fontsize=14)
        figure.legend(handles, labels, loc="lower center", ncols=4, frameon=False)
        figure.tight_layout(rect=(0, 0.09 if rows > 1 else 0.16, 1, 0.99))
        with replacing(path) as file:
            figure.savefig(file, format="svg", metadata=NOTHING)


def _draw_losses(axes: Axes, table: Table) -> None:
    widths = [bits for bits in sorted(table.limit) if np.isfinite(table.limit[bits])]
    for row in ROWS:
        cells = table.rows.get(row, {})
        there = [bits for bits in widths if bits in cells]
        losses = [cells[bits].sqnr - table.limit[bits] for bits in there]
        style = {"marker": "o", "markersize": 3, "color": COLOURS[row]} | EXTRAS.get(row, OTHERS)
        # Rows a table lacks still have their place in the legend.
        axes.plot(there, losses, label=row, **style)
    for bits in widths:
        winner = table.winner(bits)
        if winner in (FAMILY, PLAIN):
            continue
        ahead = table.rows[winner][bits].sqnr - table.limit[bits]
        ours = table.rows[FAMILY][bits].sqnr - table.limit[bits]
        axes.vlines(bits, ours, ahead, color=INK, linewidth=0.8, zorder=5)
        axes.plot([bits], [ours], "x", color=INK, markersize=9, markeredgewidth=2, zorder=6)
        axes.annotate(
            f"{winner.split(',')[0]} +{ahead - ours:.2f}",
            (bits, ahead),
            (4, 4),
            textcoords="offset points",
            fontsize=7,
            color=SOFT,
        )
    axes.axhline(0, color=SOFT, linewidth=1)
    lowest = min(
        cells[bits].sqnr - table.limit[bits]
        for row, cells in table.rows.items()
        if row in (FAMILY, PLAIN, INTEGER, MINIFLOAT)
        for bits in widths
        if bits in cells
    )
    axes.set_ylim(max(lowest, -8) - 0.7, 0.5)
    axes.set_xticks(widths)
    axes.set_xlabel("bits")
    axes.set_ylabel("dB below the Lloyd-Max limit")
    axes.set_title(table.name)
