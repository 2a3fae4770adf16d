"""The ``dybit`` command: the chain on the user's own model and config."""

from __future__ import annotations

import typer

from dybit.scripts.console import TYPER, ends_on_mistakes
from dybit.scripts.verilog import verilog

__all__ = ["app", "main"]

app = typer.Typer(
    **TYPER, no_args_is_help=True, help="Quantise a network to DyBit and run it on its accelerator."
)
app.command()(ends_on_mistakes(verilog))


@app.callback()
def _group() -> None:
    """With a callback, typer keeps the names of commands when there is only one."""


def main() -> None:
    """Entry point."""
    app(prog_name="dybit")


if __name__ == "__main__":
    main()
