"""The Verilog of real arrays: deterministic, and clean for every tool that reads it."""

import json
from pathlib import Path

import pytest

from dybit.hw.yosys import run_yosys
from dybit.quant.config import QuantConfig
from dybit.scripts.verilog import emit_array
from dybit.sim.toolchain import icarus, run_tool, verilator, verilator_environment

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
    directory, _ = design
    manifest, files = read(directory)
    options = ("--lint-only", "-Wall", "--top-module", manifest["top"])
    run_tool(
        [verilator(), *options, directory / manifest["waivers"], *files],
        tmp_path / "lint.log",
        verilator_environment(),
    )


def test_icarus_accepts_it(design, tmp_path, debian_tool):
    debian_tool("iverilog")
    _, files = read(design[0])
    log = tmp_path / "icarus.log"
    run_tool([icarus(), "-g2005", "-Wall", "-o", tmp_path / "design.vvp", *files], log)
    assert log.read_text() == ""


def test_yosys_accepts_it(design):
    directory, _ = design
    manifest, files = read(directory)
    script = f"read_verilog {' '.join(path.name for path in files)}\nhierarchy -check -top "
    printed = run_yosys(f"{script}{manifest['top']}\nproc\ncheck -assert", directory)
    assert "Warning" not in printed
