"""Runs tools that are Python packages, each in a process of its own."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["run_python_tool"]


def run_python_tool(
    name: str,
    code: str,
    arguments: Sequence[str],
    directory: str | Path | None,
    error: type[Exception],
) -> str:
    """Run Python code in a new process and return what it printed, errors included.

    Parameters
    ----------
    name
        The tool, as messages call it.
    code
        What calls the tool; it finds `arguments` in ``sys.argv[1:]``.
    directory
        Working directory; default: this one.
    error
        Raised when the process fails, with the last line that the tool marks as an error, or
        the last of all.
    """
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if result.returncode != 0:
        lines = result.stdout.splitlines() or ["no output"]
        errors = [line for line in lines if line.startswith("ERROR:")]
        raise error(f"{name} failed: {(errors or lines)[-1]}")
    return result.stdout
