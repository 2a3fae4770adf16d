"""``make bitstream`` and ``dybit bitstream``: an image of a config for a board."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dybit.quant.config import QuantConfig
from dybit.scripts.bitstream_ulx3s import build_ulx3s
from dybit.scripts.bitstream_zcu102 import build_zcu102
from dybit.scripts.console import UserError, console, run

__all__ = ["bitstream"]

BOARDS = ("ulx3s", "zcu102")
ULX3S_MHZ, ZCU102_MHZ = 100, 200
MOST_SEED = (1 << 31) - 1


def bitstream(
    board: Annotated[str, typer.Option(help=f"Board: {' or '.join(BOARDS)}.")],
    config: Annotated[
        Path | None, typer.Option(help="Quant config; default: configs/<board>.toml.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder; default: build/bitstream/<board>."),
    ] = None,
    mhz: Annotated[
        int | None,
        typer.Option(help=f"Clock; default: {ULX3S_MHZ} on ulx3s, {ZCU102_MHZ} on zcu102.", min=1),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the placer (ulx3s).", min=0, max=MOST_SEED)] = 1,
) -> None:
    """Make an image of a config for a board.

    ulx3s (ECP5-85F): the self-test of the matrix engine, placed, routed and packed by Yosys and
    nextpnr from PyPI, in minutes. Writes dybit.bit for openFPGALoader and report.json with the
    clock reached, what it takes of the part and the critical path.

    zcu102 (Zynq UltraScale+): the whole accelerator beside the processors, and the self-test.
    With Vivado on PATH, or named by VIVADO, runs it to .bit, .hwh and .xsa, which takes hours.
    Without it writes the complete project: Verilog, packaged IP, block design, scripts, and a
    folder for PYNQ with a notebook. `vivado -mode batch -source build.tcl` in it does the rest.

    \b
    dybit bitstream --board ulx3s
    dybit bitstream --board ulx3s --config mine.toml --mhz 75 --seed 3
    dybit bitstream --board zcu102
    VIVADO=/opt/Xilinx/Vivado/2024.1/bin/vivado dybit bitstream --board zcu102
    """
    if board not in BOARDS:
        raise UserError(f"--board: {board!r} is not allowed; must be {' or '.join(BOARDS)}")
    loaded = QuantConfig.load(config or Path("configs") / f"{board}.toml")
    folder = output or Path("build/bitstream") / board
    if board == "zcu102":
        line = build_zcu102(loaded, folder, mhz or ZCU102_MHZ)
    else:
        report = build_ulx3s(loaded, folder, mhz or ULX3S_MHZ, seed)
        path = report["critical_path"]
        line = (
            f"{folder / report['bitstream']}: {report['fmax_mhz']} MHz reached, "
            f"{report['mhz']:g} MHz asked for; {report['lut']:,} LUT, {report['ff']:,} FF, "
            f"{report['dsp']} DSP, {report['bram']} BRAM; critical path {path['levels']} levels, "
            f"{path['logic_ns']} ns of logic and {path['routing_ns']} ns of wires, "
            f"from {path['from']} to {path['to']}"
        )
    console.print(line, soft_wrap=True, highlight=False)


if __name__ == "__main__":
    run(bitstream)
