"""Charts as SVG that stands in a page: marks have classes, and the page's style sheet the colours.

A chart is 400 units wide, so that it needs no shrinking on a phone. Numbers have two decimals at
most, and nothing depends on when or where a chart is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

__all__ = ["WIDTH", "Anchor", "Axis", "Chart"]

WIDTH = 400
"""Units; text of 12 units is then 11 pixels high on a phone."""

Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True)
class Axis:
    """From values to places.

    Parameters
    ----------
    low, high : float
        Values at the ends.
    start, end : float
        Places of the ends.
    logarithmic : bool
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    @classmethod
    def around(
        cls, values: Sequence[float], start: float, end: float, logarithmic: bool = False
    ) -> Axis:
        """Return an axis that shows all of some values, with a margin."""
        low, high = min(values), max(values)
        if logarithmic:
            margin = max((high / low) ** 0.06, 1.02)
            return cls(low / margin, high * margin, start, end, True)
        margin = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
        return cls(low - margin, high + margin, start, end)

    def place(self, value: float) -> float:
        """Return where a value lies."""
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return round values that lie on the axis, four to eight of them."""
        if self.logarithmic:
            first, last = (math.floor(math.log10(end)) for end in (self.low, self.high))
            found = [digit * 10.0**power for power in range(first, last + 1) for digit in (1, 2, 5)]
            found = [value for value in found if self.low <= value <= self.high]
            if len(found) >= 3:
                return found
        rough = (self.high - self.low) / 4
        power = 10.0 ** math.floor(math.log10(rough))
        step = max(unit * power for unit in (1, 2, 2.5, 5) if unit * power <= rough)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [number * step for number in range(first, last + 1)]


class Chart:
    """A drawing, added to mark by mark.

    Parameters
    ----------
    height : float
        Units.
    label : str
        What it shows, for those who do not see it.
    """

    def __init__(self, height: float, label: str) -> None:
        self.height, self.label = height, label
        self._parts: list[str] = []

    def text(self, x: float, y: float, text: str, kind: str = "", anchor: Anchor = "start") -> None:
        """Write text whose base line begins, has its middle or ends at a place."""
        side = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self._parts.append(
            f'<text x="{_number(x)}" y="{_number(y)}"{_kind(kind)}{side}>{escape(text)}</text>'
        )

    def box(
        self, x: float, y: float, width: float, height: float, kind: str, title: str = ""
    ) -> None:
        """Draw a filled rectangle."""
        shape = (
            f'<rect x="{_number(x)}" y="{_number(y)}" width="{_number(width)}" '
            f'height="{_number(height)}"{_kind(kind)}'
        )
        self._parts.append(_titled(shape, "rect", title))

    def line(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """Draw a line through points."""
        path = " ".join(f"{_number(x)},{_number(y)}" for x, y in points)
        self._parts.append(f'<polyline points="{path}"{_kind(kind)}/>')

    def mark(self, x: float, y: float, kind: str, title: str) -> None:
        """Draw a point: a circle, for greedy choices a diamond, for uniform ones a square.

        A chosen one is larger, one of another second class smaller.
        """
        first, *others = kind.split()
        size = 6.5 if "chosen" in others else 2.5 if others else 4.0
        # A diamond of a circle's size would hide below it.
        size *= 1.4 if first == "greedy" else 1
        if first == "greedy":
            corners = ((x, y - size), (x + size, y), (x, y + size), (x - size, y))
            path = " ".join(f"{_number(a)},{_number(b)}" for a, b in corners)
            self._parts.append(
                _titled(f'<polygon points="{path}"{_kind(f"mark {kind}")}', "polygon", title)
            )
        elif first == "uniform":
            self.box(x - 3.5, y - 3.5, 7, 7, f"mark {kind}", title)
        else:
            shape = f'<circle cx="{_number(x)}" cy="{_number(y)}" r="{_number(size)}"'
            self._parts.append(_titled(shape + _kind(f"mark {kind}"), "circle", title))

    def axes(self, x: Axis, y: Axis, names: tuple[str, str]) -> None:
        """Draw a grid, its values, and the names of both axes."""
        for value in x.ticks():
            place = x.place(value)
            self.line([(place, y.start), (place, y.end)], "grid")
            self.text(place, y.start + 16, f"{value:g}", "tick", "middle")
        for value in y.ticks():
            place = y.place(value)
            self.line([(x.start, place), (x.end, place)], "grid")
            self.text(x.start - 6, place + 4, f"{value:.4g}", "tick", "end")
        self.line([(x.start, y.end), (x.start, y.start), (x.end, y.start)], "axis")
        self.text((x.start + x.end) / 2, y.start + 34, names[0], "name", "middle")
        self.text(2, y.end - 8, names[1], "name")

    def __str__(self) -> str:
        label = escape(self.label, quote=True)
        head = f'<svg viewBox="0 0 {WIDTH} {_number(self.height)}" role="img" aria-label="{label}">'
        return "\n".join([head, *self._parts, "</svg>"])


def _number(value: float) -> str:
    return f"{round(value, 2):g}" if abs(value) < 1e5 else f"{value:.0f}"


def _kind(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _titled(shape: str, element: str, title: str) -> str:
    return f"{shape}><title>{escape(title)}</title></{element}>" if title else f"{shape}/>"
