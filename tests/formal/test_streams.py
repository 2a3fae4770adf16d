"""Blocks between streams keep order, lose and invent nothing, and hold what waits."""

from __future__ import annotations

import pytest

from dybit.hw.beats import BeatsFromWords, WordsFromBeats
from dybit.hw.burst import BurstSplitter
from dybit.hw.lite_port import LitePort
from dybit.hw.port_register import PortRegister
from dybit.hw.read_buffer import ReadBuffer
from dybit.hw.read_dma import ReadDma
from dybit.hw.requantizer import Requantizer
from dybit.hw.tile_fork import TileFork
from dybit.hw.write_buffer import WriteBuffer
from dybit.hw.write_dma import WriteDma
from tests.formal.bugs import Bug
from tests.formal.cases import cases
from tests.formal.conftest import Proved
from tests.formal.sat import by_induction, verilog_of
from tests.formal.stalls import broken_stall
from tests.formal.streams import BLOCKS, QUEUES, queue

METHOD = "1-induction with invariants (pyosys)"

CLAIMS = {
    "read buffer": ("takes every beat it said it would; elements in order, byte by byte", ""),
    "write buffer": ("bytes at their places, in order; bursts offered when all is there", ""),
    "words": ("words in order, each once; what waits stays", ""),
    "beats": ("beats in order, each once; what waits stays", ""),
    "tile fork": ("a tile goes into all queues at once or into none", ""),
    "port register": ("what goes forth comes a cycle later, what comes back at once", "8 bits"),
    "port of the registers": ("every access handed on once and answered once; answers wait", ""),
    "burst splitter": ("bursts cover the transfer, in order; none crosses 1 KiB", ""),
    "read DMA": (
        "addresses wait unchanged, none crosses 4 KiB, at most 33 outstanding; beats to who asked",
        "splitters and buffers cut out",
    ),
    "write DMA": (
        "addresses and data wait unchanged, none crosses 4 KiB, at most 33 outstanding; the "
        "transfer's bytes alone enabled, none after an abort; done once a transfer",
        "splitter and buffer cut out",
    ),
}
"""By the beginning of a block's name: what is claimed, and what is left out."""

SHORT = (
    "words of 32 bits from beats",
    "beats from words of 32 bits",
    "port of the registers",
    "burst splitter",
    "read DMA, one client",
    "write DMA, multiples of 4",
)


@pytest.mark.parametrize("block", cases(BLOCKS, *SHORT))
def test_streams(block: str, proved: Proved) -> None:
    assert by_induction(BLOCKS[block]()) is None
    claim, bound = next(value for key, value in CLAIMS.items() if block.startswith(key))
    proved(block, claim, METHOD, bound or "none")


@pytest.mark.parametrize("case", cases(QUEUES, "words to store", "beats read"))
def test_queues(case: str, proved: Proved) -> None:
    assert by_induction(queue(case)) is None
    proved(
        f"queue: {case}",
        "first in, first out, unchanged; takes no more than it holds; what waits stays",
        METHOD,
        "none: its size in the accelerator, one word followed",
    )


@pytest.mark.prove
def test_requantizer_stalls(proved: Proved) -> None:
    assert broken_stall(verilog_of(Requantizer(48), "requantizer"), "requantizer") is None
    proved(
        "requantizer",
        "a stall keeps every register, its end goes on as if it had not been",
        "SAT over one cycle (pyosys)",
        "none",
    )


@pytest.mark.prove
def test_requantizer_stalls_fail_on_a_stage_that_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    Bug(Requantizer, "elaborate", "m.If(advance)", "m.If(1)").seed(monkeypatch)
    verilog = verilog_of(Requantizer(30), "requantizer")
    assert broken_stall(verilog, "requantizer") is not None


CYCLES = 12
"""From the reset to the effect of a bug, at most."""

