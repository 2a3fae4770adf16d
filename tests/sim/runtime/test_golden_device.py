"""The golden device: bytes, rules and errors, against what the hardware's own tests expect."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from dybit.hw.descriptor import FIELDS, descriptor_table
from dybit.hw.descriptor_check import CHECKS
from dybit.quant.accelerator_config import AcceleratorConfig
from dybit.quant.array_config import ArrayConfig
from dybit.sim.board_driver import encode_descriptor
from dybit.sim.runtime import GoldenDevice, PlanError
from dybit.sim.runtime.engine_layer import Hardware
from dybit.sim.runtime.rules import RULES, broken_rule
from tests.accelerators import FAMILIES, draw_config
from tests.hw.descriptors import broken_rules, legal, pack
from tests.hw.tile_jobs import TileJob, draw_job, list_of

ARRAY = ArrayConfig(
    rows=8, columns=4, modes=["W8A8", "W4A4", "W2A2"], max_reduction=512, accumulator_depth=64
)
ACCELERATOR = AcceleratorConfig(
    activation_words=256,
    output_words=256,
    parameter_groups=16,
    weight_rows=32,
    depthwise_kernel=3,
    depthwise_width=16,
)
LIST = 0x80
# Elsewhere sums of channels that do not exist are no zeros, and raw outputs hold them.
WITH_ZERO = FAMILIES[:-1]


def golden(array: ArrayConfig, accelerator: AcceleratorConfig, memory: int) -> GoldenDevice:
    manifest = {"parameters": accelerator.parameters(array), "descriptor": descriptor_table()}
    return GoldenDevice(manifest, memory)


def execute(device: GoldenDevice, jobs: list[TileJob], seed: int) -> None:
    """Run jobs in a memory of noise, and compare all of it."""
    noise = np.random.default_rng(seed).integers(0, 256, len(device.memory))
    device.memory[:] = noise
    for address, data in [(LIST, list_of(jobs)), *(i for job in jobs for i in job.inputs.items())]:
        device.write(address, np.frombuffer(data, np.uint8))
    want = device.memory.copy()
    for job in jobs:
        for address, data in job.outputs.items():
            want[address : address + len(data)] = np.frombuffer(data, np.uint8)
    report = device.execute(LIST, len(jobs))
    assert (report.error, report.descriptor) == (0, len(jobs) - 1)
    assert np.array_equal(device.memory, want)


@pytest.mark.parametrize("seed", range(40))
def test_tiles_of_the_hardware_tests(seed: int) -> None:
    config = draw_config(np.random.default_rng(seed), WITH_ZERO[seed % len(WITH_ZERO)])
    device = golden(config.array, config.accelerator, 0x100000)
    rng = random.Random(seed)
    depthwise = config.accelerator.depthwise_kernel > 0
    jobs = [
        draw_job(rng, config.array, config.accelerator, 0x40000 * (1 + i), depthwise and i == 1)
        for i in range(3)
    ]
    execute(device, jobs, seed)


def test_rules_are_those_of_the_hardware() -> None:
    assert tuple(CHECKS) == RULES


@pytest.mark.parametrize("seed", range(4))
def test_a_rule_broken_is_told(seed: int) -> None:
    rng = random.Random(seed)
    config = draw_config(np.random.default_rng(seed))
    array, accelerator = config.array, config.accelerator
    hardware = Hardware(array, accelerator)
    seen = set()
    for _ in range(300):
        fields = legal(rng, array, accelerator)
        assert broken_rule(fields, False, hardware) == 0
        assert broken_rule(fields, True, hardware) == 1
        field = rng.choice(FIELDS)
        largest = (1 << field.bits) - 1
        value = rng.choice((0, 1, largest, rng.randint(0, largest), fields[field.name] ^ 1))
        fields[field.name] = value
        number = broken_rule(fields, False, hardware)
        broken = broken_rules(fields, array, accelerator)
        assert RULES[number - 1] in broken if number else not broken
        seen.add(number)
    assert len(seen) > 10


def reference_job() -> TileJob:
    return draw_job(random.Random(3), ARRAY, ACCELERATOR, 0x10000)


@pytest.mark.parametrize(
    ("address", "length", "change", "error", "detail"),
    [
        (LIST, 1, {}, 0, 0),
        (LIST, 0, {}, 2, 0),
        (LIST + 32, 1, {}, 2, 0),
        (LIST + (1 << 40), 1, {}, 2, 0),
        (LIST, 2, {}, 2, 0),  # the list ends early
        (LIST, 1, {"last": 0}, 2, 0),  # and not at all
        (LIST, 1, {"kernel_height": 0}, 1, 10),
        (LIST, 1, {"weights_address": 0x40020}, 1, 7),
        (0x80000, 1, {}, 4, 0),
        (LIST, 1, {"input_address": 0x7FFF8}, 4, 0),
        (LIST, 1, {"weights_address": 0x80000}, 4, 0),
        (LIST, 1, {"parameters_address": 0x100000}, 4, 0),
        (LIST, 1, {"output_address": 0x80000}, 6, 0),
    ],
)
def test_errors(address: int, length: int, change: dict[str, int], error: int, detail: int) -> None:
    device = golden(ARRAY, ACCELERATOR, 0x80000)
    job = reference_job()
    for place, data in job.inputs.items():
        device.write(place, np.frombuffer(data, np.uint8))
    descriptor = pack(job.fields | {"last": 1} | change).to_bytes(128, "little")
    device.write(LIST, np.frombuffer(descriptor, np.uint8))
    before = device.memory.copy()
    report = device.execute(address, length)
    assert (report.error, report.detail, report.descriptor) == (error, detail, 0)
    assert np.array_equal(device.memory, before) == (error != 0)


def test_reserved_bits_are_refused() -> None:
    device = golden(ARRAY, ACCELERATOR, 0x80000)
    raw = pack(reference_job().fields | {"last": 1}, reserved=1 << 800).to_bytes(128, "little")
    device.write(LIST, np.frombuffer(raw, np.uint8))
    report = device.execute(LIST, 1)
    assert (report.error, report.detail) == (1, 1)


def test_descriptors_are_the_hardware_s() -> None:
    fields = reference_job().fields
    assert encode_descriptor(fields, descriptor_table()) == pack(fields).to_bytes(128, "little")
    with pytest.raises(PlanError, match="blocks must fit 16 bits, not 65536"):
        encode_descriptor(fields | {"blocks": 65536}, descriptor_table())


def test_memory_ends() -> None:
    device = golden(ARRAY, ACCELERATOR, 64)
    data: Any = np.zeros(65, np.uint8)
    for access in (lambda: device.write(0, data), lambda: device.read(1, 64)):
        with pytest.raises(ValueError, match=r"address of 6\d bytes must be 0 to -?\d+, not [01]"):
            access()
