"""What every tool must say of emitted Verilog: nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dybit.hw.yosys import run_yosys
from dybit.sim.toolchain import icarus, run_tool, verilator, verilator_environment

__all__ = ["check_with_icarus", "check_with_verilator", "check_with_yosys"]


def check_with_verilator(
    directory: Path, manifest: dict[str, Any], log: Path, waivers: Path | None = None
) -> None:
    """Have Verilator look for whatever it warns of, but for `waivers`, the design's own if None."""
    run_tool(
        [verilator(), "--lint-only", "-Wall", "--top-module", manifest["top"]]
        + [waivers or directory / manifest["waivers"]]
        + [directory / path for path in manifest["verilog"]],
        log,
        verilator_environment(),
    )


def check_with_icarus(directory: Path, manifest: dict[str, Any], log: Path) -> None:
    """Have Icarus compile the design with all warnings on."""
    files = [directory / path for path in manifest["verilog"]]
    run_tool([icarus(), "-g2005", "-Wall", "-o", log.with_suffix(".vvp"), *files], log)
    assert log.read_text() == ""


def check_with_yosys(directory: Path, manifest: dict[str, Any]) -> None:
    """Have Yosys read the design and look for loops, double drivers and undriven wires."""
    script = f"read_verilog {' '.join(manifest['verilog'])}\nhierarchy -check -top "
    printed = run_yosys(f"{script}{manifest['top']}\nproc\ncheck -assert", directory)
    assert "Warning" not in printed
