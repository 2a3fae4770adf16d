"""What the accuracy benchmark found: losses with their intervals, as entries, table and picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from benchmarks._accuracy_plan import TARGETS, Method, Plan
from dybit.scripts.console import replacing
from dybit.scripts.demo_plot import FAINT, SOFT, STYLE

__all__ = ["HEADINGS", "Estimate", "Report"]

HEADINGS = {
    "dybit": "DyBit",
    "dybit-plain": "DyBit, plain",
    "esb": "ESB",
    "esb-aligned": "ESB, aligned",
    "int": "INT",
    "minifloat": "E2M1",
    "brevitas-int": "Brevitas INT",
    "brevitas-e2m1": "Brevitas E2M1",
}
"""Families as tables name them; minifloats of 8 bits have the split that errs least."""

COLOURS = ("#0a9396", "#005f73", "#9b2226", "#e07a5f", "#ee9b00", "#ca6702", "#8d99ae", "#5c677d")
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean of paired differences.

    Attributes
    ----------
    mean : float
        Points of accuracy.
    reach : float, optional
        Half of the 95 % interval, by Student's t; None where there is one difference alone.
    """

    mean: float
    reach: float | None

    @classmethod
    def of(cls, differences: NDArray[np.float64]) -> Estimate:
        """Return the estimate of the mean of `differences`."""
        count = len(differences)
        if count == 1:
            return cls(float(differences[0]), None)
        quantile = stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)
        error = differences.std(ddof=1) / np.sqrt(count)
        return cls(float(differences.mean()), float(quantile * error))

    def __str__(self) -> str:
        reach = "" if self.reach is None else f" ± {self.reach:.2f}"
        return f"{self.mean:.2f}{reach}"


