"""What pages are made of: charts with their legends, tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from dybit.scripts.svg import Chart

__all__ = ["figure", "table"]

KEYS = {
    "exact": "optimal",
    "greedy": "greedy",
    "greedy latency": "greedy descent by latency",
    "greedy ratio": "greedy descent by error for each cycle",
    "uniform": "one mode throughout",
    "exact chosen": "shown below",
    "weights": "weights",
    "activations": "activations",
    "compute": "computing",
    "memory": "waiting for memory, fill and drain",
    "traffic": "traffic alone, a beat a cycle",
}
"""What the marks of charts mean."""


def figure(chart: Chart, text: str, keys: Iterable[str] = ()) -> list[str]:
    """Return a chart below its caption and what its marks mean, some of `KEYS`."""
    legend = "".join(f'<li><i class="{key}"></i>{escape(KEYS[key])}</li>' for key in keys)
    return [
        "<figure>",
        f"<figcaption>{escape(text)}</figcaption>",
        *([f'<ul class="legend">{legend}</ul>'] if legend else []),
        str(chart),
        "</figure>",
    ]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> list[str]:
    """Return a table whose first columns are text, in a box that scrolls by itself."""

    number = ' class="n"'

    def cells(values: Sequence[str], element: str) -> str:
        return "".join(
            f"<{element}{number if place >= texts else ''}>{escape(value)}</{element}>"
            for place, value in enumerate(values)
        )

    return [
        '<div class="scroll" tabindex="0"><table>',
        f"<thead><tr>{cells(columns, 'th')}</tr></thead>",
        "<tbody>",
        *(f"<tr>{cells(row, 'td')}</tr>" for row in rows),
        "</tbody>",
        "</table></div>",
    ]
