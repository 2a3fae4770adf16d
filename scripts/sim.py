"""``make sim``: runs every RTL bench and prints how many vectors each compared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from dybit.quant.config import QuantConfig
from dybit.scripts.console import run

__all__ = ["sim"]


def sim(
    config: Annotated[
        Path | None, typer.Option(help="Quant config; default: the benches' own lists.")
    ] = None,
    jobs: Annotated[str, typer.Option(help="Processes.")] = "auto",
) -> None:
    """Compare the hardware with the models, bench by bench."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "rtl", "tests"]
    command += ["-n", jobs, "--dist", "worksteal"]
    if config is not None:
        QuantConfig.load(config)
        command.append(f"--quant-config={config}")
    raise typer.Exit(subprocess.run(command).returncode)


if __name__ == "__main__":
    run(sim)
