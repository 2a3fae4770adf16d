"""``make verilog`` and ``dybit verilog``: the hardware of a config as Verilog."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from dybit.hw.accelerator import Accelerator
from dybit.hw.descriptor import descriptor_table
from dybit.hw.fusesoc import core_file
from dybit.hw.latencies import latencies
from dybit.hw.matrix_engine import MatrixEngine
from dybit.hw.registers import register_table
from dybit.hw.verilog import emit
from dybit.quant.array_config import ArrayConfig
from dybit.quant.config import QuantConfig
from dybit.scripts.console import console, run, write

__all__ = ["Top", "emit_accelerator", "emit_array", "verilog"]

TOP = "dybit"
"""Name of the top module, and the prefix of all others."""


class Top(StrEnum):
    """What of the hardware is written."""

    ENGINE = "engine"
    ACCELERATOR = "accelerator"


def emit_array(array: ArrayConfig, directory: Path) -> dict[str, Any]:
    """Write the matrix engine of `array` into `directory` and return its manifest."""
    engine = MatrixEngine(array)
    manifest: dict[str, Any] = emit(
        engine, TOP, directory, parameters=array.model_dump(mode="json"), latency=engine.latency
    )
    return manifest


def emit_accelerator(config: QuantConfig, directory: Path) -> dict[str, Any]:
    """Write the accelerator of `config` into `directory` and return its manifest.

    Beside what every manifest has, it lists registers and the fields of a descriptor.

    Raises
    ------
    ConfigError
        If no accelerator can be built around the array.
    """
    accelerator = Accelerator(config.array, config.accelerator)
    manifest: dict[str, Any] = emit(
        accelerator,
        TOP,
        directory,
        parameters=config.accelerator.parameters(config.array),
        latency=latencies(accelerator.engine.matrix_engine.latency),
        tables={"registers": register_table(), "descriptor": descriptor_table()},
    )
    return manifest


def verilog(
    config: Annotated[Path, typer.Option(help="Quant config.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder; default: build/verilog/<config>, below it accelerator/ for that top.",
        ),
    ] = None,
    top: Annotated[
        Top,
        typer.Option(help="engine: array, accumulators, re-quantisers. accelerator: all of it."),
    ] = Top.ENGINE,
) -> None:
    """Write the hardware of a config as Verilog, with manifest.json and a core file for FuseSoC.

    Equal configs give equal files, byte for byte.

    \b
    dybit verilog --config configs/digits-mixed.toml -o build/my-verilog
    dybit verilog --config configs/digits-mixed.toml --top accelerator
    """
    loaded = QuantConfig.load(config)
    directory = output or Path("build/verilog") / loaded.name
    if top is Top.ACCELERATOR and output is None:
        directory /= "accelerator"
    with console.status(f"writing {directory}"):
        if top is Top.ACCELERATOR:
            manifest = emit_accelerator(loaded, directory)
        else:
            manifest = emit_array(loaded.array, directory)
        suffix = "-accelerator" if top is Top.ACCELERATOR else ""
        write(directory / f"{TOP}.core", core_file(manifest, f"{loaded.name}{suffix}"))
    modes = ", ".join(mode.name for mode in loaded.modes)
    console.print(
        f"{directory}: {loaded.array.rows} x {loaded.array.columns} elements, {modes}; "
        f"{len(manifest['verilog'])} modules, top {manifest['top']}, {manifest['content_hash']}",
        soft_wrap=True,
        highlight=False,
    )


if __name__ == "__main__":
    run(verilog)
