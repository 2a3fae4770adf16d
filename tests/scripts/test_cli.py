"""The ``dybit`` command, as a user calls it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from dybit.quant.layers import Conv2d, Linear
from dybit.scripts.cli import app
from dybit.sim.executor import GoldenBackend
from tests.networks import on_array, random_network

CONFIGS = Path(__file__).parents[2] / "configs"
NETWORK = on_array(random_network(), rows=2, columns=3)
"""On fewer elements than other tests have it, for it is also compiled to be traced."""


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A saved network beside its images; what commands write by default goes there too."""
    monkeypatch.chdir(tmp_path)
    NETWORK.save(tmp_path / "network")
    height, width, channels = NETWORK.input_shape
    x = np.random.default_rng(1).uniform(0, 2, (3, channels, height, width))
    np.savez(tmp_path / "images.npz", x=x, y=np.zeros(3, int))
    return tmp_path / "network"


@pytest.mark.parametrize("command", ["quantize", "train", "verilog", "simulate"])
def test_help_has_an_example(command: str) -> None:
    assert command in call("--help").stdout
    assert f"dybit {command} " in call(command, "--help").stdout.partition("Arguments:")[0]


def test_verilog_writes_the_design(tmp_path: Path) -> None:
    config = tmp_path / "tiny.toml"
    text = (CONFIGS / "digits-w4a4.toml").read_text()
    config.write_text(text.replace("rows = 8", "rows = 2").replace("columns = 8", "columns = 1"))
    result = call("verilog", "--config", config, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["content_hash"] in result.stdout
    assert manifest["parameters"]["rows"] == 2
    assert manifest["parameters"]["modes"] == ["W4A4"]
    assert all((tmp_path / "out" / name).exists() for name in manifest["verilog"])


def test_verilog_refuses_a_config_before_any_work(tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    config.write_text((CONFIGS / "digits-w4a4.toml").read_text().replace("rows = 8", "rows = 0"))
    result = call("verilog", "--config", config, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: {config}: array.rows: 0 is not allowed; must be an integer from 1 to 256\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.rtl
def test_simulate_agrees_with_the_golden_model(network: Path, vectors) -> None:
    result = call("simulate", network, "--images", "images.npz", "--trace", "first.vcd")
    assert result.exit_code == 0, result.output
    # Accumulators and codes of 3 images: 6 x 4 x 5 and 6 x 4 x 6, and the 3 logits raw.
    compared = 3 * (2 * 6 * 4 * 5 + 2 * 6 * 4 * 6 + 3)
    row = next(line for line in result.stdout.splitlines() if "total" in line)
    assert f"{compared:,}" in row
    assert "accuracy on these images" in result.stdout
    assert "$enddefinitions" in Path("first.vcd").read_text()
    vectors("network", compared)


class Faulty(GoldenBackend):
    """Differs from the hardware in one code of one layer."""

    def compute(
        self, layer: Conv2d | Linear, codes: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8] | None]:
        accumulators, output = super().compute(layer, codes)
        if layer.name == "head":
            accumulators[0, 1] += 1
        return accumulators, output


def test_simulate_reports_a_mismatch(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dybit.sim.executor.GoldenBackend", Faulty)
    result = call("simulate", network, "--images", "images.npz", "--limit", 1)
    assert result.exit_code == 1
    counts = {
        cells[0]: cells[-2]
        for line in result.stdout.splitlines()
        if line.startswith("│") and (cells := re.findall(r"[\w.,]+", line))
    }
    assert (counts["first"], counts["second"], counts["head"]) == ("0", "0", "1")
    pattern = (
        r"^first mismatch: head: accumulator \(1,\) of image 0 is (-?\d+) on the RTL, (-?\d+) in"
    )
    ((found, expected),) = re.findall(pattern, result.stdout, re.MULTILINE)
    assert int(expected) == int(found) + 1


def test_simulate_refuses_images_of_another_shape(network: Path) -> None:
    np.savez("images.npz", x=np.zeros((2, 3, 6, 8)))
    result = call("simulate", network, "--images", "images.npz")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: images.npz: x must have shape (N, 2, 6, 8), not (2, 3, 6, 8)\n"
    )
    assert not Path("build").exists()


def test_simulate_refuses_a_folder_without_a_network(tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", x=np.zeros((1, 1, 1, 1)))
    result = call("simulate", tmp_path / "none", "--images", tmp_path / "images.npz")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {tmp_path}/none/network.toml: no such file")
    assert len(result.stderr.splitlines()) == 1
