"""Builds emitted Verilog and the C++ that drives it into a shared library.

Results are cached by the content of everything that goes in, are built aside and moved into
place whole: neither an interrupted nor a concurrent build can leave a half-written library.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from pathlib import Path
from typing import Any

from dybit.quant.cache import cache_directory
from dybit.sim.player import player_source, player_wrapper
from dybit.sim.rolled import roll, rolling
from dybit.sim.toolchain import (
    ToolMissing,
    native_target,
    run_tool,
    tool_version,
    usable_cores,
    verilator,
    verilator_environment,
    verilator_include,
)

__all__ = ["Effort", "build_kernel", "build_library"]

# Modules are inlined, the default: even apart (-fno-inline) each instance has code of its own.
_VERILATOR_FLAGS = (
    *("--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-assert"),
    *("--output-split", "20000", "-Wno-fatal", "-Wno-lint"),
)
_COMPILER = "g++"
# Hidden symbols keep models apart that one process loads side by side.
_COMPILE_FLAGS = (
    *("-std=gnu++17", "-fPIC", "-fvisibility=hidden", "-fno-gnu-unique", "-w", "-DVERILATOR=1"),
    *("-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=0", "-DVM_TRACE_FST=0", "-DVM_TRACE_SAIF=0"),
)
_SLOW = ("-O0",)
# Loops over copies read and write some twenty arrays, which are found to lie apart as they begin.
# The pass turned off makes shifts of comparisons with constants, for which vectors have no types.
_VECTORISE = (
    *("-march=native", "-fno-tree-reassoc"),
    "--param=vect-max-version-for-alias-checks=1000",
)
_BUNDLE_BYTES = 2_000_000


class Effort(Enum):
    """How long to compile a model: for how many cycles it is meant.

    HIGH takes half as long again as LOW, and runs about four times as fast.
    """

    LOW = ("-O1",)
    HIGH = ("-O3", *_VECTORISE)

    @property
    def split(self) -> tuple[str, ...]:
        """What Verilator cuts; whole functions run faster, but keep the compiler for long."""
        return ("--output-split-cfuncs", "500") if self is Effort.LOW else ()


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:32]


def _cached(cache: Path, key: str, product: str, build: Any) -> Path:
    """Return a cached file, building it aside first if need be.

    A failed build stays where it was made, for its log.
    """
    final = cache / key
    if not (final / product).exists():
        cache.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=cache))
        build(scratch)
        finished = scratch / "finished"
        finished.mkdir()
        (scratch / product).rename(finished / product)
        try:
            finished.rename(final)
        except OSError:  # another process was faster; its result is the same
            if not (final / product).exists():
                raise
        shutil.rmtree(scratch)
    return final / product


def _bundles(sources: Sequence[Path], name: str, directory: Path) -> list[Path]:
    """Write sources that include the others, so many that they compile side by side.

    The headers that each begins with take longer than most of what follows.
    """
    bundles: list[list[Path]] = [[]]
    size = 0
    for source in sources:
        size += source.stat().st_size
        if bundles[-1] and size > _BUNDLE_BYTES:
            bundles.append([])
            size = source.stat().st_size
        bundles[-1].append(source)
    written = []
    for number, bundle in enumerate(bundles):
        written.append(directory / f"{name}_{number}.cpp")
        written[-1].write_text("".join(f'#include "{source.name}"\n' for source in bundle))
    return written


def _compile(
    jobs: Sequence[tuple[Path, Sequence[str]]], flags: Sequence[str], directory: Path
) -> list[Path]:
    """Compile (source, how to optimise) pairs side by side; return the objects."""

    def one(job: tuple[Path, Sequence[str]]) -> Path:
        source, optimise = job
        product = directory / f"{source.stem}.o"
        command: list[str | Path] = [_COMPILER, *flags, *optimise, "-c", source, "-o", product]
        run_tool(command, directory / f"{source.stem}.log")
        return product

    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(one, jobs))


def build_library(
    verilog: Sequence[Path],
    manifest: dict[str, Any],
    trace: bool = False,
    host: str | None = None,
    effort: Effort = Effort.HIGH,
) -> Path:
    """Return the shared library of a design, from the cache or built now.

    Parameters
    ----------
    verilog
        The Verilog files of the design.
    manifest
        Its manifest: top module and ports.
    trace
        Build it able to write a VCD; several times slower even where none is asked for.
    host
        C++ that drives the model, class ``Vdut``; default: the player for its ports.
    effort
        How long to compile it.

    Raises
    ------
    ToolMissing, ToolFailed
        If Verilator or its compiler is absent or refuses the design.
    """
    environment = verilator_environment()
    include = verilator_include()
    compiler = Path(shutil.which(_COMPILER) or _COMPILER)
    cache = cache_directory("verilated")
    source = player_source(manifest) if host is None else host
    wrapper = player_wrapper(manifest) if host is None and not trace else None
    top = wrapper[0] if wrapper else manifest["top"]
    includes = (f"-I{include}", f"-I{include / 'vltstd'}")
    traced = (f"-DVM_TRACE={int(trace)}", f"-DVM_TRACE_VCD={int(trace)}")
    flags = (*_COMPILE_FLAGS, *traced)
    tools = (tool_version(verilator()), tool_version(compiler), native_target(compiler), *flags)

    def build_runtime(directory: Path) -> None:
        names = ["verilated", "verilated_threads", *(["verilated_vcd_c"] if trace else [])]
        jobs = [(include / f"{name}.cpp", ("-O1",)) for name in names]
        objects = _compile(jobs, (*flags, *includes), directory)
        run_tool(["ar", "rcs", directory / "runtime.a", *objects], directory / "ar.log")

    def build_model(directory: Path) -> None:
        model = directory / "model"
        tracing = ("--trace-vcd",) if trace else ()
        # A trace shows the design alone, as it is written.
        designs = list(verilog) if trace else roll(verilog, manifest["top"], directory)
        if wrapper:
            designs.append(directory / f"{top}.v")
            designs[-1].write_text(wrapper[1])
        run_tool(
            [
                *(verilator(), *_VERILATOR_FLAGS, *effort.split, *tracing, "--prefix", "Vdut"),
                *("--top-module", top, "--Mdir", model, *designs),
            ],
            directory / "verilator.log",
            environment,
        )
        (model / "host.cpp").write_text(source)
        every = (*flags, f"-I{model}", *includes)
        sources = sorted(model.glob("*.cpp"))
        jobs = []
        # What runs once need not be fast.
        for name, optimise, slow in (("each_cycle", effort.value, False), ("once", _SLOW, True)):
            chosen = [path for path in sources if ("Slow" in path.name) == slow]
            jobs += [(bundle, optimise) for bundle in _bundles(chosen, name, directory)]
        objects = _compile(jobs, every, directory)
        run_tool(
            [_COMPILER, "-shared", "-pthread", "-o", directory / "model.so", *objects, runtime],
            directory / "link.log",
        )

    runtime = _cached(cache, f"runtime-{_digest(*tools)}", "runtime.a", build_runtime)
    texts = [path.read_text() for path in verilog]
    how = (*tools, *_VERILATOR_FLAGS, *effort.split, *effort.value, *_SLOW, rolling())
    key = _digest(texts, wrapper, source, *how, top)
    return _cached(cache, key, "model.so", build_model)


def build_kernel(source: Path) -> Path:
    """Return the shared library of one C++ file that stands alone, from the cache or built now.

    Raises
    ------
    ToolMissing, ToolFailed
        If the compiler is absent or refuses the file.
    """
    compiler = shutil.which(_COMPILER)
    if compiler is None:
        raise ToolMissing(f"{_COMPILER} is missing: install it with `apt-get install {_COMPILER}`")
    flags = ("-std=gnu++17", "-O3", "-fPIC", "-shared", "-fvisibility=hidden")

    def build(directory: Path) -> None:
        copy = directory / source.name
        copy.write_text(text)
        run_tool([compiler, *flags, "-o", directory / "kernel.so", copy], directory / "log")

    text = source.read_text()
    key = _digest(text, tool_version(Path(compiler)), *flags)
    return _cached(cache_directory("kernels"), f"{source.stem}-{key}", "kernel.so", build)
