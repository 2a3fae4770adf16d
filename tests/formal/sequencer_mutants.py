"""Mutants of the sequencer, and the tests of the accelerator that they are put to.

The sequencer is what is between the reader of descriptors and the datapath: loops, addresses and
what waits for what. Its mutants are built into the accelerator `CONFIG`, one of those that the
suite runs, whose tests see nothing of it but memory, how lists end, and counters.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

from amaranth.utils import exact_log2

from dybit.hw.pass_generator import Pass
from dybit.hw.tile import COUNT_BITS, Tile
from dybit.scripts.verilog import TOP, emit_accelerator
from tests.accelerators import SMALL_ACCELERATORS
from tests.formal.list_bench import ListBench, Recorder
from tests.formal.mutants import Mutants, Surroundings, plant
from tests.hw import test_accelerator
from tests.hw.test_accelerator import Bench
from tests.sim import test_cycles_rtl

__all__ = ["COMPONENTS", "CONFIG", "benches", "planted", "surroundings"]

CONFIG = SMALL_ACCELERATORS[1]
CYCLES = "8x4"
"""What the tests of the cycle model call the same accelerator."""

COMPONENTS = {
    "loads and stores": ("TileFork", "InputLoader", "WeightLoader", "OutputStore"),
    "walks and drains": ("PassGenerator", "PixelWalker", "ResultDrainer"),
}


_WORDS = CONFIG.accelerator.activation_words
_STORED = CONFIG.accelerator.output_words
_GROUPS = CONFIG.accelerator.parameter_groups
_PIXELS = CONFIG.array.accumulator_depth // 2
_CHANNELS = CONFIG.array.rows * CONFIG.array.max_channels

# By the rules of `hw.descriptor_check`: a product fits a memory, and no factor is 0.
BOUNDS = {
    "load": {"rows": _WORDS, "row_words": _WORDS, "words": _WORDS, "groups": _GROUPS},
    "weights": {"column_tiles": _GROUPS},
    "walk": {
        "input_height": _WORDS,
        "input_width": _WORDS,
        "row_words": _WORDS,
        "blocks": _WORDS,
        "tail": _CHANNELS,
        "block_count": _WORDS,
        "column_tiles": _GROUPS,
        "height": _PIXELS,
        "width": _PIXELS,
    },
    "drain": {"pixels": _PIXELS, "column_tiles": _GROUPS, "groups": _GROUPS, "pitch": _STORED},
    "store": {"rows": _STORED, "row_words": _STORED, "row_bytes": _STORED * CONFIG.array.columns},
}
"""Largest values of a tile's fields, those that have any."""

_TAKES = {
    "input_loader": "load",
    "weight_loader": "weights",
    "pass_generator": "walk",
    "result_drainer": "drain",
    "output_store": "store",
}


def surroundings() -> Surroundings:
    """Return what no legal descriptor brings about, and what nothing looks at.

    An address on its way to the walker may have any bits above those of a word of the memory: they
    are only added to, and dropped.
    """
    tile = Tile(CONFIG.array)
    bits = {f"{TOP}_{module}": _zeros(tile[part].shape, part) for module, part in _TAKES.items()}
    walks = Pass(CONFIG.array)["walk"]
    bits[f"{TOP}_pixel_walker"] = {walks.offset + bit for bit in _zeros(walks.shape, "walk")}
    bits[f"{TOP}_tile_fork"] = {
        tile[part].offset + bit for part in BOUNDS for bit in _zeros(tile[part].shape, part)
    }
    zeros = {module: {("i__payload", bit) for bit in places} for module, places in bits.items()}
    words = exact_log2(_WORDS)
    size = Pass(CONFIG.array).size
    generated = f"{{%o__payload[{size - 1}:{COUNT_BITS}], %o__payload[{words - 1}:0]}}"
    watched = (
        "%i__ready",
        "%o__valid",
        f"%o__valid ? {generated} : {size - COUNT_BITS + words}'d0",
    )
    return Surroundings(zeros, {f"{TOP}_pass_generator": watched})


def _zeros(layout: Any, part: str) -> set[int]:
    return {
        layout[name].offset + bit
        for name, largest in BOUNDS[part].items()
        for bit in range(largest.bit_length(), layout[name].width)
    }


def planted(directory: Path, part: str, count: int, seed: int) -> Mutants:
    """Return the accelerator with mutants of a part of the sequencer."""
    emit_accelerator(CONFIG, directory)
    return plant(directory, count, seed, COMPONENTS[part])


def benches(mutants: Mutants) -> list[ListBench]:
    """Return what the tests run, in their order: random layers, any descriptors, cycles."""
    runs: list[ListBench] = []
    directory = mutants.directory

    def make(latency: int, origin: int = 0) -> Bench:
        def device(_: Path, **options: Any) -> Recorder:
            recorder = Recorder(directory, counters=False, **options)
            runs.append(ListBench(directory, latency, recorder.lists, origin))
            return recorder

        with patch.object(test_accelerator, "RtlDevice", device):
            return Bench(CONFIG, directory, f"mutants {latency}", latency, origin)

    # Addresses of layers do not depend on the size of the memory, and a smaller one is faster.
    with patch.object(test_accelerator, "SIZE", 1 << 18):
        test_accelerator.test_random_layers(make, _ignore, 0)
        test_accelerator.test_illegal_descriptors(make, CONFIG, _ignore)
        for origin in test_accelerator.ORIGINS:
            test_accelerator.test_random_layers_far_away(make, _ignore, origin)
        test_accelerator.test_random_layers(make, _ignore, 40)
    test_accelerator.test_any_legal_descriptor(make, CONFIG, _ignore)
    with Recorder(directory, counters=True) as recorder:
        test_cycles_rtl.test_random_layers(lambda _: recorder, CYCLES, _ignore)
        runs.append(ListBench(directory, 40, recorder.lists))
    return runs


def _ignore(bench: str, count: int) -> None:
    """Take the place of the fixture `vectors`."""
