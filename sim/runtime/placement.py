"""Where everything lies: constants, lists and the buffers of tensors, from address 0 on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALIGNMENT", "Constants", "Lifetime", "place"]

ALIGNMENT = 64
"""Of whatever a descriptor points at."""


def aligned(size: int) -> int:
    """Return a size rounded up to whole units of `ALIGNMENT`."""
    return -(-size // ALIGNMENT) * ALIGNMENT


class Constants:
    """The bytes that no run changes, in the order they are added."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def add(self, blob: NDArray[np.uint8]) -> int:
        """Append a blob and return its address."""
        address = self.size
        padded = np.zeros(aligned(blob.size), np.uint8)
        padded[: blob.size] = blob
        self._parts.append(padded.tobytes())
        self.size += padded.size
        return address

    @property
    def content(self) -> bytes:
        """All of them."""
        return b"".join(self._parts)


@dataclass(slots=True)
class Lifetime:
    """A buffer to place: its bytes, and the first and the last moment it holds something."""

    size: int
    first: int
    last: int
    address: int = -1

    def meets(self, other: Lifetime) -> bool:
        """Return whether both hold something at some moment."""
        return self.first <= other.last and other.first <= self.last


def place(buffers: list[Lifetime], start: int) -> int:
    """Give each buffer the lowest address that is free all its life; return where they end.

    The largest come first, so that small ones fill what they leave.
    """
    placed: list[Lifetime] = []
    for buffer in sorted(buffers, key=lambda each: (-each.size, each.first)):
        address = start
        for other in sorted(placed, key=lambda each: each.address):
            if not buffer.meets(other):
                continue
            if address + buffer.size <= other.address:
                break
            address = max(address, other.address + aligned(other.size))
        buffer.address = address
        placed.append(buffer)
    return max((each.address + aligned(each.size) for each in placed), default=start)