BUGS = {
    "bytes of the next beat in the wrong lanes": (
        "read buffer, any alignment",
        Bug(ReadBuffer, "elaborate", "lanes_below(start)[::-1]", "lanes_below(start)"),
    ),
    "room for a beat too few": (
        "read buffer, any alignment",
        Bug(ReadBuffer, "elaborate", "room >= BURST_BEATS", "room >= BURST_BEATS - 1"),
    ),
    "a burst offered with its first beat": (
        "write buffer, multiples of 4",
        Bug(
            WriteBuffer,
            "elaborate",
            "bursts.w_en.eq(self.burst.ready)",
            "bursts.w_en.eq(beats.w_en & (index == 0))",
        ),
    ),
    "the rest of a row's last beat goes to the next row": (
        "words of 32 bits from beats",
        Bug(
            WordsFromBeats,
            "_cut",
            "self.o.ready & last_in_beat",
            "self.o.ready & (position == count - 1)",
        ),
    ),
    "a beat overwritten while it waits": (
        "beats from words of 32 bits",
        Bug(
            BeatsFromWords, "_gather", "self.i.ready.eq(~full | self.o.ready)", "self.i.ready.eq(1)"
        ),
    ),
    "a word left with beats still to come": (
        "beats from words of 256 bits",
        Bug(BeatsFromWords, "_cut", "self.o.ready & (position == final)", "self.o.ready"),
    ),
    "a tile goes where there is room": (
        "tile fork",
        Bug(TileFork, "elaborate", ".all()", ".any()"),
    ),
    "nothing comes back": (
        "port register",
        Bug(PortRegister, "elaborate", "source.eq(target)", "source.eq(0)"),
    ),
    "a second write before the first is answered": (
        "port of the registers",
        Bug(
            LitePort,
            "elaborate",
            "addressed & given & (~axi.bvalid | axi.bready)",
            "addressed & given",
        ),
    ),
    "the last burst as long as others": (
        "burst splitter",
        Bug(
            BurstSplitter,
            "elaborate",
            "Mux(ending, split.last_index, BURST_BEATS - 1)",
            "BURST_BEATS - 1",
        ),
    ),
    "the first burst across the end of its block": (
        "burst splitter",
        Bug(
            BurstSplitter,
            "elaborate",
            "Mux(single, ended.last_index, BURST_BEATS - 1) - ended.beat[:_INDEX_BITS]",
            "Mux(single, ended.last_index - ended.beat[:_INDEX_BITS], BURST_BEATS - 1)",
        ),
    ),
    "an address changes while it waits": (
        "read DMA, one client",
        Bug(ReadDma, "_ask", "(~axi.arvalid | axi.arready) & origins.w_rdy", "origins.w_rdy"),
    ),
    "an abort forgotten before all has come": (
        "read DMA, one client",
        Bug(ReadDma, "elaborate", "stopping & ~self.idle", "self.abort & ~self.idle"),
    ),
    "strobes go on after an abort": (
        "write DMA, any alignment",
        Bug(WriteDma, "_write", "Mux(stopping, 0, ~(before | after))", "~(before | after)"),
    ),
    "a burst ends a beat early": (
        "write DMA, any alignment",
        Bug(WriteDma, "_write", "ends.eq(burst.length == 1)", "ends.eq(burst.length <= 2)"),
    ),
}

QUEUE_BUGS = {
    "a place too many": ("level != 3'h4", "level != 3'h5"),
    "one in two is lost": ("r_port__addr + 1'h1", "r_port__addr + 2'h2"),
}


SHORT_BUGS = (
    "a second write before the first is answered",
    "the last burst as long as others",
    "an address changes while it waits",
    "strobes go on after an abort",
)


@pytest.mark.parametrize("bug", cases(BUGS, *SHORT_BUGS))
def test_streams_fail_on(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    block, seeded = BUGS[bug]
    seeded.seed(monkeypatch)
    assert by_induction(BLOCKS[block](), depth=CYCLES, options="-tempinduct-baseonly") is not None


@pytest.mark.parametrize("bug", QUEUE_BUGS)
def test_queues_fail_on(bug: str) -> None:
    text = queue("tiles to store", QUEUE_BUGS[bug])
    assert by_induction(text, depth=CYCLES, options="-tempinduct-baseonly") is not None
