"""The demo's picture: what precision costs, what it buys, and how DyBit's levels meet the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import nn

from dybit.quant.network import Conv2d, Linear, QuantNetwork
from dybit.quant.torch import prepare
from dybit.scripts.demo_results import Result

__all__ = ["LayerValues", "layer_values", "plot"]

INK = "#22303c"
SOFT = "#5b6b78"
FAINT = "#b4bfc8"
LAYER_COLOURS = ("#94d2bd", "#0a9396", "#005f73", "#ee9b00", "#ca6702", "#9b2226")
WEIGHTS, INPUTS = "#0a9396", "#ee9b00"
BESIDE: dict[str, Any] = {"textcoords": "offset points"}
LEGEND: dict[str, Any] = {"frameon": False, "borderaxespad": 0, "handlelength": 1}
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True, slots=True, eq=False)
class LayerValues:
    """The real numbers that a layer's codes stand for, each divided by its scale.

    Attributes
    ----------
    layer : Conv2d or Linear
    weights, input : ndarray of float
    """

    layer: Conv2d | Linear
    weights: NDArray[np.float64]
    input: NDArray[np.float64]


def layer_values(
    model: nn.Module, network: QuantNetwork, images: NDArray[np.float32]
) -> Iterator[LayerValues]:
    """Yield weights and inputs of each layer as they were before `network` rounded them."""
    prepared = prepare(model, network.config, torch.from_numpy(images[:1]))
    layers = {layer.name: layer for layer in network.compute_layers}
    with torch.no_grad():
        entering = torch.from_numpy(images)
        for stage, leaving in prepared.steps(torch.from_numpy(images)):
            if stage is not None and stage.name in layers:
                layer = layers[stage.name]
                weights = stage.get_parameter("weight").double().numpy()
                weights = weights.reshape(layer.outputs, -1) / layer.weight_scale[:, None]
                yield LayerValues(layer, weights, entering.double().numpy() / layer.input.scale)
            entering = leaving


def plot(
    path: Path,
    fp32_accuracy: float,
    results: Sequence[Result],
    drawn: str,
    values: Sequence[LayerValues],
) -> None:
    """Draw accuracies, cycles and distributions into a PNG file; equal results, equal bytes.

    Parameters
    ----------
    path : Path
    fp32_accuracy : float
    results : sequence of Result
    drawn : str
        Name of the result whose distributions are drawn.
    values : sequence of LayerValues
        Of its layers.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(13, 9), dpi=120, facecolor="white")
        FigureCanvasAgg(figure)
        shown = {"left": 0.02, "right": 0.985}
        upper = figure.add_gridspec(
            1,
            2,
            left=0.095,
            right=0.985,
            top=0.86,
            bottom=0.645,
            width_ratios=(1, 1.5),
            wspace=0.1,
        )
        accuracies = {"FP32": fp32_accuracy} | {each.name: each.accuracy for each in results}
        _draw_accuracies(figure.add_subplot(upper[0]), accuracies, results[0].test_images)
        _draw_cycles(figure.add_subplot(upper[1]), results)
        lower = figure.add_gridspec(
            2, len(values), **shown, top=0.51, bottom=0.045, hspace=0.42, wspace=0.1
        )
        for column, each in enumerate(values):
            _draw_values(figure.add_subplot(lower[0, column]), each, "weights")
            _draw_values(figure.add_subplot(lower[1, column]), each, "input")
        total = sum(result.simulation.total("compared") for result in results)
        wrong = sum(result.simulation.total("mismatches") for result in results)
        _head(
            figure,
            0.975,
            16,
            "Handwritten digits in DyBit, on generated hardware",
            f"{results[0].images} images a config through the RTL; {total:,} values compared with "
            f"the golden model, {wrong:,} mismatches",
        )
        _head(
            figure,
            0.595,
            12,
            f"What {drawn} rounds, and to what",
            "real values of each layer over their scale; below them, a line at every DyBit level",
        )
        # The library would sign with its version.
        figure.savefig(path, format="png", metadata={"Software": None})


