"""Mutants of the sequencer, and the tests of the accelerator that they are put to.

The sequencer is what is between the reader of descriptors and the datapath: loops, addresses and
what waits for what. Its mutants are built into the accelerator `CONFIG`, one of those that the
suite runs, whose tests see nothing of it but memory, how lists end, and counters.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

from dybit.scripts.verilog import emit_accelerator
from tests.accelerators import SMALL_ACCELERATORS
from tests.formal.list_bench import ListBench, Recorder
from tests.formal.mutants import Mutants, plant
from tests.hw import test_accelerator
from tests.hw.test_accelerator import Bench
from tests.sim import test_cycles_rtl

__all__ = ["COMPONENTS", "CONFIG", "benches", "planted"]

CONFIG = SMALL_ACCELERATORS[1]
CYCLES = "8x4"
"""What the tests of the cycle model call the same accelerator."""

COMPONENTS = {
    "loads and stores": ("TileFork", "InputLoader", "WeightLoader", "OutputStore"),
    "walks and drains": ("PassGenerator", "PixelWalker", "ResultDrainer"),
}


def planted(directory: Path, part: str, count: int, seed: int) -> Mutants:
    """Return the accelerator with mutants of a part of the sequencer."""
    emit_accelerator(CONFIG, directory)
    return plant(directory, count, seed, COMPONENTS[part])


def benches(mutants: Mutants) -> list[ListBench]:
    """Return what the tests run, in their order: random layers, any descriptors, cycles."""
    runs: list[ListBench] = []
    directory = mutants.directory

    def make(latency: int) -> Bench:
        def device(_: Path, **options: Any) -> Recorder:
            recorder = Recorder(directory, counters=False, **options)
            runs.append(ListBench(directory, latency, recorder.lists))
            return recorder

        with patch.object(test_accelerator, "RtlDevice", device):
            return Bench(CONFIG, directory, f"mutants {latency}", latency)

    # Addresses of layers do not depend on the size of the memory, and a smaller one is faster.
    with patch.object(test_accelerator, "SIZE", 1 << 18):
        test_accelerator.test_random_layers(make, _ignore, 0)
        test_accelerator.test_illegal_descriptors(make, CONFIG, _ignore)
        test_accelerator.test_random_layers(make, _ignore, 40)
    test_accelerator.test_any_legal_descriptor(make, CONFIG, _ignore)
    with Recorder(directory, counters=True) as recorder:
        test_cycles_rtl.test_random_layers(lambda _: recorder, CYCLES, _ignore)
        runs.append(ListBench(directory, 40, recorder.lists))
    return runs


def _ignore(bench: str, count: int) -> None:
    """Take the place of the fixture `vectors`."""
