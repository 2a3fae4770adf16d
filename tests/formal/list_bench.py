"""Lists of descriptors that the tests of the accelerator run, run on every mutant.

The tests themselves run once, on the design as it is, and what they give to the accelerator and
compare afterwards is noted: all of the memory, how the list ended, and where a test compares them
the counters. A mutant runs the same lists one after the other and fails at the first difference.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

from dybit.sim.board_driver import Report
from dybit.sim.runtime import RtlDevice, rtl_device
from dybit.sim.runtime.rtl_device import ModelError

__all__ = ["ListBench", "Recorder"]

_SELECT = """
EXPORT void accelerator_select(void* handle, uint32_t mutant) {
    model(handle).dut->mutant = mutant;
}
"""

Bytes = npt.NDArray[np.uint8]


class MutantDevice(RtlDevice):
    """An accelerator with mutants, one of them chosen."""

    def __init__(self, directory: Path, mutant: int = 0, **options: Any) -> None:
        host = directory / "host.cpp"
        host.write_text(rtl_device.HOST.read_text() + _SELECT)
        with patch.object(rtl_device, "HOST", host):
            super().__init__(directory, **options)
        select = self._library.accelerator_select
        select.argtypes, select.restype = [ctypes.c_void_p, ctypes.c_uint32], None
        select(self._handle, mutant)
        self.reset()


@dataclass(frozen=True)
class List:
    """A list that was run, and what came of it.

    Attributes
    ----------
    before
        The memory.
    places, written
        The bytes that changed, and what they were then; None where memory is not compared.
    address, length
        What the accelerator was given.
    report
        What it said; without counters where they are not compared.
    cycles : int
        How long it took.
    """

    before: Bytes
    places: npt.NDArray[np.intp] | None
    written: Bytes | None
    address: int
    length: int
    report: Report
    cycles: int


class Recorder(MutantDevice):
    """The design as it is; notes what it runs."""

    def __init__(self, directory: Path, counters: bool, **options: Any) -> None:
        super().__init__(directory, **options)
        self.lists: list[List] = []
        self._counters = counters

    def execute(self, address: int, length: int) -> Report:
        before, start = self.memory.copy(), self.cycles
        report = super().execute(address, length)
        places = np.flatnonzero(before != self.memory)
        compared = (None, None) if self._counters else (places, self.memory[places])
        seen = report if self._counters else _without_counters(report)
        cycles = self.cycles - start
        self.lists.append(List(before, *compared, address, length, seen, cycles))
        return report


def _without_counters(report: Report) -> Report:
    return Report(report.error, report.detail, report.descriptor, {})


class ListBench:
    """Lists that one device runs one after the other."""

    def __init__(self, directory: Path, latency: int, lists: list[List], origin: int = 0) -> None:
        self._directory, self.lists = directory, lists
        self._memory = {"latency": latency, "origin": origin}

    def finds(self, mutant: int) -> bool:
        """Return whether a list ends otherwise, hangs or breaks the rules of the bus."""
        size = len(self.lists[0].before)
        with MutantDevice(self._directory, mutant, memory=size, **self._memory) as device:
            try:
                return not all(_ends_equally(device, each) for each in self.lists)
            except ModelError:
                return True


def _ends_equally(device: MutantDevice, run: List) -> bool:
    device.allocate(len(run.before) - device.base)
    device.memory[: len(run.before)] = run.before
    device.start(run.address, run.length)
    # A mutant may take longer, unless the cycles are compared.
    device.wait(8 * run.cycles + 10_000)
    report = device.report()
    if not run.report.counters:
        report = _without_counters(report)
    if report != run.report:
        return False
    if run.places is None:
        return True
    places = np.flatnonzero(run.before != device.memory[: len(run.before)])
    return np.array_equal(places, run.places) and np.array_equal(device.memory[places], run.written)
