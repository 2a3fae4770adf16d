"""The whole accelerator, emitted and compiled: random lists, all of the memory compared."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from dybit.hw.descriptor_check import CHECKS
from dybit.quant.config import QuantConfig
from dybit.quant.precision import MODES
from dybit.sim.runtime import GoldenDevice, RtlDevice
from tests.accelerators import ESB, SMALL_ACCELERATORS, small_accelerator
from tests.hw.descriptors import DESCRIPTOR_BYTES, broken_rules, illegal, legal, pack
from tests.hw.job_memory import LINE, Shelf
from tests.hw.tile_jobs import TileJob, draw_job, list_of

RTL_CONFIGS = SMALL_ACCELERATORS
LARGER = {
    "16x16": lambda: small_accelerator("large", 16, 16, ["W8A8", "W4A4"], 3),
    "4x16": lambda: small_accelerator("wider", 4, 16, ["W8A8", "W2A2"], 0),
    "16x4": lambda: small_accelerator("taller", 16, 4, ["W8A8", "W4A8", "W2A4"], 3),
    "esb-8x4": lambda: small_accelerator("tall-esb", 8, 4, ["W8A8", "W8A4", "W4A4"], 2, **ESB),
}
SIZE = 1 << 20
READ_ONLY = SIZE // 2
"""Of memories with layers at any place: inputs lie below, outputs above."""

ORIGINS = (0xA5A5A00000, 0x5A5A500000)
"""Multiples of the memory's size below 2^40."""

LISTS = 150
SEED = 4

pytestmark = pytest.mark.rtl


class Bench:
    """A compiled accelerator and its memory.

    Members
    -------
    compared : int
        Bytes written that were as they must be.
    seen : Counter
        What the layers had: mode, raw or depthwise.
    """

    def __init__(
        self, config: QuantConfig, directory: Path, seed: str, latency: int, origin: int = 0
    ) -> None:
        print(f"seed {seed}")
        self.rng = random.Random(seed)
        self.array, self.accelerator = config.array, config.accelerator
        self.rtl = RtlDevice(directory, memory=SIZE, latency=latency, origin=origin)
        self.origin = origin
        self.noise = np.random.default_rng(self.rng.getrandbits(32))
        self.compared = 0
        self.seen: Counter[str] = Counter()

    def shelf(self) -> Shelf:
        return Shelf(self.rng, self.array, self.origin, SIZE)

    def draw(self) -> TileJob:
        unit = self.accelerator.depthwise_kernel > 0
        depthwise = unit and self.rng.random() < 0.4
        job = draw_job(self.rng, self.array, self.accelerator, SIZE, depthwise)
        f = job.fields
        kinds = (("raw", "codes")[f["raw"] == 0], ("array", "unit")[f["kind"]])
        self.seen.update((str(MODES[f["mode"]]), *kinds))
        return job

    def run(self, jobs: list[TileJob], shelf: Shelf) -> None:
        """Run a list in a memory of noise; nothing but the outputs may change."""
        memory = self.rtl.memory
        memory[:] = self.noise.integers(0, 256, SIZE, np.uint8)
        content = list_of(jobs)
        address = shelf.place(len(content))
        for at, data in [(address, content), *(i for job in jobs for i in job.inputs.items())]:
            self.rtl.write(at - self.origin, np.frombuffer(data, np.uint8))
        want = memory.copy()
        for at, data in (output for job in jobs for output in job.outputs.items()):
            at -= self.origin
            want[at : at + len(data)] = np.frombuffer(data, np.uint8)
            self.compared += len(data)
        report = self.rtl.execute(address, len(jobs))
        assert (report.error, report.detail) == (0, 0)
        wrong = np.flatnonzero(memory != want)
        assert not len(wrong), f"{len(wrong)} bytes from {wrong[0]:#x} on: {jobs}"

    def run_drawn(self, lists: int, longest: int = 6) -> None:
        for _ in range(lists):
            shelf = self.shelf()
            self.run(
                [shelf.spread(self.draw()) for _ in range(self.rng.randint(1, longest))], shelf
            )
        kinds = {"codes", "raw", "array", *map(str, self.array.modes)}
        if self.accelerator.depthwise_kernel:
            kinds.add("unit")
        assert set(self.seen) == kinds


