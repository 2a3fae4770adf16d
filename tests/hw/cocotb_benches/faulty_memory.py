"""A memory of cocotbext-axi's models that answers with errors where it is told to."""

from __future__ import annotations

import random
from typing import Any

from cocotbext.axi import AxiResp
from cocotbext.axi.axi_ram import AxiRamRead, AxiRamWrite

__all__ = ["BASE", "SIZE", "Faults", "FaultyRead", "FaultyWrite"]

BASE = 0xA5_0000_0000
SIZE = 1 << 18


class Faults:
    """Where memory answers with an error, in place of doing anything: beyond its ends, at least."""

    def __init__(self) -> None:
        self._places: list[tuple[range, AxiResp]] = []

    def add(self, place: range, response: AxiResp) -> None:
        self._places.append((place, response))

    def clear(self) -> None:
        self._places.clear()

    def at(self, address: int, size: int) -> AxiResp:
        """Return the response to an access of some bytes."""
        for place, response in self._places:
            if address < place.stop and place.start < address + size:
                return response
        inside = BASE <= address < BASE + SIZE
        return AxiResp.OKAY if inside else AxiResp.DECERR


class FaultyRead(AxiRamRead):
    """Reads of a memory, of which the faulty part answers noise with an error."""

    def __init__(self, *arguments: Any, faults: Faults, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.beats = 0
        self._faults = faults
        self._response = AxiResp.OKAY
        send = self.r_channel.send

        async def answer(transfer: Any) -> None:
            transfer.rresp = self._response
            self.beats += 1
            await send(transfer)

        self.r_channel.send = answer

    async def _read(self, address: int, length: int) -> bytes:
        self._response = self._faults.at(address, length)
        if self._response != AxiResp.OKAY:
            return random.randbytes(length)
        return bytes(self.read(address - BASE, length))


class FaultyWrite(AxiRamWrite):
    """Writes to a memory, of which the faulty part stays as it is and answers with an error."""

    def __init__(self, *arguments: Any, faults: Faults, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._faults = faults
        self._response = AxiResp.OKAY
        self.beats = 0
        send = self.b_channel.send
        take = self.w_channel.recv

        async def answer(transfer: Any) -> None:
            transfer.bresp, self._response = self._response, AxiResp.OKAY
            await send(transfer)

        async def taken() -> Any:
            self.beats += 1
            return await take()

        self.b_channel.send = answer
        self.w_channel.recv = taken

    async def _write(self, address: int, data: bytes) -> None:
        response = self._faults.at(address, len(data))
        if response == AxiResp.OKAY:
            self.write(address - BASE, data)
        else:
            self._response = response
