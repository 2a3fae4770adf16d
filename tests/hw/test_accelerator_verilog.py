"""The Verilog of a whole accelerator: deterministic, described, and clean for every tool."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dybit.hw.registers import register_table
from dybit.quant.config import QuantConfig
from tests.accelerators import SMALL_ACCELERATORS
from tests.hw.descriptors import PLACES
from tests.hw.verilog_checks import check_with_icarus, check_with_verilator, check_with_yosys

CONFIG = SMALL_ACCELERATORS[1]

Emitted = Callable[[QuantConfig], Path]


@pytest.fixture
def folder(emitted: Emitted) -> Path:
    return emitted(CONFIG)


@pytest.fixture
def manifest(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return loaded


def test_the_command_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "again.toml"
    config.write_text(CONFIG.dumps())
    output = tmp_path / "output"
    command = [sys.executable, "-m", "dybit.scripts.verilog", "--top", "accelerator"]
    subprocess.run(
        [*command, "--config", config, "--output", output],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "77"},
        capture_output=True,
    )
    names = sorted(path.name for path in folder.iterdir())
    # The command adds FuseSoC's core file.
    assert sorted([*names, "dybit.core"]) == sorted(path.name for path in output.iterdir())
    for name in names:
        assert (output / name).read_bytes() == (folder / name).read_bytes(), name


def test_verilator_finds_nothing(folder: Path, manifest: dict[str, Any], tmp_path: Path) -> None:
    check_with_verilator(folder, manifest, tmp_path / "lint.log")


def test_icarus_accepts_it(
    folder: Path, manifest: dict[str, Any], tmp_path: Path, debian_tool: Callable[[str], str]
) -> None:
    debian_tool("iverilog")
    check_with_icarus(folder, manifest, tmp_path / "icarus.log")


def test_yosys_accepts_it(folder: Path, manifest: dict[str, Any]) -> None:
    check_with_yosys(folder, manifest)


def test_manifest_is_what_a_driver_needs(manifest: dict[str, Any]) -> None:
    parameters = CONFIG.array.model_dump(mode="json")
    parameters["accelerator"] = CONFIG.accelerator.model_dump(mode="json")
    assert manifest["parameters"] == parameters
    assert manifest["registers"] == register_table()
    offsets = {register["name"]: register["offset"] for register in manifest["registers"]}
    wanted = {"CTRL": 0, "GIE": 4, "IER": 8, "ISR": 12, "MAGIC": 16, "LIST_LOW": 0x34}
    wanted |= {"LIST_LENGTH": 0x3C, "STATUS": 0x40, "ERROR": 0x44, "CYCLES_LOW": 0x50}
    assert wanted.items() <= offsets.items()
    places = {f["name"]: (f["word"], f["low"], f["bits"]) for f in manifest["descriptor"]}
    assert places == PLACES
    assert manifest["latency"].keys() >= {"accumulate"}


def test_ports_are_those_that_tools_know(manifest: dict[str, Any]) -> None:
    ports = {port["name"]: (port["direction"], port["width"]) for port in manifest["ports"]}
    assert ports.pop("clk") == ports.pop("rst") == ("input", 1)
    assert ports.pop("interrupt") == ("output", 1)
    memory = {
        name.removeprefix("m_axi_gmem_"): ports.pop(name)
        for name in list(ports)
        if name.startswith("m_axi_gmem_")
    }
    control = {
        name.removeprefix("s_axi_control_"): ports.pop(name)
        for name in list(ports)
        if name.startswith("s_axi_control_")
    }
    assert not ports
    for channel, width in (("aw", 40), ("ar", 40)):
        assert memory[f"{channel}addr"] == ("output", width)
        assert memory[f"{channel}len"] == ("output", 8)
        assert memory[f"{channel}valid"] == ("output", 1)
        assert memory[f"{channel}ready"] == ("input", 1)
        assert control[f"{channel}addr"] == ("input", 12)
        assert control[f"{channel}ready"] == ("output", 1)
    assert memory["wdata"] == ("output", 128)
    assert memory["wstrb"] == ("output", 16)
    assert memory["rdata"] == ("input", 128)
    assert memory["rresp"] == memory["bresp"] == ("input", 2)
    assert control["wdata"] == ("input", 32)
    assert control["rdata"] == ("output", 32)
    assert control["rresp"] == control["bresp"] == ("output", 2)
