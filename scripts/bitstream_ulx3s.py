"""A bitstream of the self-test for the ULX3S, with open tools alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dybit.hw.ecp5_image import find_tools, pack_image, place_image, synthesise_image
from dybit.hw.platforms.part import LFE5U_85F, Part
from dybit.hw.platforms.ulx3s import ulx3s_plan
from dybit.quant.array_config import ArrayConfig
from dybit.quant.config import QuantConfig
from dybit.scripts.console import UserError, console, write
from dybit.scripts.fitting import Counts, fit
from dybit.scripts.self_test_design import MODULE, SelfTestDesign, emit_self_test

__all__ = ["NAME", "build_ulx3s"]

NAME = "dybit"
"""Of the image and its files."""


def build_ulx3s(
    config: QuantConfig, output: Path, mhz: int, seed: int, part: Part = LFE5U_85F
) -> dict[str, Any]:
    """Write the image, everything it was made from and ``report.json`` into `output`.

    Returns
    -------
    dict
        The report.

    Raises
    ------
    UserError, ConfigError, YosysError, NextpnrError
        If the clock cannot be made, the config does not fit, or a tool is missing or fails.
    """
    find_tools()
    report = output / "report.json"
    # What an earlier run made is not what this one fails to make.
    for name in (report.name, f"{NAME}.bit", f"{NAME}.svf"):
        (output / name).unlink(missing_ok=True)
    with console.status(f"synthesising {config.name}"):
        counts = fit(config.name, config.array, part, lambda a: _synthesise(a, mhz, output, part))
    design = emit_self_test(config.array, mhz, output / "verilog", part.factor_bits)
    with console.status(f"placing and routing {config.name}, minutes"):
        placed = place_image(output, seed, NAME)
    with console.status("packing"):
        bitstream = pack_image(output, NAME)
    found = _report(config, design, counts, placed, part, bitstream)
    write(report, json.dumps(found, indent=2) + "\n")
    return found


def _synthesise(array: ArrayConfig, mhz: int, output: Path, part: Part) -> Counts:
    output.mkdir(parents=True, exist_ok=True)
    design = emit_self_test(array, mhz, output / "verilog", part.factor_bits)
    try:
        plan = ulx3s_plan(MODULE, design.files, mhz, NAME)
    except ValueError as error:
        raise UserError(f"--{error}") from None
    plan.extract(output)
    counts: Counts = synthesise_image(output, NAME)
    return counts


def _report(
    config: QuantConfig,
    design: SelfTestDesign,
    counts: Counts,
    placed: dict[str, Any],
    part: Part,
    bitstream: Path,
) -> dict[str, Any]:
    array = config.array
    return {
        "board": "ulx3s",
        "config": config.name,
        "rows": array.rows,
        "columns": array.columns,
        "content_hash": design.manifest["content_hash"],
        "signatures": design.signatures,
        **placed,
        "shares": part.shares(placed),
        "synthesised": counts,
        "bitstream": bitstream.name,
        "bitstream_bytes": bitstream.stat().st_size,
    }