class Report:
    """The results of a plan, read from its cache."""

    def __init__(self, plan: Plan, cache: Path) -> None:
        self.plan = plan
        self._right: dict[tuple[str, str], NDArray[np.float64]] = {}
        names = ["fp32", *(method.name for method in plan.methods)]
        for network in plan.networks:
            units = [unit for unit in plan.units() if unit.network == network]
            for name in names:
                paths = [unit.folder(cache) / f"{name}.json" for unit in units]
                shares = [np.mean(json.loads(path.read_text())["right"]) for path in paths]
                self._right[network, name] = 100 * np.array(shares)

    def accuracy(self, network: str, name: str = "fp32") -> float:
        """Return a mean accuracy in percent."""
        return float(self._right[network, name].mean())

    def loss(self, network: str, method: Method) -> Estimate:
        """Return by how much a method is below FP32."""
        return Estimate.of(self._right[network, "fp32"] - self._right[network, method.name])

    def behind(self, network: str, method: Method, other: Method) -> Estimate:
        """Return by how much a method is below another."""
        return Estimate.of(self._right[network, other.name] - self._right[network, method.name])

    def settings(self) -> dict[str, list[Method]]:
        """Return the methods by setting, in order of `HEADINGS`."""
        order = list(HEADINGS)
        found: dict[str, list[Method]] = {}
        for method in self.plan.methods:
            found.setdefault(method.setting, []).append(method)
        return {
            setting: sorted(methods, key=lambda method: order.index(method.family))
            for setting, methods in found.items()
        }

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield the figures for the bench file; losses in points of accuracy."""
        for network in self.plan.networks:
            yield {
                "name": f"{network}, FP32 accuracy",
                "value": self.accuracy(network),
                "unit": "%",
            }
            for setting, methods in self.settings().items():
                for method in methods:
                    loss = self.loss(network, method)
                    name = f"{network}, {setting}, {HEADINGS[method.family]}"
                    yield {"name": f"{name}, loss", "value": loss.mean, "unit": "points"}
                    if loss.reach is not None:
                        yield {
                            "name": f"{name}, half of its 95 % interval",
                            "value": loss.reach,
                            "unit": "points",
                        }
                yield from self._beside(network, setting, methods)

    def _beside(
        self, network: str, setting: str, methods: Sequence[Method]
    ) -> Iterator[dict[str, Any]]:
        ours = self.accuracy(network, methods[0].name)
        for rival in methods[1:]:
            if rival.family.startswith("brevitas"):
                theirs = self.accuracy(network, rival.name)
                label = HEADINGS[rival.family]
                yield {
                    "name": f"{network}, {setting}, accuracy beside {label}",
                    "value": ours,
                    "unit": "%",
                    "rival": f"{label}, {theirs:.2f} %",
                    "ratio": ours / theirs,
                }

    def rows(self, network: str) -> Iterator[list[str]]:
        """Yield the cells of a table: a heading, then each family; the least losses are bold."""
        settings = self.settings()
        yield ["", *settings]
        losses = {
            (method.family, setting): self.loss(network, method)
            for setting, methods in settings.items()
            for method in methods
        }
        for family, heading in HEADINGS.items():
            cells = [heading]
            for setting, methods in settings.items():
                least = min(losses[method.family, setting].mean for method in methods)
                loss = losses.get((family, setting))
                bold = "**" if loss is not None and loss.mean == least else ""
                cells.append("" if loss is None else f"{bold}{loss}{bold}")
            if any(cells[1:]):
                yield cells

    def markdown(self) -> str:
        """Return tables, what they say against DyBit, and how it stands to its targets."""
        plan = self.plan
        lines = [
            "# Accuracy on handwritten digits",
            "",
            f"Points of accuracy lost against FP32, mean and half of the 95 % interval over "
            f"{plan.folds} folds x {len(plan.seeds)} seeds (Student's t on paired differences). "
            "Negative is better than FP32; the least loss is bold.",
        ]
        for network in plan.networks:
            lines += ["", f"## {network}, FP32 {self.accuracy(network):.2f} %", ""]
            heading, *rows = (f"| {' | '.join(cells)} |" for cells in self.rows(network))
            lines += [heading, "|" + "---|" * heading.count(" | ") + "---|", *rows]
            lines += ["", *self.remarks(network)]
        return "\n".join(lines) + "\n"

    def remarks(self, network: str) -> Iterator[str]:
        """Yield a line for each target, and for each setting that DyBit does not win."""
        for setting, methods in self.settings().items():
            ours = methods[0]
            if setting in TARGETS:
                loss, most = self.loss(network, ours).mean, TARGETS[setting]
                verdict = "met" if loss <= most else "missed"
                yield f"- {setting}: DyBit loses {loss:.2f}, target {most}: {verdict}."
            best = min(methods, key=lambda method: self.loss(network, method).mean)
            if best is not ours and self.behind(network, ours, best).mean > 0:
                behind = self.behind(network, ours, best)
                yield f"- {setting}: DyBit is behind {HEADINGS[best.family]} by {behind}."

    def plot(self, path: Path) -> None:
        """Draw the losses with their intervals, a panel a network."""
        hashed = {"svg.hashsalt": "accuracy", "svg.fonttype": "none"}
        with rc_context(STYLE | hashed):
            networks = self.plan.networks
            figure = Figure(figsize=(11, 1 + 3.2 * len(networks)), facecolor="white")
            FigureCanvasSVG(figure)
            panels = figure.subplots(len(networks), 1, squeeze=False).ravel()
            for axes, network in zip(panels, networks, strict=True):
                self._draw(axes, network)
            handles, labels = panels[0].get_legend_handles_labels()
            unique = dict(zip(labels, handles, strict=True))
            figure.legend(
                unique.values(), unique.keys(), loc="lower center", ncols=4, frameon=False
            )
            figure.tight_layout(rect=(0, 0.22 / (1 + len(networks)), 1, 1))
            with replacing(path) as file:
                figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})

    def _draw(self, axes: Axes, network: str) -> None:
        settings = self.settings()
        width = 0.8 / len(HEADINGS)
        for place, methods in enumerate(settings.values()):
            for method in methods:
                index = list(HEADINGS).index(method.family)
                loss = self.loss(network, method)
                axes.errorbar(
                    place + (index - len(HEADINGS) / 2 + 0.5) * width,
                    loss.mean,
                    loss.reach,
                    marker="o",
                    markersize=4,
                    capsize=2,
                    linewidth=1.2,
                    color=COLOURS[index],
                    label=HEADINGS[method.family],
                )
            target = TARGETS.get(list(settings)[place])
            if target is not None:
                axes.hlines(target, place - 0.45, place + 0.45, color=SOFT, linestyle=":")
        axes.axhline(0, color=FAINT, linewidth=1)
        axes.set_yscale("symlog", linthresh=2)
        axes.set_xticks(range(len(settings)), list(settings))
        axes.set_ylabel("points lost")
        axes.set_title(f"{network}, FP32 {self.accuracy(network):.2f} %")
