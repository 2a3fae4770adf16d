"""Runs a cocotb bench against the Verilog of a component, under Verilator or Icarus.

A test builds the component, names the bench module in ``tests/hw/cocotb_benches`` and gets
back how many vectors the bench compared::

    @pytest.mark.rtl
    @pytest.mark.cocotb
    def test_encoder(simulator, tmp_path, vectors):
        count = run_bench(Encoder(), "encoder", "encoder_tests", tmp_path, simulator=simulator)
        vectors(f"encoder, cocotb, {simulator}", count)

The `simulator` fixture runs the test under each simulator in turn. Inside one, the bench
imports `tests.hw.cocotb_benches.bench`: its ``PARAMETERS`` are the ones given here, and it
reports what it compared through ``bench.count``.

Compiled simulations are kept in ``build/cocotb/`` under a hash of everything they depend on.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

import cocotb
from cocotb_tools import config as cocotb_config
from cocotb_tools.runner import get_runner

from dybit.hw.verilog import emit
from dybit.sim.toolchain import (
    icarus,
    run_tool,
    tool_version,
    verilator,
    verilator_environment,
)

__all__ = ["ROOT", "run_bench"]

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "build" / "cocotb"
BENCHES = "tests.hw.cocotb_benches"
TIMESCALE = ("1ns", "1ps")
PORTS_ONLY = ("--no-public-flat-rw", "--public-depth", "1")
"""Benches see the ports of the top module; all else Verilator may optimise."""

IN_ONE_PIECE = ("--output-split", "0")
"""A model cut into files takes twice as long: its headers are compiled anew, for each half."""

HEADER = "precompiled.h"
PRECOMPILED = f"""\
{HEADER}.gch: {HEADER}
\t$(CXX) $(OPT_FAST) $(CXXFLAGS) $(CPPFLAGS) $(CFG_CXXFLAGS_PCH) $< -o $@
"""
"""Makes Verilator's own headers ready with the very options of a model's sources."""


def run_bench(
    component: object,
    name: str,
    bench: str | Sequence[str],
    directory: Path,
    *,
    simulator: str = "verilator",
    parameters: Mapping[str, object] | None = None,
    seed: int = 1,
    optimise: bool = False,
) -> int:
    """Emit a component, compile it, run a bench on it and return the vectors it compared.

    Parameters
    ----------
    component
        The component to emit.
    name
        Name of the Verilog module.
    bench
        Name of the module in ``tests/hw/cocotb_benches``; all its cocotb tests run. Or several.
    directory
        Where the Verilog, the log and the results go, such as ``tmp_path``.
    simulator
        ``"verilator"`` or ``"icarus"``.
    parameters
        What the bench must know, anything JSON can carry.
    seed
        Seed of ``random`` inside the bench, printed in its log.
    optimise
        Compile for speed, which takes longer than most benches run.

    Raises
    ------
    AssertionError
        If a test of the bench fails, with the messages of those that did; or if it has none.
    ToolMissing, ToolFailed
        If the simulator is not installed or refuses the Verilog.
    """
    manifest = emit(component, name, directory / "verilog")
    files = [manifest["waivers"]] if simulator == "verilator" else []
    sources = [directory / "verilog" / file for file in [*files, *manifest["verilog"]]]
    benches = [bench] if isinstance(bench, str) else list(bench)
    results, counts, log = (directory / f"{benches[0]}.{end}" for end in ("xml", "counts", "log"))
    counts.write_text("")
    with _environment(simulator, optimise):
        build = _build(simulator, name, sources, manifest["content_hash"], optimise)
        with contextlib.suppress(RuntimeError, SystemExit):  # the results say what went wrong
            get_runner(simulator).test(
                test_module=[f"{BENCHES}.{bench}" for bench in benches],
                hdl_toplevel=name,
                hdl_toplevel_lang="verilog",
                build_dir=build,
                test_dir=directory,
                results_xml=str(results),
                log_file=log,
                seed=seed,
                extra_env={
                    "DYBIT_BENCH_PARAMETERS": json.dumps(parameters or {}),
                    "DYBIT_BENCH_COUNTS": str(counts),
                },
            )
    _check(results, log)
    return sum(int(line) for line in counts.read_text().split())


@contextlib.contextmanager
def _environment(simulator: str, optimise: bool) -> Iterator[None]:
    """Let cocotb find the simulator, and the simulator's Python the benches.

    cocotb searches this process's PATH and hands on its module search path; it also ends the
    process when a bench fails and it sees that pytest runs it.
    """
    environment = verilator_environment() if simulator == "verilator" else dict(os.environ)
    if simulator == "verilator":
        environment["MAKEFLAGS"] += f" OPT_FAST={'-O2' if optimise else '-O0'}"
    environment.pop("PYTEST_CURRENT_TEST", None)
    paths = [str(ROOT), *(path for path in sys.path if path)]
    with mock.patch.dict(os.environ, environment, clear=True), mock.patch("sys.path", paths):
        yield


def _build(simulator: str, name: str, sources: list[Path], content: str, optimise: bool) -> Path:
    """Return the folder of the compiled simulation, compiling it unless it is there."""
    tool = verilator() if simulator == "verilator" else icarus()
    version = tool_version(tool, "--version" if simulator == "verilator" else "-V")
    tools = [simulator, version, cocotb.__version__, str(cocotb_config.libs_dir), *TIMESCALE]
    tools.append(f"optimise={optimise}")
    parts = [*tools, *PORTS_ONLY, *IN_ONE_PIECE, name, content]
    folder = CACHE / f"{simulator}-{name}-{_digest(parts)}"
    runtime = CACHE / f"{simulator}-runtime-{_digest(tools)}"
    CACHE.mkdir(parents=True, exist_ok=True)
    # Other workers wait for the one that compiles; what is there under its name is complete.
    with (CACHE / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with _scratch(folder) as scratch, _use_runtime(scratch, runtime):
                _compile(simulator, name, sources, scratch)
                _keep_runtime(scratch, runtime)
    return folder


def _compile(simulator: str, name: str, sources: list[Path], folder: Path) -> None:
    log = folder / "build.log"
    try:
        get_runner(simulator).build(
            sources=sources,
            hdl_toplevel=name,
            build_args=[*PORTS_ONLY, *IN_ONE_PIECE] if simulator == "verilator" else (),
            build_dir=folder,
            timescale=TIMESCALE,
            always=True,
            log_file=log,
        )
    except RuntimeError as error:
        raise AssertionError(f"{simulator} refused {name}:\n{log.read_text()}") from error


@contextlib.contextmanager
def _use_runtime(build: Path, runtime: Path) -> Iterator[None]:
    """Provide the objects and headers of Verilator's own, as `_keep_runtime` left them.

    They are most of the time to compile a small model, and the same for every one. A date in
    the future keeps make from holding objects for older than the makefile, yet to be written.
    """
    tomorrow = time.time() + 86400
    for part in runtime.glob("*.o"):
        os.utime(shutil.copy(part, build), (tomorrow, tomorrow))
    flags = os.environ.get("MAKEFLAGS", "")
    if (runtime / f"{HEADER}.gch").exists():
        for part in runtime.glob(f"{HEADER}*"):
            (build / part.name).symlink_to(part.resolve())
        flags += f" USER_CPPFLAGS=-include{HEADER}"
    with mock.patch.dict(os.environ, {"MAKEFLAGS": flags}):
        yield


def _keep_runtime(build: Path, runtime: Path) -> None:
    """Keep the objects of Verilator's own sources, and its headers, for the models to come.

    cocotb's main program, ``verilator.o``, is not one of them: it holds the model.
    """
    parts = list(build.glob("verilated*.o"))
    if parts and not runtime.exists():
        headers = [f'#include "{name}.h"\n' for name in ("verilated", "verilated_vpi")]
        (build / HEADER).write_text("".join(headers))
        (build / "precompiled.mk").write_text(PRECOMPILED)
        make = ["make", "-C", build, "-f", "Vtop.mk", "-f", "precompiled.mk", f"{HEADER}.gch"]
        run_tool(make, build / "precompiled.log")
        with _scratch(runtime) as scratch:
            for part in [*parts, *build.glob(f"{HEADER}*")]:
                shutil.copy(part, scratch)


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Yield a folder that becomes `folder` when the block succeeds and vanishes when not."""
    scratch = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        yield scratch
        try:
            scratch.rename(folder)
        except OSError:
            if not folder.is_dir():  # another worker's is as good
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _digest(words: list[str]) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def _check(results: Path, log: Path) -> None:
    """Raise when the bench left no results, ran no test, or one of its tests failed."""
    text = log.read_text() if log.exists() else ""
    if not results.exists():
        raise AssertionError(f"the simulation ended without results:\n{text[-4000:]}")
    cases = list(ElementTree.parse(results).iter("testcase"))
    failures = [
        f"{case.get('name')}: {problem.get('message') or problem.text or problem.tag}"
        for case in cases
        for problem in case
        if problem.tag in ("failure", "error")
    ]
    assert cases, f"the bench holds no test:\n{text[-4000:]}"
    assert not failures, "\n".join([*failures, f"log: {log}"])