def _head(figure: Figure, y: float, size: float, title: str, text: str) -> None:
    figure.text(0.02, y, title, va="top", fontsize=size, fontweight="bold")
    figure.text(0.02, y - 0.0025 * size, text, va="top", color=SOFT)


def _draw_accuracies(axes: Axes, accuracies: dict[str, float], images: int) -> None:
    """Draw accuracies with the 95 % interval (Wilson's) that so many test images leave open."""
    shares = np.array(list(accuracies.values()))
    z = 1.96
    centre = (shares + z * z / (2 * images)) / (1 + z * z / images)
    spread = z * np.sqrt(shares * (1 - shares) / images + (z / (2 * images)) ** 2)
    spread /= 1 + z * z / images
    rows = np.arange(len(shares))
    axes.hlines(rows, 100 * (centre - spread), 100 * (centre + spread), color=FAINT, linewidth=5)
    axes.scatter(100 * shares, rows, s=60, color=[INK, *[WEIGHTS] * (len(rows) - 1)], zorder=3)
    for row, share in enumerate(shares):
        axes.annotate(f"{share:.2%}", (100 * share, row), (0, 7), **BESIDE, ha="center")
    axes.set_yticks(rows, list(accuracies), fontweight="bold")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(right=100)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter("{x:g} %")
    axes.set_title(f"accuracy on {images} test images, and its 95 % interval")


def _draw_cycles(axes: Axes, results: Sequence[Result]) -> None:
    """Draw each config's cycles an image, layer after layer."""
    for row, result in enumerate(results, start=1):
        left = 0.0
        for index, layer in enumerate(result.simulation.layers):
            width = layer.cycles / result.images
            colour = LAYER_COLOURS[index % len(LAYER_COLOURS)]
            label = layer.name if row == 1 else None
            axes.barh(row, width, 0.62, left, color=colour, label=label)
            left += width
        text = f"{left:,.0f}  ({results[0].cycles / result.cycles:.2f}x)"
        axes.annotate(text, (left, row), (6, 0), **BESIDE, va="center", fontweight="bold")
    axes.set_ylim(len(results) + 0.5, -0.5)
    axes.set_yticks([])
    axes.set_xlim(0, 1.2 * results[0].cycles / results[0].images)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.legend(loc="upper left", ncols=len(results[0].simulation.layers), **LEGEND)
    axes.set_title("RTL cycles an image, by layer (and speed-up)")


def _draw_values(axes: Axes, values: LayerValues, operand: str) -> None:
    """Draw a histogram of real values above a strip with a line at each level."""
    layer = values.layer
    weights = operand == "weights"
    fmt = layer.weight_format if weights else layer.input.format
    x = (values.weights if weights else values.input).ravel()
    colour = WEIGHTS if weights else INPUTS
    zeros = float(np.mean(x == 0))
    x = x[x != 0]
    reach = 1.06 * float(np.abs(x).max())
    low = -reach if x.min() < 0 else 0.0
    levels = fmt.values[(fmt.values >= low) & (fmt.values <= reach)]
    bins = int(np.clip(2 * np.sqrt(x.size), 12, 96))
    density, edges = np.histogram(x, bins, (low, reach), density=True)
    height = density.max()
    axes.stairs(density, edges, fill=True, color=colour, alpha=0.45)
    axes.stairs(density, edges, color=colour, linewidth=0.8)
    few = fmt.bits <= 4
    axes.vlines(levels, -0.17 * height, -0.03 * height, color=INK, linewidth=1.2 if few else 0.4)
    if few:
        axes.vlines(levels, 0, 1.05 * height, color=INK, linewidth=0.4, alpha=0.35)
    axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.set_xlim(low - 0.02 * reach, reach)
    axes.set_ylim(-0.2 * height, 1.08 * height)
    axes.set_yticks([])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set_title(f"{layer.name}: {operand} in {fmt.name}")
    note = layer.mode.name if weights else f"+ {zeros:.0%} zeros"
    axes.set_title(note, loc="right", color=SOFT, fontweight="normal", fontsize=9)
