"""Synthesises an emitted design for an UltraScale+ FPGA, to a netlist that Python can read."""

import json
import re
import tempfile
from pathlib import Path

from dybit.hw.yosys import run_yosys

__all__ = ["read_manifest", "read_netlist", "synthesise"]

_SCRIPT = """
scratchpad -copy abc9.script.default.fast abc9.script
scratchpad -set abc9.D {picoseconds}
read_verilog {files}
{keep}
synth_xilinx -family xcup -noiopad {options} -top {top} -run begin:map_dsp
{dsp}
synth_xilinx -family xcup -noiopad {options} -top {top} -run coarse:
write_json "{netlist}"
"""

_PICOSECONDS = 3333
"""Delay that the mapper aims at, 300 MHz: where a path has time to spare it saves LUTs."""

# Yosys packs registers and adders into a DSP48E1, all of which a DSP48E2 has too, but not into
# that: for as long as they are packed, the one passes for the other.
_DSP = r"""
memory_dff
techmap -map +/mul2dsp.v -map +/xilinx/xcu_dsp_map.v -D DSP_A_MAXWIDTH=27 -D DSP_B_MAXWIDTH=18 \
 -D DSP_A_MAXWIDTH_PARTIAL=18 -D DSP_A_MINWIDTH=2 -D DSP_B_MINWIDTH=2 -D DSP_Y_MINWIDTH=9 \
 -D DSP_SIGNEDONLY=1 -D DSP_NAME=$__MUL27X18
select a:mul2dsp
setattr -unset mul2dsp
opt_expr -fine
wreduce
select -clear
chtype -set DSP48E1 t:DSP48E2
xilinx_dsp -family xc7
chtype -set DSP48E2 t:DSP48E1
chtype -set $mul t:$__soft_mul
"""


# A thousand words and more that all begin as 0.
_ZEROS = re.compile(r"  initial begin\n(?:    \w+\[\d+\] = \d+'h0+;\n){1000,}  end\n")


def _without_zeros(verilog):
    """Leave out what large memories begin with where that is 0 all over, as in block RAMs anyway.

    Yosys takes each word for a cell, and three times as long for an accelerator.
    """
    return _ZEROS.sub("", verilog)


def read_manifest(directory):
    """Return the manifest of the design in `directory`."""
    return json.loads((Path(directory) / "manifest.json").read_text())


def read_netlist(path):
    """Return {name: module} of what ``write_json`` wrote, without the library's cells."""
    modules = json.loads(Path(path).read_text())["modules"]
    library = {"blackbox", "whitebox"}
    return {name: m for name, m in modules.items() if library.isdisjoint(m["attributes"])}


def synthesise(directory, blocks=None, dsp=True, log=None):
    """Synthesise an emitted design with Yosys' ``synth_xilinx``.

    Parameters
    ----------
    directory : path
        Where `dybit.hw.verilog.emit` put the design.
    blocks : collection of str, optional
        Names of the components that stay modules of their own; all others dissolve into their
        parents and are optimised with them. Default: all stay, and none is optimised across its
        border.
    dsp : bool
        Multiplications may take DSP blocks; otherwise they are built from LUTs. Blocks that the
        design instantiates itself stay.
    log : path, optional
        Takes what Yosys prints.

    Returns
    -------
    dict
        {name: module} as Yosys' ``write_json`` has them.

    Raises
    ------
    YosysError
        If Yosys is missing or refuses the design.
    """
    directory = Path(directory).resolve()
    manifest = read_manifest(directory)
    options, keep = [] if dsp else ["-nodsp"], ""
    if blocks is not None:
        options.append("-flatten")
        modules = manifest["modules"].items()
        kept = [name for name, module in modules if module["component"] in blocks]
        if kept:
            keep = f"setattr -mod -set keep_hierarchy 1 {' '.join(kept)}"
    with tempfile.TemporaryDirectory(prefix="dybit-synthesis-") as scratch:
        netlist = Path(scratch, "netlist.json")
        for file in manifest["verilog"]:
            Path(scratch, file).write_text(_without_zeros((directory / file).read_text()))
        script = _SCRIPT.format(
            files=" ".join(manifest["verilog"]),
            keep=keep,
            dsp=_DSP if dsp else "",
            picoseconds=_PICOSECONDS,
            options=" ".join(options),
            top=manifest["top"],
            netlist=netlist,
        )
        run_yosys(script, scratch, log)
        return read_netlist(netlist)
