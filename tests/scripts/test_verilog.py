"""The Verilog of real arrays: deterministic, and clean for every tool that reads it."""

import json
from pathlib import Path

import pytest

from dybit.quant.config import QuantConfig
from dybit.scripts.verilog import emit_array
from tests.hw.verilog_checks import check_with_icarus, check_with_verilator, check_with_yosys

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module", params=["all-modes", "digits-w4a4"])
def design(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    array = QuantConfig.load(CONFIGS / f"{request.param}.toml").array
    emit_array(array, directory)
    return directory, array


def read(directory):
    manifest = json.loads((directory / "manifest.json").read_text())
    return manifest, [directory / name for name in manifest["verilog"]]


def test_the_same_array_gives_the_same_bytes(design, tmp_path):
    directory, array = design
    emit_array(array, tmp_path)
    names = sorted(path.name for path in directory.glob("*.v*"))
    assert len(names) > 8
    for name in [*names, "manifest.json"]:
        assert (tmp_path / name).read_bytes() == (directory / name).read_bytes(), name


def test_elements_share_one_module(design):
    directory, array = design
    manifest, _ = read(directory)
    elements = [m for m in manifest["modules"].values() if m["component"] == "ProcessingElement"]
    assert [module["instances"] for module in elements] == [array.rows * array.columns]


def test_verilator_finds_nothing_but_the_waivers(design, tmp_path):
    manifest, _ = read(design[0])
    check_with_verilator(design[0], manifest, tmp_path / "lint.log")


def test_icarus_accepts_it(design, tmp_path, debian_tool):
    debian_tool("iverilog")
    manifest, _ = read(design[0])
    check_with_icarus(design[0], manifest, tmp_path / "icarus.log")


def test_yosys_accepts_it(design):
    manifest, _ = read(design[0])
    check_with_yosys(design[0], manifest)
