"""The register map, typed by hand from the contract with the driver."""

from __future__ import annotations

import json
import zlib

import pytest

from dybit.hw.capabilities import capabilities
from dybit.hw.registers import COUNTERS, REGISTERS, Access, pack, register_table
from dybit.quant.accelerator_config import AcceleratorConfig
from dybit.quant.array_config import ArrayConfig
from dybit.quant.precision import MODES

OFFSETS = {
    "CTRL": 0x00,
    "GIE": 0x04,
    "IER": 0x08,
    "ISR": 0x0C,
    "MAGIC": 0x10,
    "VERSION": 0x14,
    "GEOMETRY": 0x18,
    "MODES": 0x1C,
    "ACTIVATION_WORDS": 0x20,
    "ACCUMULATOR_PIXELS": 0x24,
    "OUTPUT_WORDS": 0x28,
    "PARAMETER_GROUPS": 0x2C,
    "CONFIGURATION": 0x30,
    "LIST_LOW": 0x34,
    "LIST_HIGH": 0x38,
    "LIST_LENGTH": 0x3C,
    "STATUS": 0x40,
    "ERROR": 0x44,
    "ERROR_DESCRIPTOR": 0x48,
    "CYCLES_LOW": 0x50,
    "CYCLES_HIGH": 0x54,
    "VECTORS_LOW": 0x58,
    "VECTORS_HIGH": 0x5C,
    "STALL_WEIGHTS_LOW": 0x60,
    "STALL_WEIGHTS_HIGH": 0x64,
    "STALL_ACTIVATIONS_LOW": 0x68,
    "STALL_ACTIVATIONS_HIGH": 0x6C,
    "STALL_RESULTS_LOW": 0x70,
    "STALL_RESULTS_HIGH": 0x74,
    "READ_BEATS_LOW": 0x78,
    "READ_BEATS_HIGH": 0x7C,
    "WRITE_BEATS_LOW": 0x80,
    "WRITE_BEATS_HIGH": 0x84,
    "DEPTHWISE_LOW": 0x88,
    "DEPTHWISE_HIGH": 0x8C,
}


def test_offsets() -> None:
    assert {register.name: register.offset for register in REGISTERS} == OFFSETS
    assert [register.offset for register in REGISTERS] == sorted(OFFSETS.values())
    assert len(COUNTERS) == 8


def test_fields_lie_apart_and_within_their_register() -> None:
    for register in REGISTERS:
        taken = 0
        for field in register.fields:
            mask = ((1 << field.bits) - 1) << field.low
            assert field.bits > 0
            assert taken & mask == 0, (register.name, field.name)
            taken |= mask
        assert 0 < taken < 1 << 32


def test_table_is_what_json_can_carry() -> None:
    table = json.loads(json.dumps(register_table()))
    assert [row["name"] for row in table] == list(OFFSETS)
    assert table[0]["fields"][:2] == [
        {"name": "ap_start", "low": 0, "bits": 1},
        {"name": "ap_done", "low": 1, "bits": 1},
    ]
    assert {row["access"] for row in table} == {access.value for access in Access}


def test_capabilities() -> None:
    array = ArrayConfig(
        rows=16,
        columns=32,
        max_reduction=4608,
        accumulator_depth=512,
        activations="unsigned",
        modes=[MODES[0], MODES[3]],
    )
    accelerator = AcceleratorConfig(
        activation_words=8192,
        output_words=1024,
        parameter_groups=64,
        weight_rows=64,
        depthwise_kernel=5,
    )
    parameters = {**json.loads(array.model_dump_json())}
    parameters["accelerator"] = json.loads(accelerator.model_dump_json())
    text = json.dumps(parameters, sort_keys=True).replace(", ", ",").replace(": ", ":")
    assert capabilities(array, accelerator) == {
        "MAGIC": int.from_bytes(b"DYBT", "big"),
        "VERSION": 1,
        "GEOMETRY": 0x00_10_20_10,
        "MODES": 0x00_05_02_09,
        "ACTIVATION_WORDS": 8192,
        "ACCUMULATOR_PIXELS": 256,
        "OUTPUT_WORDS": 1024,
        "PARAMETER_GROUPS": 64,
        "CONFIGURATION": zlib.crc32(text.encode()),
    }


def test_capabilities_of_signed_esb() -> None:
    array = ArrayConfig(
        rows=8,
        columns=8,
        max_reduction=64,
        accumulator_depth=64,
        family="esb",
        activations="signed",
        modes=[MODES[3]],
    )
    found = capabilities(array, AcceleratorConfig())
    assert found["MODES"] == 0x0508
    assert found["GEOMETRY"] == 0x00_10_08_08


def test_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^GEOMETRY\.rows must be 0 to 255, not 256$"):
        pack("GEOMETRY", rows=256)
