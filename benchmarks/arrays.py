"""What whole matrix engines take of an UltraScale+ FPGA, beside published accelerators.

Decoders at the edges, elements, accumulators and re-quantisers; memory access and control are not
in it. Rates are at an assumed clock: docs/resources.md says what speaks for it.

The rivals publish one figure each, for accelerators with memory access and control, and their
tools are not at hand: unlike in other benchmarks they are quoted, not run.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dybit.quant.array_config import ArrayConfig
from dybit.scripts.console import progress
from dybit.scripts.resources import NOMINAL_MHZ, gops, resource_report
from dybit.sim.toolchain import usable_cores

ARRAY = {"max_reduction": 1152, "accumulator_depth": 512, "activations": "both"}
CELLS = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram": "BRAM36"}
STEPS = {"lut": "LUT levels", "carry": "carry chains"}

ZCU102 = {"lut": 274_080, "ff": 548_160, "dsp": 2_520, "bram": 912}
ESB_GOPS_PER_KLUT = 10.95
"""ESB, arXiv 2109.03513: peak of an accelerator without DSP blocks on a ZCU102."""
DPU_TOPS = 3.45
"""AMD's DPU, 3 x B4096 at 281 MHz: 8-bit peak on a ZCU102."""


@dataclass(frozen=True)
class Variant:
    """A matrix engine to measure.

    Parameters
    ----------
    rows, columns : int
    array : dict
        Further fields of `ArrayConfig`, over those of `ARRAY`.
    dsp : bool
        Multiplications may take DSP blocks.
    name : str, optional
        What tells it from another of the same size and modes.
    """

    rows: int
    columns: int
    array: dict[str, Any]
    dsp: bool = False
    name: str = ""

    @property
    def config(self) -> ArrayConfig:
        return ArrayConfig.model_validate(
            ARRAY | {"rows": self.rows, "columns": self.columns} | self.array
        )

    def __str__(self) -> str:
        modes = " + ".join(self.array["modes"])
        dsp = "DSP" if self.dsp else "no DSP"
        return ", ".join(filter(None, (f"{self.rows}x{self.columns} {modes}", self.name, dsp)))


ESB = {"family": "esb", "activations": "signed"}
SIZES = ((8, 8), (16, 16), (32, 32))
ON_ZCU102 = Variant(48, 32, {"modes": ("W8A8", "W4A4")}, dsp=True)
SIGNED_ON_ZCU102 = Variant(
    48, 32, {"modes": ("W8A8", "W4A4"), "activations": "signed"}, dsp=True, name="signed"
)
VARIANTS = (
    *(Variant(*size, {"modes": ("W4A4",)}) for size in SIZES),
    *(Variant(*size, {"modes": ("W4A4", "W2A2")}) for size in SIZES),
    *(Variant(*size, {"modes": ("W8A8", "W4A4"), "multiplier": "lut"}) for size in SIZES),
    Variant(16, 16, {"modes": ("W4A4",), "activations": "signed"}, name="signed"),
    *(
        Variant(16, 16, {"modes": ("W4A4",), "esb_k4": k} | ESB, name=f"ESB(4,{k})")
        for k in (0, 1, 2)
    ),
    *(Variant(*size, {"modes": ("W8A8", "W4A4")}, dsp=True) for size in SIZES),
    ON_ZCU102,
    SIGNED_ON_ZCU102,
)


def run() -> list[dict[str, Any]]:
    """Return the figures of every variant, and of the one meant for the ZCU102 beside the DPU."""
    return measured(VARIANTS)


def measured(variants: tuple[Variant, ...]) -> list[dict[str, Any]]:
    """Return the figures of `variants`."""
    # The largest first, so that none is left over at the end.
    order = sorted(range(len(variants)), key=lambda n: -variants[n].rows * variants[n].columns)
    # Processes, for half of the work is Python's; spawned, for the bar has a thread.
    pool = ProcessPoolExecutor(usable_cores(), get_context("spawn"))
    with TemporaryDirectory(prefix="dybit-bench-") as directory, pool, progress() as bar:
        reports = pool.map(
            resource_report,
            [variants[n].config for n in order],
            [Path(directory) / str(n) for n in order],
            [variants[n].dsp for n in order],
        )
        tracked = bar.track(reports, len(order), description="arrays")
        by_number = dict(zip(order, tracked, strict=True))
    entries = [
        entry
        for number, variant in enumerate(variants)
        for entry in _entries(variant, by_number[number])
    ]
    for variant in (ON_ZCU102, SIGNED_ON_ZCU102):
        if variant in variants:
            entries += _on_zcu102(variant, by_number[variants.index(variant)])
    return entries


def _entries(variant: Variant, report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for kind, unit in CELLS.items():
        yield _entry(f"{variant}, {unit}", report["total"][kind], unit)
    for kind, unit in STEPS.items():
        deepest = max(path[kind] for path in report["depth"])
        yield _entry(f"{variant}, logic depth, {unit}", deepest, unit)
    for mode, figures in report["modes"].items():
        rate = figures["gops_per_klut"]
        entry = _entry(f"{variant}, {mode} at {NOMINAL_MHZ} MHz", rate, "GOPS/kLUT")
        if mode == "W4A4" and report["total"]["dsp"] == 0:
            entry["rival"] = f"ESB, published, {ESB_GOPS_PER_KLUT} GOPS/kLUT"
            entry["ratio"] = rate / ESB_GOPS_PER_KLUT
        yield entry


def _on_zcu102(variant: Variant, report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    shares = {kind: report["total"][kind] / number for kind, number in ZCU102.items()}
    for kind, share in shares.items():
        yield _entry(f"{variant}, {CELLS[kind]} of a ZCU102", 100 * share, "%")
    for mode, figures in report["modes"].items():
        rate = gops(figures["macs_per_cycle"]) / 1000
        entry = _entry(f"{variant}, {mode} at {NOMINAL_MHZ} MHz, peak", rate, "TOPS")
        # What does not fit the device is no rival to what does.
        if max(shares.values()) <= 1:
            entry["rival"] = f"DPU 3 x B4096, published, W8A8, {DPU_TOPS} TOPS"
            entry["ratio"] = rate / DPU_TOPS
        yield entry


def _entry(name: str, value: float, unit: str) -> dict[str, Any]:
    return {"name": name, "value": float(value), "unit": unit}
