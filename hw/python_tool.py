"""Runs tools that are Python packages, each in a process of its own."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["run_python_tool"]

_LAST_LINES = 12


def run_python_tool(
    name: str,
    code: str,
    arguments: Sequence[str],
    directory: str | Path | None,
    error: type[Exception],
    log: Path | None = None,
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
    log
        Takes what is printed, as it comes; then `error` has its last lines, and where it lies.
    """
    command = [sys.executable, "-c", code, *arguments]
    if log is not None:
        with log.open("w+") as output:
            streams: dict[str, Any] = {"stdout": output, "stderr": subprocess.STDOUT}
            failed = subprocess.run(command, cwd=directory, **streams).returncode != 0
            output.seek(0)
            text = output.read()
        if failed:
            last = "\n".join(f"  {line}" for line in text.splitlines()[-_LAST_LINES:])
            raise error(f"{name} failed, log {log}:\n{last}")
        return text
    result = subprocess.run(
        command,
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
