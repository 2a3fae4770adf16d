"""What an accumulator is given and must show: additions and reads at random."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from dybit.hw.accumulator import Accumulator
from dybit.quant.array_config import ArrayConfig
from tests.hw.array_vectors import pack, split_lanes
from tests.hw.players import Cycles, play

__all__ = ["run"]


def vectors_of(array: ArrayConfig, cycles: int, seed: int) -> tuple[Cycles, dict[int, int]]:
    """Return inputs, and by cycle what `lane` must be."""
    rng = random.Random(seed)
    ports = ("valid", "sums", "mode", "address", "first", "read_address", "read_lane", "read_mode")
    inputs: Cycles = {port: [] for port in ports}
    words = [0] * array.accumulator_depth
    free = [0] * array.accumulator_depth  # cycle from which an address may be used again
    expected = {}
    for cycle in range(cycles):
        ready = [address for address, at in enumerate(free) if at <= cycle]
        index = rng.randrange(len(array.modes))
        mode = array.modes[index]
        read_index = rng.randrange(len(array.modes))
        read_mode = array.modes[read_index]
        lane = rng.randrange(read_mode.lanes)
        read_address = rng.choice(ready) if ready else 0
        if ready:
            bits = array.accumulator_lane_bits(read_mode)
            value = split_lanes(words[read_address], read_mode.lanes, bits)[lane]
            expected[cycle + Accumulator.READ_LATENCY] = value % (1 << array.requantizer_bits)
        valid = bool(ready) and rng.random() < 0.8
        address = rng.choice(ready) if ready else 0
        first = rng.random() < 0.2
        sums = rng.getrandbits(array.partial_sum_bits)
        if valid:
            # A word may be read and added to in one cycle: the read sees the old one.
            bits = array.accumulator_lane_bits(mode)
            added = split_lanes(sums, mode.lanes, array.partial_sum_lane_bits(mode))
            present = [0] * mode.lanes if first else split_lanes(words[address], mode.lanes, bits)
            words[address] = pack([a + b for a, b in zip(present, added, strict=True)], bits)
            free[address] = cycle + Accumulator.REVISIT
        values = (valid, sums, index, address, first, read_address, lane, read_index)
        for port, value in zip(ports, values, strict=True):
            inputs[port].append(int(value))
    return inputs, {cycle: value for cycle, value in expected.items() if cycle < cycles}


def run(
    array: ArrayConfig,
    player: str,
    cycles: int,
    directory: Path,
    vectors: Callable[[str, int], None],
) -> None:
    inputs, expected = vectors_of(array, cycles, seed=3)
    outputs = play(Accumulator(array), "accumulator", inputs, player, directory)
    for cycle, value in expected.items():
        got = outputs["lane"][cycle]
        assert got == value, f"cycle {cycle}: {got:#x}, not {value:#x}"
    vectors(f"accumulator, {player}", len(expected))
