"""What one processing element takes of an UltraScale+ FPGA, by the precision modes built.

The element of a 32-row array with its operand, double-buffered weight and partial-sum registers,
synthesised alone by Yosys. No rival publishes the like of a single element: the figures stand
alone.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dybit.hw.processing_element import ProcessingElement
from dybit.hw.resources import count_resources
from dybit.hw.verilog import emit
from dybit.quant.array_config import ArrayConfig
from dybit.sim.toolchain import usable_cores

ARRAY = {"rows": 32, "columns": 32, "max_reduction": 1152, "accumulator_depth": 512}
MODE_SETS = (
    ("W4A4",),
    ("W4A4", "W2A2"),
    ("W8A8", "W4A4"),
    ("W8A8", "W4A4", "W2A2"),
    ("W8A8",),
)


def run() -> list[dict[str, Any]]:
    """Return LUT, FF and DSP of each set of modes, for signed and for both activations."""
    cases = [(modes, activations) for modes in MODE_SETS for activations in ("signed", "both")]
    with TemporaryDirectory(prefix="dybit-bench-") as directory:
        folders = [Path(directory) / str(number) for number in range(len(cases))]
        for folder, (modes, activations) in zip(folders, cases, strict=True):
            array = ArrayConfig.model_validate(ARRAY | {"modes": modes, "activations": activations})
            emit(ProcessingElement(array), "element", folder)
        with ThreadPoolExecutor(usable_cores()) as pool:
            reports = list(pool.map(count_resources, folders))
    return [
        entry
        for case, report in zip(cases, reports, strict=True)
        for entry in _entries(*case, report["total"])
    ]


def _entries(
    modes: tuple[str, ...], activations: str, total: dict[str, float]
) -> list[dict[str, Any]]:
    return [
        {
            "name": f"{' + '.join(modes)}, {activations} activations, {kind.upper()}",
            "value": float(total[kind]),
            "unit": kind.upper(),
        }
        for kind in ("lut", "ff", "dsp")
    ]
