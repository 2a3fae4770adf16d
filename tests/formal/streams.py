"""Blocks that hold back or reshape a stream, in their harnesses."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dybit.hw.beats import BEAT_BITS, BeatsFromWords, WordsFromBeats
from dybit.hw.burst import Burst, BurstSplitter, Command
from dybit.hw.lite_port import LitePort
from dybit.hw.output_store import OutputStore
from dybit.hw.port_register import PortRegister
from dybit.hw.read_buffer import ReadBuffer
from dybit.hw.read_dma import ReadDma
from dybit.hw.tile import Tile
from dybit.hw.tile_fork import TileFork
from dybit.hw.weight_loader import WeightLoader
from dybit.hw.write_buffer import WriteBuffer
from dybit.hw.write_dma import WriteDma
from tests.accelerators import SMALL_ACCELERATORS
from tests.formal.harness import freed, harness, module_of, with_one_word
from tests.formal.sat import edited, verilog_of

__all__ = ["BLOCKS", "QUEUES", "queue"]

CONFIG = SMALL_ACCELERATORS[1]
ARRAY, ACCELERATOR = CONFIG.array, CONFIG.accelerator
CLIENTS = 4
DEPTH = 256
WORDS = (32, 64, 128, 256, 512)
"""Words that an array of 4 to 64 rows or columns has."""

PARTS = ("load", "weights", "walk", "drain", "store")

BURST = Burst.as_shape()
OFFSETS = {key: field.offset for key, field in BURST}

QUEUES: dict[str, tuple[Callable[[], Any], str]] = {
    "beats read": (lambda: ReadBuffer(DEPTH, 1), "beats"),
    "origins of bursts read": (lambda: ReadDma(CLIENTS, DEPTH), "origins"),
    "beats to write": (lambda: WriteBuffer(DEPTH, 1), "beats"),
    "bursts to write": (lambda: WriteBuffer(DEPTH, 1), "bursts"),
    "bursts to answer": (lambda: WriteDma(DEPTH), "finals"),
    "rows of weights": (lambda: WeightLoader(ARRAY, ACCELERATOR), "rows"),
    "words to store": (lambda: OutputStore(ARRAY, ACCELERATOR), "queue"),
    **{f"tiles to {part}": (lambda: TileFork(ARRAY), part) for part in PARTS},
}
"""Each queue of the accelerator: what it is in, and its name there."""


def queue(case: str, bug: tuple[str, str] | None = None) -> str:
    component, part = QUEUES[case]
    name = f"block__{part}"
    verilog = module_of(verilog_of(component(), "block"), name)
    if bug:
        verilog = edited(verilog, *bug)
    found = re.search(r"reg (?:\[(\d+):0\] )?storage \[(\d+):0\];", verilog)
    assert found
    level = "inner_level" if "inner_level" in verilog else "level"
    return harness(
        with_one_word(verilog, name),
        name,
        "fifo",
        inside=[
            *("w_en", "w_rdy", "w_data", "r_en", "r_rdy", "r_data"),
            *("produce", "consume", "tap", "tap_address", level),
        ],
        aliases={"inside__stored": f"inside__{level}"},
        constants={
            "WIDTH": int(found[1] or 0) + 1,
            "WORDS": int(found[2]) + 1,
            "BUFFERED": int(level == "inner_level"),
        },
    )


def _small_memories(verilog: str) -> str:
    for name in re.findall(r"^module (\w+)\(", verilog, re.MULTILINE):
        if re.search(r"^  reg .*\bstorage \[", module_of(verilog, name), re.MULTILINE):
            verilog = with_one_word(verilog, name)
    return verilog


def read_buffer(alignment: int) -> str:
    return harness(
        _small_memories(verilog_of(ReadBuffer(DEPTH, alignment), "read_buffer")),
        "read_buffer",
        "read_buffer",
        inside=[
            *("held", "room", "word", "last", "partial", "from_next", "beats.inner_level"),
            *("beats.r_data", "beats.r_rdy", "beats.r_en"),
            *("beats.w_en", "beats.w_rdy", "beats.w_data"),
        ],
        constants={"DEPTH": DEPTH, "ALIGNMENT_BITS": exact_log2(alignment)},
    )


def write_buffer(alignment: int) -> str:
    return harness(
        _small_memories(verilog_of(WriteBuffer(DEPTH, alignment), "write_buffer")),
        "write_buffer",
        "write_buffer",
        inside=[
            *("before", "index", "beats.r_data", "beats.r_rdy", "beats.inner_level"),
            *("beats.w_en", "beats.w_rdy", "beats.w_data"),
            *("bursts.inner_level", "bursts.r_rdy"),
            *("bursts.w_en", "bursts.w_rdy", "bursts.w_data"),
        ],
        fields={"burst__payload": BURST, "o__payload": BURST},
        constants={
            "DEPTH": DEPTH,
            "ALIGNMENT_BITS": exact_log2(alignment),
            "BURST": BURST.size,
            "LENGTH_LOW": OFFSETS["length"],
        },
    )


def words_from_beats(bits: int) -> str:
    verilog = verilog_of(WordsFromBeats(bits), "words")
    aliases = {"in_last": "1'b0", "in_word": "i__payload"}
    if bits > BEAT_BITS:
        constants = {"PARTS": bits // BEAT_BITS, "PART": BEAT_BITS}
        inside = ["position", "full"]
        return harness(
            verilog, "words", "gather", inside=inside, constants=constants, aliases=aliases
        )
    return harness(
        verilog,
        "words",
        "cut",
        inside=["position", "row_position"],
        constants={"ROWS": 1, "PARTS": BEAT_BITS // bits, "PART": bits},
        aliases={**aliases, "row_length": "row_words", "told": "0"},
    )


def beats_from_words(bits: int) -> str:
    component = BeatsFromWords(bits)
    fields = {"i__payload": component.i.payload.shape()}
    verilog = verilog_of(component, "beats")
    aliases = {"in_last": "i__payload__last", "in_word": "i__payload__word"}
    if bits < BEAT_BITS:
        return harness(
            verilog,
            "beats",
            "gather",
            inside=["position"],
            fields=fields,
            constants={"PARTS": BEAT_BITS // bits, "PART": bits},
            aliases={**aliases, "inside__full": "o__valid"},
        )
    return harness(
        verilog,
        "beats",
        "cut",
        inside=["position"],
        fields=fields,
        constants={"ROWS": 0, "PARTS": bits // BEAT_BITS, "PART": BEAT_BITS},
        aliases={
            **aliases,
            "row_length": "16'd1",
            "told": "beats",
            "inside__row_position": "0",
        },
    )


def tile_fork() -> str:
    signals = ("w_en", "w_rdy", "w_data", "r_en", "r_rdy", "r_data")
    return harness(
        verilog_of(TileFork(ARRAY), "tile_fork"),
        "tile_fork",
        "tile_fork",
        inside=[f"{part}.{signal}" for part in PARTS for signal in signals],
        fields={"i__payload": Tile(ARRAY)},
    )


def port_register() -> str:
    signature = wiring.Signature({"forth": Out(8), "back": In(8)})
    verilog = verilog_of(PortRegister(signature), "port_register")
    return harness(verilog, "port_register", "port_register")


def lite_port() -> str:
    verilog = verilog_of(LitePort(), "lite_port")
    return harness(verilog, "lite_port", "lite_port", inside=["addressed", "given"])


def burst_splitter() -> str:
    ended = ("beat", "start", "last_index", "end", "blocks_less_1", "extra")
    return harness(
        verilog_of(BurstSplitter(), "burst_splitter"),
        "burst_splitter",
        "burst_splitter",
        inside=[
            *("ended_valid", "split__last_index", "split__end", "split__blocks_less_1"),
            *(f"ended__{field}" for field in ended),
        ],
        fields={"i__payload": Command.as_shape(), "o__payload": BURST},
        constants={"BURST": BURST.size},
    )


def read_dma(clients: int, alignment: int) -> str:
    verilog = verilog_of(ReadDma(clients, DEPTH, alignment), "read_dma")
    for part in ("read_dma_read_buffer", "read_dma_burst_splitter"):
        verilog = freed(verilog, part)
    client_bits = exact_log2(max(2, clients))

    def each(name: str) -> list[str]:
        return [name.format(client) for client in range(clients)]

    return harness(
        with_one_word(verilog, "read_dma__origins"),
        "read_dma",
        "read_dma",
        inside=[
            *("dropping", "valid", "ends", "word", "buffer_0__beat", "origins.inner_level"),
            *("origins.r_rdy", "origins.r_en", "origins.r_data"),
            *("origins.w_en", "origins.w_rdy", "origins.w_data"),
        ],
        lists={
            "SPLIT_VALID": each("splitter_{}__o__valid"),
            "SPLIT_READY": each("splitter_{}__o__ready"),
            "BURSTS": each("splitter_{}__o__payload"),
            "FITS": each("buffer_{}__fits"),
            "RESERVE": each("buffer_{}__reserve"),
            "BEAT_VALID": each("buffer_{}__beat_valid"),
        },
        constants={
            "CLIENTS": clients,
            "BURST": BURST.size,
            "LENGTH_LOW": OFFSETS["length"],
            "BURST_START": OFFSETS["start"],
            "CLIENT_BITS": client_bits,
            "START_LOW": client_bits,
            "ALIGNMENT_BITS": exact_log2(alignment),
        },
    )


def write_dma(alignment: int) -> str:
    verilog = verilog_of(WriteDma(DEPTH, alignment), "write_dma")
    for part in ("write_dma_write_buffer", "write_dma_burst_splitter"):
        verilog = freed(verilog, part)
    return harness(
        with_one_word(verilog, "write_dma__finals"),
        "write_dma",
        "write_dma",
        inside=[
            *("dropping", "issue", "buffer__o__valid", "buffer__o__payload", "buffer__beat"),
            *("buffer.next", "writing", "ends", "burst", "finals.inner_level", "finals.r_rdy"),
            *("finals.r_en", "finals.r_data", "finals.w_en", "finals.w_rdy", "finals.w_data"),
        ],
        fields={"inside__buffer__o__payload": BURST, "inside__burst": BURST},
        aliases={f"b__{key}": f"inside__buffer__o__payload__{key}" for key in OFFSETS},
        constants={"BURST": BURST.size},
    )


BLOCKS: dict[str, Callable[[], str]] = {
    "read buffer, any alignment": partial(read_buffer, 1),
    "read buffer, multiples of 4": partial(read_buffer, 4),
    "write buffer, any alignment": partial(write_buffer, 1),
    "write buffer, multiples of 4": partial(write_buffer, 4),
    **{f"words of {bits} bits from beats": partial(words_from_beats, bits) for bits in WORDS},
    **{f"beats from words of {bits} bits": partial(beats_from_words, bits) for bits in WORDS},
    "tile fork": tile_fork,
    "port register": port_register,
    "port of the registers": lite_port,
    "burst splitter": burst_splitter,
    "read DMA, one client": partial(read_dma, 1, 1),
    "read DMA, four clients": partial(read_dma, CLIENTS, 4),
    "write DMA, any alignment": partial(write_dma, 1),
    "write DMA, multiples of 4": partial(write_dma, 4),
}
"""What returns the harness around each block."""
