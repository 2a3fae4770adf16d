"""A core file for FuseSoC, so that its users take an emitted design as one of their cores."""

import json

__all__ = ["core_file"]


def core_file(manifest, name, version="0.1.0"):
    """Return the text of ``<top>.core`` (CAPI=2) for the folder of an emitted design.

    Target ``default`` offers the Verilog to other cores, ``lint`` has Verilator look at it with
    the design's waivers, ``synth`` has Yosys read it.

    Parameters
    ----------
    manifest : dict
    name : str
        The core's, after vendor and library.
    version : str
    """
    rtl = "\n".join(f"      - {file}" for file in manifest["verilog"])
    return f"""\
CAPI=2:
# The modules of one DyBit design: generated with them, do not edit.
name: "dybit:hw:{name}:{version}"
description: {json.dumps(f"DyBit, {manifest['top']} of {name}")}

filesets:
  rtl:
    files:
{rtl}
    file_type: verilogSource-2005
  waivers:
    files:
      - {manifest["waivers"]}
    file_type: vlt

targets:
  default:
    filesets: [rtl]
    toplevel: {manifest["top"]}
  lint:
    filesets: [waivers, rtl]
    toplevel: {manifest["top"]}
    default_tool: verilator
    tools:
      verilator:
        mode: lint-only
        verilator_options: [-Wall]
  synth:
    filesets: [rtl]
    toplevel: {manifest["top"]}
    default_tool: yosys
    tools:
      yosys:
        arch: xilinx
        output_format: json
"""
