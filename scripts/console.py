"""What the commands share: one console, one way to end on a user's mistake, whole files."""

from __future__ import annotations

import errno
import functools
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dybit.hw.ecp5 import NextpnrError
from dybit.hw.yosys import YosysError
from dybit.quant.config import ConfigError
from dybit.quant.layers import NetworkError
from dybit.quant.search.errors import SearchError
from dybit.sim.toolchain import ToolFailed, ToolMissing, usable_cores

__all__ = [
    "TYPER",
    "UserError",
    "console",
    "ends_on_mistakes",
    "machine",
    "progress",
    "replacing",
    "run",
    "write",
]

# A log has no width of its own; rich would fold tables to 80 columns.
console = Console(width=None if sys.stdout.isatty() else 120)

EXIT_MISTAKE = 2

# Help and errors as plain text: they wrap nothing and read the same in a log.
TYPER: dict[str, Any] = {
    "add_completion": False,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
}

P = ParamSpec("P")


class UserError(ValueError):
    """What the user gave cannot be used; the message is one line for them to act on."""


MISTAKES = (
    UserError,
    ConfigError,
    NetworkError,
    SearchError,
    ToolMissing,
    ToolFailed,
    YosysError,
    NextpnrError,
)


def ends_on_mistakes(function: Callable[P, None]) -> Callable[P, None]:
    """Make a command end on the user's mistakes, and on files, with one line each and status 2."""

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except MISTAKES as error:
            for line in str(error).splitlines():
                typer.echo(f"error: {line}", err=True)
            raise typer.Exit(EXIT_MISTAKE) from None
        except OSError as error:
            # A folder that cannot be written; a full disk. A broken pipe names no file.
            if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            file = "" if error.filename is None else f"{error.filename}: "
            reason = (error.strerror or type(error).__name__).lower()
            typer.echo(f"error: {file}{reason}", err=True)
            raise typer.Exit(EXIT_MISTAKE) from None

    return command


def run(function: Callable[..., None]) -> None:
    """Run `function` as a command whose options are its parameters."""
    app = typer.Typer(**TYPER)
    app.command()(ends_on_mistakes(function))
    app()


def progress() -> Progress:
    """Return a bar that counts what is done and goes at the end; silent where nobody watches."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to, which becomes `path` when all went well and is removed if not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    """Write a file in one step: it is there whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode())


def machine() -> str:
    """Name the processor, the cores this process may use, and the Python that runs it."""
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{model}, {usable_cores()} cores, Python {platform.python_version()}"
