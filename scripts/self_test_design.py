"""The self-test of a config for a clock: its plan, what it must find, and its Verilog."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dybit.hw.platforms.self_test_board import BAUD
from dybit.hw.self_test import SelfTest
from dybit.hw.self_test_plan import SelfTestPlan
from dybit.hw.verilog import emit
from dybit.quant.array_config import ArrayConfig
from dybit.scripts.self_test import expected_signatures

__all__ = ["MODULE", "SelfTestDesign", "emit_self_test"]

MODULE = "dybit_self_test"
"""Name of the emitted module, and prefix of all others."""


@dataclass(frozen=True, slots=True)
class SelfTestDesign:
    """An emitted self-test.

    Attributes
    ----------
    manifest : dict
    files : dict of str to str
        Its Verilog, by file name.
    signatures : dict of str to str
        What each mode must give, in hexadecimal as the serial line has it.
    """

    manifest: dict[str, Any]
    files: dict[str, str]
    signatures: dict[str, str]


def emit_self_test(
    array: ArrayConfig, mhz: int, directory: Path, factor_bits: int
) -> SelfTestDesign:
    """Write the self-test of `array`, at a clock of `mhz`, into `directory`.

    `factor_bits` is the width of the part's multipliers.

    Raises
    ------
    ConfigError
        If the array is too small for one.
    """
    plan = SelfTestPlan(array)
    signatures = expected_signatures(plan)
    hertz = mhz * 1_000_000
    design = SelfTest(plan, signatures, round(hertz / BAUD), hertz, factor_bits)
    manifest = emit(design, MODULE, directory, parameters=array.model_dump(mode="json"))
    return SelfTestDesign(
        manifest,
        {name: (directory / name).read_text() for name in manifest["verilog"]},
        {mode.name: f"{found:016X}" for mode, found in zip(array.modes, signatures, strict=True)},
    )
