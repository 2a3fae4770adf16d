"""Runs Yosys scripts through pyosys, each in a process of its own.

An error inside pyosys ends the whole process it lives in, so it never runs in ours. The
wheel pins the Yosys version, which makes what it writes a function of its input alone: a
``yosys`` that happens to be on PATH is not used.
"""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["YosysError", "run_yosys"]

_RUNNER = "import sys; from pyosys import libyosys; libyosys.run_pass('script ' + sys.argv[1])"


class YosysError(RuntimeError):
    """Yosys is missing, or refused a script; the message carries its own last words."""


def run_yosys(script: str, directory: str | Path | None = None) -> str:
    """Run one Yosys script and return what it printed.

    Parameters
    ----------
    script
        Yosys commands, one a line. Relative file names are taken from `directory`.
    directory
        Working directory; default: a temporary one.

    Raises
    ------
    YosysError
        If pyosys is not installed or the script fails.
    """
    if importlib.util.find_spec("pyosys") is None:
        raise YosysError("Yosys is missing: install it with `pip install 'pyosys>=0.70,<0.71'`")
    with tempfile.TemporaryDirectory(prefix="dybit-yosys-") as scratch:
        script_file = Path(scratch) / "script.ys"
        script_file.write_text(script if script.endswith("\n") else script + "\n")
        result = subprocess.run(
            [sys.executable, "-c", _RUNNER, str(script_file)],
            cwd=directory or scratch,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    if result.returncode != 0:
        lines = result.stdout.splitlines() or ["no output"]
        errors = [line for line in lines if line.startswith("ERROR:")]
        raise YosysError(f"Yosys failed: {(errors or lines)[-1]}")
    return result.stdout
