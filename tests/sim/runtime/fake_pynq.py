"""PYNQ as the driver knows it, on the accelerator's compiled Verilog: registers and memory."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from dybit.sim.runtime import RtlDevice

__all__ = ["fake_pynq"]

CTRL = 0x00


def fake_pynq(device: RtlDevice, address: int, bitstream: str, cell: str) -> ModuleType:
    """Return a module ``pynq`` with one overlay, whose `cell` has its registers at `address`.

    A cache lies before the memory: what is not flushed or invalidated is not seen.
    """

    class Overlay:
        def __init__(self, name: str) -> None:
            assert name == bitstream
            self.ip_dict = {cell: {"phys_addr": address, "addr_range": 0x1000}}

    class MMIO:
        def __init__(self, base_addr: int, length: int = 4) -> None:
            assert base_addr == address
            self.length = length

        def read(self, offset: int = 0) -> int:
            assert offset < self.length
            return device.read_register(offset)

        def write(self, offset: int, data: int) -> None:
            assert offset < self.length
            device.write_register(offset, data)
            if offset == CTRL and data & 1:
                device.wait()

    class Buffer(np.ndarray):
        device_address: int

        def flush(self) -> None:
            device.write(self.device_address, np.asarray(self))

        def invalidate(self) -> None:
            self[:] = device.read(self.device_address, self.size)

        def freebuffer(self) -> None:
            pass

    def allocate(shape: tuple[int, ...], dtype: npt.DTypeLike = np.uint32) -> Buffer:
        buffer = np.zeros(shape, dtype).view(Buffer)
        buffer.device_address = device.allocate(buffer.nbytes)
        return buffer

    module: Any = ModuleType("pynq")
    module.Overlay, module.MMIO, module.allocate = Overlay, MMIO, allocate
    pynq: ModuleType = module
    return pynq
