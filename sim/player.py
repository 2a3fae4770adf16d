"""What plays vectors into a compiled design, written for its ports: a C++ loop, and a wrapper."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["PlayerPort", "player_ports", "player_source", "player_wrapper"]

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
{start}
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


def _is_clocked(manifest: dict[str, Any]) -> bool:
    return any(port["name"] == "clk" for port in manifest["ports"])


def player_source(manifest: dict[str, Any]) -> str:
    """Return the player of a design: open, play and close, as C functions."""
    inputs = player_ports(manifest, "input").values()
    outputs = player_ports(manifest, "output").values()
    clocked = _is_clocked(manifest)
    return _SOURCE.format(
        apply="\n".join(map(_apply, inputs)),
        sample="\n".join(map(_sample, outputs)),
        clock="    player.dut->clk = clock;" if clocked else "",
        # The first cycle, too, begins with a falling edge.
        start="    player->dut->clk = 1;\n    player->dut->eval();" if clocked else "",
        in_words=_words(inputs),
        out_words=_words(outputs),
    )


def player_wrapper(manifest: dict[str, Any]) -> tuple[str, str] | None:
    """Return a module around a design that holds its inputs from one falling edge to the next.

    Verilator computes what depends on a model's inputs at every call, twice a cycle, but what
    depends on registers only when they change. The design sees the same inputs at its clock edge.

    Returns
    -------
    (str, str) or None
        Name and Verilog of the module, whose ports are the design's; None without a clock.
    """
    if not _is_clocked(manifest):
        return None
    name = f"{manifest['top']}_player"
    ports, registers, captures, connections = [], [], [], []
    for port in manifest["ports"]:
        inner, size = port["name"], f"[{port['width'] - 1}:0]"
        ports.append(f"  {port['direction']} wire {size} {inner}")
        if port["direction"] == "input" and inner != "clk":
            inner = f"held_{port['name']}"
            registers.append(f"  reg {size} {inner};")
            captures.append(f"    {inner} <= {port['name']};")
        connections.append(f"    .{port['name']}({inner})")
    lines = [
        *(f"module {name}(", ",\n".join(ports), ");", *registers),
        *("  always @(negedge clk) begin", *captures, "  end"),
        *(f"  {manifest['top']} dut(", ",\n".join(connections), "  );", "endmodule", ""),
    ]
    return name, "\n".join(lines)
