"""What the commands share: one console, one way to end on a user's mistake, whole files."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dybit.hw.yosys import YosysError
from dybit.quant.config import ConfigError
from dybit.sim.toolchain import ToolFailed, ToolMissing

__all__ = ["UserError", "console", "exit_on_mistakes", "machine", "progress", "run", "write"]

console = Console()

EXIT_MISTAKE = 2


class UserError(ValueError):
    """What the user gave cannot be used; the message is one line for them to act on."""


MISTAKES = (UserError, ConfigError, ToolMissing, ToolFailed, YosysError)


def exit_on_mistakes(command: Callable[[], Any]) -> None:
    """Call `command`; a mistake of the user's ends the process with its message and status 2."""
    try:
        command()
    except MISTAKES as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(EXIT_MISTAKE)


def run(function: Callable[..., Any]) -> None:
    """Run `function` as a command whose options are its parameters."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(function)
    exit_on_mistakes(app)


def progress() -> Progress:
    """Return a progress bar that counts what is done; it is silent where nobody watches."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def write(path: Path, text: str) -> None:
    """Write a file in one step: it is there whole or not at all."""
    content = text.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)


def machine() -> str:
    """Name the processor, the cores this process may use, and the Python that runs it."""
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {cores} cores, Python {platform.python_version()}"
