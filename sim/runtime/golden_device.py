"""The accelerator without hardware: descriptors from memory, carried out by the golden model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dybit.quant.accelerator_config import AcceleratorConfig
from dybit.quant.array_config import ArrayConfig
from dybit.sim.board_driver import DESCRIPTOR_BYTES, Array, Device, Fields, Report
from dybit.sim.runtime.engine_layer import Hardware
from dybit.sim.runtime.golden_tile import compute_tile
from dybit.sim.runtime.host import HOST_OPERATIONS
from dybit.sim.runtime.memory import PAGE, BusFault, Memory
from dybit.sim.runtime.rules import ADDRESS_LIMIT, broken_rule

__all__ = ["GoldenDevice", "hardware_of"]

ILLEGAL_DESCRIPTOR, LIST, READ_DECERR, WRITE_DECERR = 1, 2, 4, 6
LIST_ALIGNMENT = 64


def hardware_of(manifest: Mapping[str, Any]) -> Hardware:
    """Return what a manifest's parameters describe."""
    parameters = dict(manifest["parameters"])
    accelerator = AcceleratorConfig.model_validate(parameters.pop("accelerator"))
    return Hardware(ArrayConfig.model_validate(parameters), accelerator)


class GoldenDevice(Device):
    """Writes exactly the bytes that the hardware writes, and refuses what it refuses.

    It counts nothing.

    Parameters
    ----------
    manifest : dict or path
        As `Device`.
    memory : int
        Bytes from address 0 on; plans that need more get more.
    base : int
        Where plans are put.
    """

    def __init__(
        self, manifest: Mapping[str, Any] | str | Path, memory: int = 0, base: int = PAGE
    ) -> None:
        super().__init__(manifest)
        self.hardware = hardware_of(self.manifest)
        self._memory = Memory(memory)
        self.base = base
        self._table: list[dict[str, Any]] = self.manifest["descriptor"]

    @property
    def memory(self) -> NDArray[np.uint8]:
        """All bytes, from address 0 on."""
        return self._memory.content

    def operations(self) -> Mapping[str, Callable[..., Callable[..., Array]]]:
        """Return what the host can compute, as `OPERATIONS`."""
        return HOST_OPERATIONS

    def allocate(self, size: int) -> int:
        """Return the base, with as much memory behind it."""
        self._memory.grow(self.base + size)
        return self.base

    def write(self, address: int, data: Array) -> None:
        """Write bytes to memory."""
        self._memory.write(address, data)

    def read(self, address: int, size: int) -> NDArray[np.uint8]:
        """Return a copy of bytes of memory."""
        return self._memory.read(address, size).copy()

    def execute(self, address: int, length: int) -> Report:
        """Work through the list of `length` descriptors at `address`."""
        if address % LIST_ALIGNMENT or address >= ADDRESS_LIMIT or not length:
            return Report(LIST, 0, 0, {})
        memory = self._memory
        for index in range(length):
            try:
                raw = memory.read(address + index * DESCRIPTOR_BYTES, DESCRIPTOR_BYTES)
                fields, reserved = self._decode(raw.tobytes())
                if fields["last"] != (index == length - 1):
                    return Report(LIST, 0, index, {})
                rule = broken_rule(fields, reserved, self.hardware)
                if rule:
                    return Report(ILLEGAL_DESCRIPTOR, rule, index, {})
                compute_tile(fields, memory, self.hardware)
            except BusFault as fault:
                return Report(WRITE_DECERR if fault.writing else READ_DECERR, 0, index, {})
        return Report(0, 0, length - 1, {})

    def _decode(self, raw: bytes) -> tuple[Fields, bool]:
        """Return a descriptor's fields, and whether a bit outside of them is set."""
        value = int.from_bytes(raw, "little")
        fields = {}
        for entry in self._table:
            offset, mask = 32 * entry["word"] + entry["low"], (1 << entry["bits"]) - 1
            fields[entry["name"]] = value >> offset & mask
            value &= ~(mask << offset)
        return fields, value != 0
