"""``make resources``: what the accelerator of a config takes of an FPGA."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from dybit.hw.resources import KINDS, count_resources
from dybit.quant.array_config import ArrayConfig
from dybit.quant.config import QuantConfig
from dybit.scripts.console import console, run, write
from dybit.scripts.verilog import emit_array

__all__ = ["BLOCKS", "NOMINAL_MHZ", "gops", "resource_report", "resources"]

DEVICE = "UltraScale+ (Yosys synth_xilinx -family xcup)"

BLOCKS = (
    "SystolicArray",
    "MPDecoder",
    "ProcessingElement",
    "Accumulator",
    "Requantizer",
    "Encoder",
)
"""Blocks that are counted one by one. What is inside a processing element is optimised with it."""

NOMINAL_MHZ = 300
"""Clock at which rates are stated. No tool at hand times UltraScale+: it is an assumption."""


def gops(macs: int) -> float:
    """Return 10^9 operations a second of `macs` multiply-accumulates, two operations each."""
    return 2 * macs * NOMINAL_MHZ / 1000


def resource_report(array: ArrayConfig, directory: Path, dsp: bool = True) -> dict[str, Any]:
    """Emit the matrix engine of `array` into `directory` and return what it takes and does.

    Without `dsp`, every multiplication is built from LUTs.
    """
    manifest = emit_array(array, directory)
    counted = count_resources(directory, BLOCKS, dsp)
    macs = {mode: array.rows * array.columns * mode.macs for mode in array.modes}
    return {
        "device": DEVICE,
        "content_hash": manifest["content_hash"],
        **counted,
        "nominal_mhz": NOMINAL_MHZ,
        "modes": {
            mode.name: {
                "macs_per_cycle": macs[mode],
                "gops_per_klut": gops(macs[mode]) / (counted["total"]["lut"] / 1000),
                "partial_sum_lanes": mode.lanes,
                "partial_sum_lane_bits": array.partial_sum_lane_bits(mode),
                "accumulator_lane_bits": array.accumulator_lane_bits(mode),
            }
            for mode in array.modes
        },
        "partial_sum_bits": array.partial_sum_bits,
        "accumulator_bits": array.accumulator_bits,
    }


def resources(
    config: Annotated[Path, typer.Option(help="Quant config.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File; default: build/resources/<config>.json."),
    ] = None,
    dsp: Annotated[bool, typer.Option(help="Multiplications may take DSP blocks.")] = True,
) -> None:
    """Count the LUT, FF, DSP, BRAM and CARRY8 of the accelerator of a config, by block."""
    loaded = QuantConfig.load(config)
    path = output or Path("build/resources") / f"{loaded.name}.json"
    with console.status(f"synthesising {loaded.name}"):
        report = resource_report(loaded.array, Path("build/verilog") / loaded.name, dsp)
    write(path, json.dumps(report, indent=2) + "\n")
    console.print(_blocks(report), _modes(report), sep="\n")
    console.print(f"written to {path}", soft_wrap=True, highlight=False)


def _blocks(report: dict[str, Any]) -> Table:
    """Each block by itself, so that instances times counts add up to the total."""
    table = Table(title="UltraScale+, an instance without the blocks inside it")
    table.add_column("block")
    for name in ("instances", *(kind.upper() for kind in KINDS), "logic depth"):
        table.add_column(name, justify="right")
    for block in report["blocks"]:
        counts = (f"{block['own'][kind]:,g}" for kind in KINDS)
        table.add_row(block["module"], f"{block['instances']:,}", *counts, _depth(block["depth"]))
    table.add_section()
    total = (f"{report['total'][kind]:,g}" for kind in KINDS)
    table.add_row("all instances", "", *total, _depth(report["depth"]))
    return table


def _depth(paths: list[dict[str, int]]) -> str:
    """The deepest paths between registers: LUT levels, carry chains, DSP blocks of each."""
    named = {"lut": "{}", "carry": "{} carry", "dsp": "{} DSP"}
    texts = [
        " + ".join(named[kind].format(count) for kind, count in path.items() if count)
        for path in paths
    ]
    return " or ".join(filter(None, texts)) or "0"


def _modes(report: dict[str, Any]) -> Table:
    table = Table(
        title=f"partial sums {report['partial_sum_bits']} bits, "
        f"accumulators {report['accumulator_bits']} bits"
    )
    table.add_column("mode")
    for name in (
        "MAC/cycle",
        f"GOPS/kLUT at {report['nominal_mhz']} MHz",
        "partial-sum lanes",
        "accumulator lanes",
    ):
        table.add_column(name, justify="right")
    for name, mode in report["modes"].items():
        lanes = mode["partial_sum_lanes"]
        table.add_row(
            name,
            f"{mode['macs_per_cycle']:,}",
            f"{mode['gops_per_klut']:.2f}",
            f"{lanes} x {mode['partial_sum_lane_bits']}",
            f"{lanes} x {mode['accumulator_lane_bits']}",
        )
    return table


if __name__ == "__main__":
    run(resources)
