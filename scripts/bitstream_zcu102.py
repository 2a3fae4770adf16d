"""The accelerator for the ZCU102: a complete Vivado project, and its image where Vivado is."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dybit.hw.platforms.axi_wrapper import wrapper
from dybit.hw.platforms.ip_xact import component_description
from dybit.hw.platforms.part import XCZU9EG, Part
from dybit.hw.platforms.vivado_ip import package_script
from dybit.hw.platforms.vivado_system import DESIGN, build_script, design_script
from dybit.hw.platforms.zcu102 import CLOCK_MHZ, zcu102_plan
from dybit.hw.resources import KINDS, count_resources
from dybit.quant.accelerator_config import SIDES
from dybit.quant.array_config import ArrayConfig
from dybit.quant.config import QuantConfig
from dybit.scripts.console import UserError, console, progress, write
from dybit.scripts.fitting import Counts, fit
from dybit.scripts.pynq_overlay import write_overlay
from dybit.scripts.self_test_design import MODULE, emit_self_test
from dybit.scripts.verilog import emit_accelerator
from dybit.sim.toolchain import ToolFailed, ToolMissing, run_tool

__all__ = ["WRAPPER", "build_zcu102", "vivado"]

WRAPPER = "dybit_ip"
"""Module of the wrapper."""

IN_AN_ELEMENT = {"MantissaMultiplier", "ProductTable", "FloatingProduct", "FloatingMultiplier"}
"""Components that are optimised with the processing element around them."""

BOARD = "xilinx.com:zcu102"

MOST_MHZ = 775
"""Of a global clock in speed grade -2, AMD DS925: no design comes near it."""

IMAGES = (f"{DESIGN}.xsa", f"pynq/{DESIGN}.bit", f"pynq/{DESIGN}.hwh", "self-test/top.bit")
"""What Vivado makes."""

_TOOLS = {"yosys": "pyosys", "amaranth": "amaranth"}
_VARIABLE = "VIVADO"
_EPOCHS = 40


def vivado() -> Path | None:
    """Return Vivado, by the variable VIVADO or from PATH; None where there is none.

    Raises
    ------
    ToolMissing
        If the variable names none.
    """
    named = os.environ.get(_VARIABLE)
    found = shutil.which(named or "vivado")
    if named and found is None:
        raise ToolMissing(f"{_VARIABLE} must name an executable, not {named!r}")
    return None if found is None else Path(found).absolute()


def build_zcu102(
    config: QuantConfig, output: Path, mhz: int, part: Part = XCZU9EG, epochs: int = _EPOCHS
) -> str:
    """Write the project into `output`, and run Vivado on it where it is found.

    Returns
    -------
    str
        What was made, in one line.

    Raises
    ------
    UserError, ConfigError
        If the clock is none, the config does not fit the part or no accelerator can be built of it.
    ToolMissing, ToolFailed, YosysError
        If a tool is missing or fails.
    """
    if mhz > MOST_MHZ:
        raise UserError(f"--mhz must be at most {MOST_MHZ} on zcu102, not {mhz}")
    tool = vivado()
    config.accelerator.check_array(config.array)
    output.mkdir(parents=True, exist_ok=True)
    # The last to be written: without them, a folder is not complete.
    for name in ("report.json", "build.tcl", *IMAGES):
        (output / name).unlink(missing_ok=True)
    with console.status(f"writing {config.name} as Verilog"):
        manifest = emit_accelerator(config, output / "verilog")
        self_test = write_self_test(config, output / "self-test")
    with progress() as bar:
        task = bar.add_task("training the digits network", total=epochs)
        accuracy = write_overlay(
            config, manifest, output / "pynq", epochs, lambda: bar.advance(task)
        )
    log = output / "yosys.log"
    with console.status(f"synthesising {config.name} with Yosys, minutes"):

        def measure(array: ArrayConfig) -> Counts:
            if array == config.array:
                return _count(output / "verilog", log)
            return _measure(config, array, log)

        counts = fit(config.name, config.array, part, measure, SIDES)
    write_project(manifest, output, mhz, part)
    report = {
        "board": "zcu102",
        "part": part.name,
        "config": config.name,
        "rows": config.array.rows,
        "columns": config.array.columns,
        "content_hash": manifest["content_hash"],
        "mhz": mhz,
        **counts,
        "shares": part.shares(counts),
        "counted": "Yosys synth_xilinx -family xcup, each module once, times its instances",
        "tools": {tool: importlib.metadata.version(name) for tool, name in _TOOLS.items()},
        "self_test_signatures": self_test,
        "digits_accuracy": accuracy,
        "images": [],
    }
    write(output / "report.json", json.dumps(report, indent=2) + "\n")
    shares = ", ".join(f"{share:.0%} {kind.upper()}" for kind, share in report["shares"].items())
    if tool is None:
        return (
            f"{output}: complete project, {shares} by Yosys; no vivado on PATH or in {_VARIABLE}, "
            "so no image: run `vivado -mode batch -source build.tcl` in it"
        )
    with console.status("Vivado, hours"):
        _run(tool, output, "build.tcl", IMAGES[:-1])
        _run(tool, output, "self-test/top.tcl", IMAGES[-1:])
    report["images"] = list(IMAGES)
    write(output / "report.json", json.dumps(report, indent=2) + "\n")
    return (
        f"{output}: {', '.join(IMAGES)}; "
        f"{shares} by Yosys, Vivado's own in utilization.rpt and timing.rpt"
    )


def write_project(manifest: dict[str, Any], output: Path, mhz: int, part: Part) -> None:
    """Write what stands around the Verilog of the product image: its wrapper, and Tcl."""
    write(output / "verilog" / f"{WRAPPER}.v", wrapper(manifest, WRAPPER))
    files = [f"{WRAPPER}.v", *manifest["verilog"]]
    write(output / "component.xml", component_description(manifest, WRAPPER, files))
    write(output / "package_ip.tcl", package_script(files, WRAPPER, part.name))
    write(output / "design.tcl", design_script(part.name, BOARD, mhz))
    write(output / "build.tcl", build_script())


def write_self_test(config: QuantConfig, output: Path) -> dict[str, str]:
    """Write the project of the self-test image; return the signatures it must find."""
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dybit-self-test-") as scratch:
        design = emit_self_test(config.array, CLOCK_MHZ, Path(scratch), XCZU9EG.factor_bits)
    zcu102_plan(MODULE, design.files).extract(output)
    return design.signatures


def _measure(config: QuantConfig, array: ArrayConfig, log: Path) -> Counts:
    """Count what the whole top takes around another array."""
    with tempfile.TemporaryDirectory(prefix="dybit-zcu102-") as scratch:
        emit_accelerator(config.model_copy(update={"array": array}), Path(scratch))
        return _count(Path(scratch), log)


def _count(design: Path, log: Path) -> Counts:
    """Synthesise each component once, an element with all that is in it, and add up."""
    modules = json.loads((design / "manifest.json").read_text())["modules"].values()
    components = {module["component"] for module in modules} - IN_AN_ELEMENT
    total = count_resources(design, components, log=log)["total"]
    return {kind: total[kind] for kind in KINDS if kind != "carry"}


def _run(tool: Path, output: Path, script: str, products: Sequence[str]) -> None:
    """Have Vivado run a script, in its own folder, that makes `products`, named from `output`."""
    directory = (output / script).parent
    log = directory / "vivado.log"
    log.unlink(missing_ok=True)
    options = ("-mode", "batch", "-nojournal", "-nolog", "-source", Path(script).name)
    run_tool([tool, *options], log.resolve(), directory=directory)
    missing = [name for name in products if not (output / name).exists()]
    if missing:
        raise ToolFailed(f"vivado wrote no {missing[0]}, log {log}")
