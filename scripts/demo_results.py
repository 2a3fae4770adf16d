"""What the demo found: its table and its summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from dybit.quant.network import QuantNetwork
from dybit.scripts.console import machine
from dybit.scripts.simulate import Simulation

__all__ = ["Result", "summary", "table"]


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One config, quantised and run.

    Attributes
    ----------
    network : QuantNetwork
    images : int
        Test images run on the RTL.
    test_images : int
        All there are.
    accuracy : float
        Of the golden model, on all of them.
    agreement : float
        Fraction of its codes that the fake-quantised model in torch has too.
    simulation : Simulation
    """

    network: QuantNetwork
    images: int
    test_images: int
    accuracy: float
    agreement: float
    simulation: Simulation

    @property
    def name(self) -> str:
        """The config's."""
        return self.network.config.name

    @property
    def cycles(self) -> int:
        """RTL cycles over all images and layers."""
        return self.simulation.total("cycles")


def summary(
    fp32_accuracy: float, results: Sequence[Result], seconds: float, steps: dict[str, float]
) -> dict[str, Any]:
    """Return what summary.json holds: totals first, then details.

    Accuracies are fractions of 1. ``speedup`` is the first config's RTL cycles over each one's;
    the names with ``rtl_`` are totals over all configs.
    """
    array = results[0].network.config.array

    def total(field: str) -> int:
        return sum(result.simulation.total(field) for result in results)

    return {
        "fp32_accuracy": fp32_accuracy,
        "accuracy": {result.name: result.accuracy for result in results},
        "speedup": {result.name: results[0].cycles / result.cycles for result in results},
        "rtl_images": sum(result.images for result in results),
        "rtl_values_compared": total("compared"),
        "rtl_mismatches": total("mismatches"),
        "rtl_cycles": total("cycles"),
        "seconds": round(seconds, 1),
        "steps": {name: round(duration, 1) for name, duration in steps.items()},
        "machine": machine(),
        "array": {
            "rows": array.rows,
            "columns": array.columns,
            "modes": [mode.name for mode in array.modes],
        },
        "configs": {
            result.name: {
                "agreement_with_torch": result.agreement,
                "first_mismatch": result.simulation.first_mismatch,
                "layers": [asdict(layer) for layer in result.simulation.layers],
            }
            for result in results
        },
    }


def table(fp32_accuracy: float, results: Sequence[Result]) -> Table:
    """Return the results side by side, FP32 first."""
    array = results[0].network.config.array
    title = f"{results[0].images} images on {array.rows} x {array.columns} elements"
    grid = Table(title=f"{title}, RTL against golden model")
    grid.add_column("config")
    for heading in ("accuracy", "MACs", "RTL cycles", "MACs/cycle", "speed-up"):
        grid.add_column(heading, justify="right")
    for heading in ("values compared", "mismatches"):
        grid.add_column(heading, justify="right")
    grid.add_row("FP32", f"{fp32_accuracy:.2%}")
    grid.add_section()
    for result in results:
        macs, compared, mismatches = map(
            result.simulation.total, ("macs", "compared", "mismatches")
        )
        grid.add_row(
            result.name,
            f"{result.accuracy:.2%}",
            f"{macs:,}",
            f"{result.cycles:,}",
            f"{macs / result.cycles:.1f}",
            f"{results[0].cycles / result.cycles:.2f}x",
            f"{compared:,}",
            f"{mismatches:,}",
            style="bold red" if mismatches else None,
        )
    return grid
