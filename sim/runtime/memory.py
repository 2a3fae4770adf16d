"""Memory of devices without hardware: bytes from address 0 on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dybit.sim.board_driver import Array

__all__ = ["PAGE", "BusFault", "Memory"]

PAGE = 4096
"""What plans are aligned to, and where they are put by default."""

Bytes = NDArray[np.uint8]


class BusFault(ValueError):
    """An access beyond the memory's end.

    Attributes
    ----------
    writing : bool
    """

    def __init__(self, address: int, size: int, end: int, writing: bool) -> None:
        super().__init__(f"address of {size} bytes must be 0 to {end - size}, not {address}")
        self.writing = writing


class Memory:
    """Bytes at addresses.

    Parameters
    ----------
    size : int

    Members
    -------
    content : ndarray of uint8
    """

    def __init__(self, size: int) -> None:
        self.content: Bytes = np.zeros(size, np.uint8)

    def grow(self, size: int) -> None:
        """Have at least `size` bytes; new ones are 0."""
        spare = max(0, size - len(self.content))
        self.content = np.concatenate([self.content, np.zeros(spare, np.uint8)])

    def read(self, address: int, size: int) -> Bytes:
        """Return a view of bytes."""
        return self._inside(address, size, writing=False)

    def write(self, address: int, data: Array) -> None:
        """Write bytes."""
        self._inside(address, len(data), writing=True)[:] = data

    def _inside(self, address: int, size: int, writing: bool) -> Bytes:
        if address < 0 or address + size > len(self.content):
            raise BusFault(address, size, len(self.content), writing)
        return self.content[address : address + size]
