"""What one processing element takes of an UltraScale+ FPGA, and how fast one of ECP5 clocks it.

The element of a 32-row array with its operand, double-buffered weight and partial-sum registers,
synthesised alone and flat. No rival publishes the like of a single element: the figures stand
alone. docs/resources.md says how they are measured and what they do not say.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dybit.hw.ecp5 import SEEDS, measure_ecp5
from dybit.hw.processing_element import ProcessingElement
from dybit.hw.resources import count_resources
from dybit.hw.verilog import emit
from dybit.quant.array_config import ArrayConfig
from dybit.scripts.console import progress
from dybit.scripts.resources import NOMINAL_MHZ, gops
from dybit.sim.toolchain import usable_cores

ARRAY = {"rows": 32, "columns": 32, "max_reduction": 1152, "accumulator_depth": 512}
ACTIVATIONS = ("signed", "both")
CELLS = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "carry": "CARRY8"}
STEPS = {"lut": "LUT levels", "carry": "carry chains", "dsp": "DSP blocks"}


@dataclass(frozen=True)
class Variant:
    """An element to measure.

    Parameters
    ----------
    name : str
        What tells it from the others.
    array : dict
        Fields of `ArrayConfig`, over those of `ARRAY`; `activations` is set to each in turn.
    dsp : bool
        Multiplications may take DSP blocks.
    ecp5 : bool
        It is also placed for ECP5: not so where it instantiates cells of UltraScale+.
    """

    name: str
    array: dict[str, Any]
    dsp: bool = False
    ecp5: bool = True

    @property
    def activations(self) -> tuple[str, ...]:
        """Signednesses to build it for; ESB has but one."""
        return ACTIVATIONS[:1] if self.array.get("family") == "esb" else ACTIVATIONS


LUT = {"multiplier": "lut"}
ESB = {"family": "esb"}
VARIANTS = (
    Variant("W4A4", {"modes": ("W4A4",)}),
    Variant("W4A4 + W2A2", {"modes": ("W4A4", "W2A2")}),
    Variant("W8A8 + W4A4", {"modes": ("W8A8", "W4A4")} | LUT),
    Variant("W8A8 + W4A4, DSP", {"modes": ("W8A8", "W4A4")}, dsp=True),
    Variant("W8A8 + W4A4 + W2A2", {"modes": ("W8A8", "W4A4", "W2A2")} | LUT),
    Variant("W8A8 + W4A4 + W2A2, DSP", {"modes": ("W8A8", "W4A4", "W2A2")}, dsp=True),
    Variant("W8A8", {"modes": ("W8A8",)} | LUT),
    Variant("W8A8, DSP", {"modes": ("W8A8",)}, dsp=True),
    Variant(
        "W4A4, limit 2",
        {"modes": ("W4A4",), "weight_exponent_limit": 2, "activation_exponent_limit": 2},
    ),
    Variant("W4A4, limit 2 or 3 an operand", {"modes": ("W4A4",), "run_time_limits": [2, 3]}),
    Variant("W4A4, limit 1 to 3 an operand", {"modes": ("W4A4",), "run_time_limits": [1, 2, 3]}),
    *(Variant(f"ESB(4,{k}) W4A4", {"modes": ("W4A4",), "esb_k4": k} | ESB) for k in (0, 1, 2)),
    Variant("ESB W8A8 + W4A4", {"modes": ("W8A8", "W4A4")} | ESB | LUT),
    Variant("ESB W8A8 + W4A4, DSP", {"modes": ("W8A8", "W4A4")} | ESB, dsp=True),
)


def run() -> list[dict[str, Any]]:
    """Return the figures of every variant, for signed and for both activations."""
    return measured(VARIANTS)


def measured(variants: tuple[Variant, ...], seeds: tuple[int, ...] = SEEDS) -> list[dict[str, Any]]:
    """Return the figures of `variants`."""
    cases = [
        (variant, ArrayConfig.model_validate(ARRAY | variant.array | {"activations": activations}))
        for variant in variants
        for activations in variant.activations
    ]
    with TemporaryDirectory(prefix="dybit-bench-") as directory, progress() as bar:
        folders = [Path(directory) / str(number) for number in range(len(cases))]
        for folder, (_, array) in zip(folders, cases, strict=True):
            emit(ProcessingElement(array), "element", folder)

        def measure(folder: Path, variant: Variant) -> dict[str, Any]:
            report: dict[str, Any] = count_resources(folder, blocks=(), dsp=variant.dsp)
            report["ecp5"] = measure_ecp5(folder, variant.dsp, seeds) if variant.ecp5 else None
            return report

        with ThreadPoolExecutor(usable_cores()) as pool:
            reports = pool.map(measure, folders, [variant for variant, _ in cases])
            reports = list(bar.track(reports, len(cases), description="elements"))
    entries, lut = [], {}
    for (variant, array), report in zip(cases, reports, strict=True):
        entries += _entries(variant, array, report)
        lut[variant.name, array.activations] = report["total"]["lut"]
    for variant in variants:
        if "both" not in variant.activations:
            continue
        ratio = lut[variant.name, "both"] / lut[variant.name, "signed"]
        entries.append(_entry(f"{variant.name}, LUT, both by signed activations", ratio, "ratio"))
    return entries


def _entries(
    variant: Variant, array: ArrayConfig, report: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    prefix = f"{variant.name}, {array.activations} activations"
    total, ecp5 = report["total"], report["ecp5"]
    for kind, unit in CELLS.items():
        yield _entry(f"{prefix}, {unit}", total[kind], unit)
    for kind, unit in STEPS.items():
        deepest = max(path[kind] for path in report["depth"])
        yield _entry(f"{prefix}, logic depth, {unit}", deepest, unit)
    for mode in array.modes:
        name = f"{prefix}, {mode} at {NOMINAL_MHZ} MHz"
        yield _entry(name, gops(mode.macs) / (total["lut"] / 1000), "GOPS/kLUT")
    if ecp5 is not None:
        yield _entry(f"{prefix}, ECP5, LUT4", ecp5["lut"], "LUT4")
        yield _entry(f"{prefix}, ECP5, FF", ecp5["ff"], "FF")
        yield _entry(f"{prefix}, ECP5, highest clock", ecp5["fmax_mhz"], "MHz")


def _entry(name: str, value: float, unit: str) -> dict[str, Any]:
    return {"name": name, "value": float(value), "unit": unit}
