"""Runs Yosys scripts through pyosys, each in a process of its own.

An error inside pyosys ends the whole process it lives in, so it never runs in ours. The
wheel pins the Yosys version, which makes what it writes a function of its input alone: a
``yosys`` that happens to be on PATH is not used.
"""

import importlib.util
import tempfile
from pathlib import Path

from dybit.hw.python_tool import run_python_tool

__all__ = ["YosysError", "require_yosys", "run_yosys"]

_RUNNER = "import sys; from pyosys import libyosys; libyosys.run_pass('script ' + sys.argv[1])"


class YosysError(RuntimeError):
    """Yosys is missing, or refused a script; the message carries its own last words."""


def require_yosys() -> None:
    """Raise `YosysError` where Yosys is not installed."""
    if importlib.util.find_spec("pyosys") is None:
        raise YosysError("Yosys is missing: install it with `pip install 'pyosys>=0.70,<0.71'`")


def run_yosys(script: str, directory: str | Path | None = None, log: Path | None = None) -> str:
    """Run one Yosys script and return what it printed.

    Parameters
    ----------
    script
        Yosys commands, one a line. Relative file names are taken from `directory`.
    directory
        Working directory; default: a temporary one.
    log
        Takes what Yosys prints.

    Raises
    ------
    YosysError
        If pyosys is not installed or the script fails.
    """
    require_yosys()
    with tempfile.TemporaryDirectory(prefix="dybit-yosys-") as scratch:
        script_file = Path(scratch) / "script.ys"
        script_file.write_text(script if script.endswith("\n") else script + "\n")
        arguments = [str(script_file)]
        where = directory or scratch
        return run_python_tool("Yosys", _RUNNER, arguments, where, YosysError, log)
