"""Builds emitted Verilog and a small C++ loop into a shared library.

The library plays a table of input vectors into the design, one row a clock cycle, and
fills a table of outputs. Results are cached by the content of everything that goes in, are
built aside and moved into place whole: neither an interrupted nor a concurrent build can
leave a half-written library.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dybit.sim.toolchain import (
    run_tool,
    tool_version,
    verilator,
    verilator_environment,
    verilator_include,
)

__all__ = ["PlayerPort", "build_library", "cache_directory", "player_ports"]

_VERILATOR_FLAGS = (
    *("--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-assert"),
    *("--output-split", "20000", "--output-split-cfuncs", "500", "-Wno-fatal", "-Wno-lint"),
)
_COMPILER = "g++"
# Hidden symbols keep models apart that one process loads side by side.
_COMPILE_FLAGS = (
    *("-std=gnu++17", "-fPIC", "-fvisibility=hidden", "-fno-gnu-unique", "-w", "-DVERILATOR=1"),
    *("-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=0", "-DVM_TRACE_FST=0", "-DVM_TRACE_SAIF=0"),
)
_FAST = "-O1"  # as fast as -O3 within the noise, in half the time
_SLOW = "-O0"

_SOURCE = """\
// Plays vectors into a design, one row a clock cycle.
#include <cstdint>
#include <cstring>
#include <memory>
#include "Vdut.h"
#if VM_TRACE_VCD
#include "verilated_vcd_c.h"
#endif
#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {{

struct Player {{
    VerilatedContext context;
    std::unique_ptr<Vdut> dut;
#if VM_TRACE_VCD
    std::unique_ptr<VerilatedVcdC> trace;
#endif
}};

inline void apply(Vdut& dut, const uint32_t* word) {{
{apply}
}}

inline void sample(Vdut& dut, uint32_t* word) {{
{sample}
}}

inline void step(Player& player, int clock) {{
{clock}
    player.dut->eval();
    player.context.timeInc(1);
#if VM_TRACE_VCD
    if (player.trace) player.trace->dump(player.context.time());
#endif
}}

}}  // namespace

EXPORT void* player_open(const char* trace) {{
    auto player = std::make_unique<Player>();
#if VM_TRACE_VCD
    player->context.traceEverOn(true);
#endif
    player->dut = std::make_unique<Vdut>(&player->context);
#if VM_TRACE_VCD
    if (trace) {{
        player->trace = std::make_unique<VerilatedVcdC>();
        player->dut->trace(player->trace.get(), 99);
        player->trace->open(trace);
    }}
#endif
    return player.release();
}}

EXPORT void player_close(void* handle) {{
    std::unique_ptr<Player> player(static_cast<Player*>(handle));
    player->dut->final();
#if VM_TRACE_VCD
    if (player->trace) player->trace->close();
#endif
}}

