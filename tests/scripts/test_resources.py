"""``make resources``, as a user calls it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from dybit.quant.config import QuantConfig
from dybit.scripts.console import TYPER, UserError, ends_on_mistakes
from dybit.scripts.resources import resources

CONFIGS = Path(__file__).parents[2] / "configs"


def call(directory, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "dybit.scripts.resources", *map(str, arguments)],
        cwd=directory,
        capture_output=True,
        text=True,
    )


def test_report_of_a_small_array(tmp_path):
    config = tmp_path / "tiny.toml"
    text = (CONFIGS / "digits-w4a4.toml").read_text()
    config.write_text(text.replace("rows = 8", "rows = 2").replace("columns = 8", "columns = 3"))
    result = call(tmp_path, "--config", config)
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "build/resources/tiny.json").read_text())
    array = QuantConfig.load(config).array
    assert report["modes"] == {
        "W4A4": {
            "macs_per_cycle": 2 * 3 * 4,
            "gops_per_klut": pytest.approx(2 * 24 * 0.3 / (report["total"]["lut"] / 1000)),
            "partial_sum_lanes": 2,
            "partial_sum_lane_bits": array.partial_sum_bits // 2,
            "accumulator_lane_bits": array.accumulator_bits // 2,
        }
    }
    assert report["partial_sum_bits"] == array.partial_sum_bits
    assert report["accumulator_bits"] == array.accumulator_bits
    blocks = {block["block"]: block for block in report["blocks"]}
    assert blocks["ProcessingElement"]["instances"] == 6
    # What is inside an element is optimised with it, so that it counts as one alone does.
    assert "MantissaMultiplier" not in blocks
    assert blocks["ProcessingElement"]["each"] == blocks["ProcessingElement"]["own"]
    assert report["depth"] == blocks["MatrixEngine"]["depth"]
    deepest = max(path["lut"] for path in report["depth"])
    assert deepest >= max(path["lut"] for path in blocks["Requantizer"]["depth"]) > 0
    assert report["total"]["dsp"] > 0
    assert report["total"]["lut"] > 6 * blocks["ProcessingElement"]["each"]["lut"]
    assert "dybit_processing_element" in result.stdout
    assert "24" in result.stdout
    assert "GOPS/kLUT at 300 MHz" in result.stdout
    assert "1 carry" in result.stdout


def test_no_dsp(tmp_path, monkeypatch):
    """The option reaches the report; what it makes of it, `tests.test_benchmarks` has."""
    asked = []

    def report(array, directory, dsp):
        asked.append(dsp)
        raise UserError("enough")

    monkeypatch.setattr("dybit.scripts.resources.resource_report", report)
    monkeypatch.chdir(tmp_path)
    app = typer.Typer(**TYPER)
    app.command()(ends_on_mistakes(resources))
    for options in (["--no-dsp"], ["--dsp"], []):
        result = CliRunner().invoke(app, ["--config", str(CONFIGS / "digits-w4a4.toml"), *options])
        assert result.stderr == "error: enough\n"
    assert asked == [False, True, True]


def test_a_bad_config_ends_in_one_line(tmp_path):
    config = tmp_path / "bad.toml"
    config.write_text((CONFIGS / "digits-w4a4.toml").read_text().replace("rows = 8", "rows = 0"))
    result = call(tmp_path, "--config", config)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "array.rows: 0 is not allowed" in result.stderr
    assert not (tmp_path / "build").exists()
