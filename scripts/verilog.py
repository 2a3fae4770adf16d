"""``make verilog`` and ``dybit verilog``: the accelerator of a config as Verilog."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dybit.hw.matrix_engine import MatrixEngine
from dybit.hw.verilog import emit
from dybit.quant.array_config import ArrayConfig
from dybit.quant.config import QuantConfig
from dybit.scripts.console import console, run

__all__ = ["emit_array", "verilog"]

TOP = "dybit"
"""Name of the top module, and the prefix of all others."""


def emit_array(array: ArrayConfig, directory: Path) -> dict[str, Any]:
    """Write the matrix engine of `array` into `directory` and return its manifest."""
    engine = MatrixEngine(array)
    manifest: dict[str, Any] = emit(
        engine, TOP, directory, parameters=array.model_dump(mode="json"), latency=engine.latency
    )
    return manifest


def verilog(
    config: Annotated[Path, typer.Option(help="Quant config.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder; default: build/verilog/<config>."),
    ] = None,
) -> None:
    """Write the accelerator of a config as Verilog, with manifest.json.

    Equal configs give equal files, byte for byte.

    \b
    dybit verilog --config configs/digits-mixed.toml -o build/my-verilog
    """
    loaded = QuantConfig.load(config)
    directory = output or Path("build/verilog") / loaded.name
    with console.status(f"writing {directory}"):
        manifest = emit_array(loaded.array, directory)
    modes = ", ".join(mode.name for mode in loaded.modes)
    console.print(
        f"{directory}: {loaded.array.rows} x {loaded.array.columns} elements, {modes}; "
        f"{len(manifest['verilog'])} modules, top {manifest['top']}, {manifest['content_hash']}",
        soft_wrap=True,
        highlight=False,
    )


if __name__ == "__main__":
    run(verilog)