EXPORT void player_play(void* handle, const uint32_t* in, uint32_t* out, uint64_t cycles) {{
    Player& player = *static_cast<Player*>(handle);
    for (uint64_t cycle = 0; cycle < cycles; ++cycle) {{
        apply(*player.dut, in + cycle * {in_words});
        step(player, 0);
        sample(*player.dut, out + cycle * {out_words});
        step(player, 1);
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class PlayerPort:
    """A port and its place in a row: `words` 32-bit words from `offset` on."""

    name: str
    width: int
    offset: int

    @property
    def words(self) -> int:
        return -(-self.width // 32)

    @property
    def member(self) -> str:
        """Name of the port in C++, where Verilator keeps two underscores for itself."""
        return self.name.replace("__", "___05F")


def player_ports(manifest: dict[str, Any], direction: str) -> dict[str, PlayerPort]:
    """Lay out the ports of one direction in manifest order; the clock is the player's own."""
    ports, offset = {}, 0
    for port in manifest["ports"]:
        if port["direction"] != direction or port["name"] == "clk":
            continue
        placed = PlayerPort(port["name"], port["width"], offset)
        ports[placed.name] = placed
        offset += placed.words
    return ports


def _apply(port: PlayerPort) -> str:
    """Return the C++ that sets an input; Verilator wants the bits above it clear."""
    mask = f"0x{(1 << (port.width % 32 or 32)) - 1:x}u"
    first, last = f"word[{port.offset}]", f"word[{port.offset + port.words - 1}]"
    if port.words == 1:
        return f"    dut.{port.member} = {first} & {mask};"
    if port.words == 2:
        return f"    dut.{port.member} = {first} | static_cast<uint64_t>({last} & {mask}) << 32;"
    return (
        f"    std::memcpy(dut.{port.member}.data(), word + {port.offset}, {4 * port.words});\n"
        f"    dut.{port.member}[{port.words - 1}] &= {mask};"
    )


def _sample(port: PlayerPort) -> str:
    first, last = f"word[{port.offset}]", f"word[{port.offset + port.words - 1}]"
    if port.words == 1:
        return f"    {first} = dut.{port.member};"
    if port.words == 2:
        return (
            f"    {first} = static_cast<uint32_t>(dut.{port.member});\n"
            f"    {last} = static_cast<uint32_t>(dut.{port.member} >> 32);"
        )
    return f"    std::memcpy(word + {port.offset}, dut.{port.member}.data(), {4 * port.words});"


def _words(ports: Iterable[PlayerPort]) -> int:
    return sum(port.words for port in ports)


def _source(manifest: dict[str, Any]) -> str:
    inputs = player_ports(manifest, "input").values()
    outputs = player_ports(manifest, "output").values()
    clocked = any(port["name"] == "clk" for port in manifest["ports"])
    return _SOURCE.format(
        apply="\n".join(map(_apply, inputs)),
        sample="\n".join(map(_sample, outputs)),
        clock="    player.dut->clk = clock;" if clocked else "",
        in_words=_words(inputs),
        out_words=_words(outputs),
    )


def cache_directory() -> Path:
    """Return where libraries are kept: DYBIT_CACHE, or build/cache/verilated of the checkout."""
    value = os.environ.get("DYBIT_CACHE")
    return Path(value) if value else Path(__file__).parents[1] / "build" / "cache" / "verilated"


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


def _precompile(model: Path, level: str, flags: Sequence[str], directory: Path) -> Path:
    """Precompile the header all sources begin with, which takes longer than most of them."""
    header = directory / f"header{level}" / "Vdut__pch.h"
    header.parent.mkdir()
    run_tool(
        [_COMPILER, *flags, level, "-x", "c++-header", model / header.name, "-o", f"{header}.gch"],
        directory / f"header{level}.log",
    )
    return header


def _compile(
    jobs: Sequence[tuple[Path, str]],
    flags: Sequence[str],
    directory: Path,
    headers: Mapping[str, Path] = MappingProxyType({}),
) -> list[Path]:
    """Compile (source, optimisation level) pairs side by side; return the objects."""

    def one(job: tuple[Path, str]) -> Path:
        source, level = job
        product = directory / f"{source.stem}.o"
        header = ("-include", headers[level]) if level in headers else ()
        run_tool(
            [_COMPILER, *flags, level, *header, "-c", source, "-o", product],
            directory / f"{source.stem}.log",
        )
        return product

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, jobs))


def build_library(verilog: Sequence[Path], manifest: dict[str, Any], trace: bool = False) -> Path:
    """Return the shared library of a design, from the cache or built now.

    Parameters
    ----------
    verilog
        The Verilog files of the design.
    manifest
        Its manifest: top module and ports.
    trace
        Build it able to write a VCD; several times slower even where none is asked for.

    Raises
    ------
    ToolMissing, ToolFailed
        If Verilator or its compiler is absent or refuses the design.
    """
    environment = verilator_environment()
    include = verilator_include()
    compiler = Path(shutil.which(_COMPILER) or _COMPILER)
    cache = cache_directory()
    source = _source(manifest)
    includes = (f"-I{include}", f"-I{include / 'vltstd'}")
    traced = (f"-DVM_TRACE={int(trace)}", f"-DVM_TRACE_VCD={int(trace)}")
    flags = (*_COMPILE_FLAGS, *traced)
    tools = (tool_version(verilator()), tool_version(compiler), *flags)

    def build_runtime(directory: Path) -> None:
        names = ["verilated", "verilated_threads", *(["verilated_vcd_c"] if trace else [])]
        jobs = [(include / f"{name}.cpp", "-O1") for name in names]
        objects = _compile(jobs, (*flags, *includes), directory)
        run_tool(["ar", "rcs", directory / "runtime.a", *objects], directory / "ar.log")

    def build_model(directory: Path) -> None:
        model = directory / "model"
        tracing = ("--trace-vcd",) if trace else ()
        run_tool(
            [
                *(verilator(), *_VERILATOR_FLAGS, *tracing, "--prefix", "Vdut"),
                *("--top-module", manifest["top"], "--Mdir", model, *verilog),
            ],
            directory / "verilator.log",
            environment,
        )
        (model / "player.cpp").write_text(source)
        every = (*flags, f"-I{model}", *includes)
        jobs = [
            (path, _SLOW if "Slow" in path.name else _FAST) for path in sorted(model.glob("*.cpp"))
        ]
        headers = {level: _precompile(model, level, every, directory) for level in (_FAST, _SLOW)}
        objects = _compile(jobs, every, directory, headers)
        run_tool(
            [_COMPILER, "-shared", "-pthread", "-o", directory / "model.so", *objects, runtime],
            directory / "link.log",
        )

    runtime = _cached(cache, f"runtime-{_digest(*tools)}", "runtime.a", build_runtime)
    texts = [path.read_text() for path in verilog]
    key = _digest(manifest["top"], texts, source, *tools, *_VERILATOR_FLAGS, _FAST, _SLOW)
    return _cached(cache, key, "model.so", build_model)
