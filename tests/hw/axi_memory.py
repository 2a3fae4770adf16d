"""Memory behind AXI4 in Amaranth's simulator; it checks what the manager does, too.

Each half is driven in two steps a cycle: `drive` sets what the manager sees, `sample` looks at
what is transferred at the coming clock edge.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from typing import Any

from amaranth.lib import wiring

__all__ = ["ReadMemory", "WriteMemory"]

BEAT = 16
PAGE = 4096
LONGEST = 64
OKAY = 0


class _Channel:
    """What the manager drives: a payload once offered stays as it is until it is taken."""

    def __init__(self, interface: Any, prefix: str) -> None:
        names = [name for name in interface.signature.members if name.startswith(prefix)]
        own = [name for name in names if interface.signature.members[name].flow == wiring.Out]
        self.valid = getattr(interface, f"{prefix}valid")
        self.ready = getattr(interface, f"{prefix}ready")
        self.payload = {
            name.removeprefix(prefix): getattr(interface, name)
            for name in own
            if name != f"{prefix}valid"
        }
        self.offered: dict[str, int] | None = None
        self.first_offered = False

    def sample(self, ctx: Any) -> dict[str, int] | None:
        """Return the payload that is transferred at the coming edge, if any is."""
        values = None
        if ctx.get(self.valid):
            values = {name: int(ctx.get(signal)) for name, signal in self.payload.items()}
        assert self.offered is None or values == self.offered, f"{self.offered} became {values}"
        self.first_offered = values is not None and self.offered is None
        taken = values if ctx.get(self.ready) else None
        self.offered = values if taken is None else None
        return taken


def _check_burst(burst: Mapping[str, int]) -> None:
    beats = burst["len"] + 1
    assert (burst["size"], burst["burst"], burst["id"]) == (4, 1, 0), burst
    assert burst["addr"] % BEAT == 0, burst
    assert beats <= LONGEST, burst
    assert burst["addr"] // PAGE == (burst["addr"] + BEAT * beats - 1) // PAGE, burst


class _Half:
    def __init__(self, latency: int, go: float, faults: Mapping[int, int], seed: int) -> None:
        self.latency = latency
        self.go = go
        self.faults = faults
        self.choose = random.Random(seed)
        self.cycle = 0
        self.bursts: list[dict[str, int]] = []

    def progress(self) -> tuple[int, ...]:
        return (len(self.bursts),)

    def chance(self) -> bool:
        return self.go == 1.0 or self.choose.random() < self.go


class ReadMemory(_Half):
    """Answers reads from `contents`.

    Parameters
    ----------
    axi
        An interface of `AXI4ReadSignature`.
    base, contents
        Address of the first byte there is, and all bytes; reading others is an error of the test.
    latency
        Cycles from an address to its first beat, at least 1.
    go
        Probability that an address is taken, and that a beat due is offered, in a cycle.
    faults
        Response of a beat, by its address.

    Members
    -------
    bursts
        The bursts taken so far.
    """

    def __init__(
        self,
        axi: Any,
        base: int,
        contents: bytes,
        *,
        latency: int = 1,
        go: float = 1.0,
        faults: Mapping[int, int] = {},
        seed: int = 0,
    ) -> None:
        super().__init__(latency, go, faults, seed)
        self.axi = axi
        self.base = base
        self.contents = contents
        self.addresses = _Channel(axi, "ar")
        self.beats: deque[tuple[int, int, bool]] = deque()  # due, address, last
        self.offered = False

    def drive(self, ctx: Any) -> None:
        ctx.set(self.axi.arready, self.chance())
        due = self.beats and self.beats[0][0] <= self.cycle
        if due and not self.offered and self.chance():
            _, address, last = self.beats[0]
            at = address - self.base
            assert 0 <= at <= len(self.contents) - BEAT, f"read of 0x{address:x}"
            word = int.from_bytes(self.contents[at : at + BEAT], "little")
            ctx.set(self.axi.rdata, word)
            ctx.set(self.axi.rlast, last)
            ctx.set(self.axi.rresp, self.faults.get(address, OKAY))
            self.offered = True
        ctx.set(self.axi.rvalid, self.offered)

    def sample(self, ctx: Any) -> None:
        if self.offered and ctx.get(self.axi.rready):
            self.beats.popleft()
            self.offered = False
        burst = self.addresses.sample(ctx)
        if burst is not None:
            _check_burst(burst)
            self.bursts.append(burst)
            for index in range(burst["len"] + 1):
                address = burst["addr"] + BEAT * index
                due = self.cycle + self.latency
                self.beats.append((due, address, index == burst["len"]))
        self.cycle += 1

    def quiet(self) -> bool:
        """Return whether all that was asked for is answered."""
        return not self.beats and self.addresses.offered is None


class WriteMemory(_Half):
    """Writes into `contents`, and answers `latency` cycles after a burst's last beat.

    Parameters
    ----------
    axi
        An interface of `AXI4WriteSignature`.
    base, contents
        Address of the first byte there is, and all bytes; writing others is an error of the test.
    go
        Probability that an address or a beat is taken, and a response given, in a cycle.
    faults
        Response to a burst, by its address.

    Members
    -------
    silenced
        Set by the test: beats offered for the first time from now on must write nothing.
    """

    def __init__(
        self,
        axi: Any,
        base: int,
        contents: bytearray,
        *,
        latency: int = 1,
        go: float = 1.0,
        faults: Mapping[int, int] = {},
        seed: int = 0,
    ) -> None:
        super().__init__(latency, go, faults, seed)
        self.axi = axi
        self.base = base
        self.contents = contents
        self.addresses = _Channel(axi, "aw")
        self.data = _Channel(axi, "w")
        self.unwritten: deque[dict[str, int]] = deque()
        self.words: deque[dict[str, int]] = deque()
        self.index = 0
        self.answers: deque[tuple[int, int]] = deque()  # due, response
        self.offered = False
        self.answered = 0
        self.silenced = False

    def drive(self, ctx: Any) -> None:
        ctx.set(self.axi.awready, self.chance())
        ctx.set(self.axi.wready, self.chance())
        due = self.answers and self.answers[0][0] <= self.cycle
        if due and not self.offered and self.chance():
            ctx.set(self.axi.bresp, self.answers[0][1])
            self.offered = True
        ctx.set(self.axi.bvalid, self.offered)

    def sample(self, ctx: Any) -> None:
        if self.offered and ctx.get(self.axi.bready):
            self.answers.popleft()
            self.offered = False
            self.answered += 1
        burst = self.addresses.sample(ctx)
        if burst is not None:
            _check_burst(burst)
            self.bursts.append(burst)
            self.unwritten.append(burst)
        word = self.data.sample(ctx)
        if self.silenced and self.data.first_offered:
            assert ctx.get(self.axi.wstrb) == 0, "written after the abort"
        if word is not None:
            self.words.append(word)
        while self.unwritten and self.words:
            self._write(self.words.popleft())
        self.cycle += 1

    def _write(self, word: Mapping[str, int]) -> None:
        burst = self.unwritten[0]
        at = burst["addr"] + BEAT * self.index - self.base
        written = word["data"].to_bytes(BEAT, "little")
        for lane in range(BEAT):
            if word["strb"] >> lane & 1:
                assert 0 <= at + lane < len(self.contents), f"write to 0x{at + lane + self.base:x}"
                self.contents[at + lane] = written[lane]
        ends = self.index == burst["len"]
        assert word["last"] == ends, f"beat {self.index} of {burst}"
        self.index = 0 if ends else self.index + 1
        if ends:
            self.unwritten.popleft()
            response = self.faults.get(burst["addr"], OKAY)
            self.answers.append((self.cycle + self.latency, response))

    def quiet(self) -> bool:
        """Return whether all that was announced is written and answered."""
        return not (self.unwritten or self.words or self.answers) and (
            self.addresses.offered is None and self.data.offered is None
        )
