"""Runs quantised networks on the accelerator: a compiler, and devices that answer alike."""

from dybit.sim.board_driver import Device, EngineError, Plan, PlanError, Report, Result
from dybit.sim.runtime.compiler import compile
from dybit.sim.runtime.golden_device import GoldenDevice
from dybit.sim.runtime.rtl_device import RtlDevice

__all__ = [
    "Device",
    "EngineError",
    "GoldenDevice",
    "Plan",
    "PlanError",
    "Report",
    "Result",
    "RtlDevice",
    "compile",
]
