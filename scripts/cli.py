"""The ``dybit`` command: the chain on the user's own model and config."""

from __future__ import annotations

import typer

from dybit.scripts.bitstream import bitstream
from dybit.scripts.console import TYPER, ends_on_mistakes
from dybit.scripts.estimate import estimate
from dybit.scripts.interchange import export, import_
from dybit.scripts.quantize import quantize
from dybit.scripts.report import report
from dybit.scripts.search import search
from dybit.scripts.simulate import simulate
from dybit.scripts.sweep import sweep
from dybit.scripts.train import train
from dybit.scripts.verilog import verilog

__all__ = ["app", "main"]

app = typer.Typer(
    **TYPER, no_args_is_help=True, help="Quantise a network to DyBit and run it on its accelerator."
)
for command in (
    quantize,
    search,
    report,
    estimate,
    sweep,
    train,
    verilog,
    simulate,
    bitstream,
    export,
):
    app.command()(ends_on_mistakes(command))
app.command("import")(ends_on_mistakes(import_))


def main() -> None:
    """Entry point."""
    app(prog_name="dybit")


if __name__ == "__main__":
    main()