Make = Callable[..., Bench]


@pytest.fixture
def make(
    emitted: Callable[[QuantConfig], Path], rtl_config: QuantConfig, request: pytest.FixtureRequest
) -> Iterator[Make]:
    """Return what makes the bench of a config, for a memory with some latency, at some place."""
    benches = []

    def bench(latency: int, origin: int = 0) -> Bench:
        seed = f"{rtl_config.name} {request.node.originalname} {latency} {SEED}"
        benches.append(Bench(rtl_config, emitted(rtl_config), seed, latency, origin))
        return benches[-1]

    yield bench
    for bench_made in benches:
        bench_made.rtl.close()


@pytest.mark.parametrize("latency", [0, 40])
def test_random_layers(make: Make, vectors: Callable[[str, int], None], latency: int) -> None:
    bench = make(latency)
    bench.run_drawn(LISTS)
    vectors("accelerator, random layers, bytes", bench.compared)


@pytest.mark.parametrize("origin", ORIGINS, ids=hex)
def test_random_layers_far_away(
    make: Make, vectors: Callable[[str, int], None], origin: int
) -> None:
    """Every bit of an address counts; lists so long and memory so late that all queues fill."""
    bench = make(150, origin)
    bench.run_drawn(LISTS // 4, longest=12)
    vectors("accelerator, random layers far away, bytes", bench.compared)


@pytest.mark.full
@pytest.mark.parametrize("name", LARGER)
def test_random_layers_on_larger_arrays(
    emitted: Callable[[QuantConfig], Path], vectors: Callable[[str, int], None], name: str
) -> None:
    config = LARGER[name]()
    bench = Bench(config, emitted(config), f"{name} {SEED}", 20)
    bench.run_drawn(6 * LISTS)
    vectors("accelerator, random layers on larger arrays, bytes", bench.compared)


def test_any_legal_descriptor(
    make: Make, rtl_config: QuantConfig, vectors: Callable[[str, int], None]
) -> None:
    """Fields that no layer has, with noise for weights and parameters, as the model has them."""
    bench = make(10)
    rtl, golden = bench.rtl, GoldenDevice(bench.rtl.manifest, SIZE)
    changed = 0
    for _ in range(LISTS):
        address = LINE * bench.rng.randrange(8)
        tiles = [anywhere(bench) for _ in range(bench.rng.randint(1, 6))]
        noise = bench.noise.integers(0, 256, SIZE, np.uint8)
        noise[:READ_ONLY].reshape(-1, 16)[:, 5] = 0  # no sum with its bias exceeds 47 bits
        content = list_of([TileJob(fields) for fields in tiles])
        noise[address : address + len(content)] = np.frombuffer(content, np.uint8)
        rtl.memory[:], golden.memory[:] = noise, noise
        for device in (rtl, golden):
            report = device.execute(address, len(tiles))
            assert (report.error, report.detail) == (0, 0), tiles
        wrong = np.flatnonzero(rtl.memory != golden.memory)
        assert not len(wrong), f"{len(wrong)} bytes from {wrong[0]:#x} on: {tiles}"
        changed += np.count_nonzero(rtl.memory != noise)
    vectors("accelerator, any legal descriptor, bytes", changed)


def anywhere(bench: Bench) -> dict[str, int]:
    """Return a legal descriptor with its buffers in the memory, and no gaps in what it stores.

    What is stored of the output memory beyond a pixel's groups is not defined.
    """
    rng, array = bench.rng, bench.array
    while True:
        f = legal(rng, array, bench.accelerator)
        mode = MODES[f["mode"]]
        depth = f["kernel_height"] * f["kernel_width"] * f["block_count"]
        bits = (2 << f["output_width"], 32, 64)[f["raw"]]
        group = f["output_groups"] * array.columns * bits // 8
        pitch = -(-group // array.columns)
        pixels = f["output_height"] * f["output_width_pixels"]
        at_once = group == pitch * array.columns and f["output_rows"] == 1
        f |= {
            "output_pitch": pitch,
            "output_rows": 1 if at_once else pixels,
            "output_row_words": pitch * (pixels if at_once else 1),
            "output_row_bytes": group * (pixels if at_once else 1),
        }
        read = (f["input_rows"] - 1) * f["input_row_stride"] + f["input_row_words"] * array.rows
        stored = (f["output_rows"] - 1) * f["output_row_stride"] + f["output_row_bytes"]
        fits = depth * array.rows * mode.channels <= array.max_reduction
        if not fits or max(read, stored) > SIZE // 4:
            continue
        for name, size, low, alignment in (
            ("input_address", read, 4096, array.rows),
            ("weights_address", SIZE // 4, 4096, LINE),
            ("parameters_address", SIZE // 4, 4096, LINE),
            ("output_address", stored, READ_ONLY, array.rows),
        ):
            top = low - low % READ_ONLY + READ_ONLY - size
            f[name] = rng.randrange(low, top) // alignment * alignment
        if not broken_rules(f, array, bench.accelerator):
            return f


def test_illegal_descriptors(
    make: Make, rtl_config: QuantConfig, vectors: Callable[[str, int], None]
) -> None:
    """Nothing is written but what layers before write; then the next list is right."""
    bench = make(5)
    array, accelerator, rtl = bench.array, bench.accelerator, bench.rtl
    breakable = set(CHECKS)
    if len(array.signednesses) == 2:
        breakable.remove("signedness")
    if not accelerator.depthwise_kernel:
        breakable.remove("depthwise")
    told: Counter[str] = Counter()
    for fields, reserved in illegal(bench.rng, array, accelerator, sorted(breakable)):
        broken = broken_rules(fields, array, accelerator, reserved)
        content = pack(fields | {"last": 1}, reserved).to_bytes(DESCRIPTOR_BYTES, "little")
        rtl.write(0, np.frombuffer(content, np.uint8))
        before = rtl.memory.copy()
        report = rtl.execute(0, 1)
        assert (report.error, report.descriptor) == (1, 0), fields
        rule = list(CHECKS)[report.detail - 1]
        assert rule in broken, (rule, fields)
        assert np.array_equal(rtl.memory, before)
        told[rule] += 1
        shelf = bench.shelf()
        bench.run([shelf.put(bench.draw())], shelf)
    assert set(told) == breakable
    vectors("accelerator, illegal descriptors", sum(told.values()))


@pytest.mark.parametrize(
    ("shift", "length", "error", "index"),
    [
        (0, 0, 2, 0),  # nothing
        (LINE // 2, 2, 2, 0),  # out of place
        (1 << 40, 2, 2, 0),
        (0, 1, 2, 0),  # it goes on where it must end
        (0, 3, 2, 1),  # it ends before
        (0, 0xFFFFFFFF, 2, 1),
        (SIZE - 64, 2, 4, 0),  # beyond the memory
    ],
)
def test_lists(make: Make, shift: int, length: int, error: int, index: int) -> None:
    bench = make(40)
    shelf = bench.shelf()
    jobs = [shelf.put(bench.draw()) for _ in range(2)]
    bench.run(jobs, shelf)
    before = bench.rtl.memory.copy()
    address = shelf.end - len(jobs) * DESCRIPTOR_BYTES
    report = bench.rtl.execute(address + shift, length)
    assert (report.error, report.detail, report.descriptor) == (error, 0, index)
    assert np.array_equal(bench.rtl.memory, before)  # the layers write what is there already
    shelf = bench.shelf()
    bench.run([shelf.put(bench.draw())], shelf)
