"""``dybit estimate``: the cycle model's figures as a table and as files."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dybit.quant.config import QuantConfig
from dybit.quant.workloads import table
from dybit.scripts.cli import app
from dybit.scripts.engine_cost import machine_of
from dybit.sim.cycles import AcceleratorCost, network_cycles
from tests.networks import random_network

CONFIG = """
[array]
rows = 8
columns = 8
max_reduction = 4608
accumulator_depth = 512
modes = ["W8A8", "W4A8"]
[default]
weight_bits = 8
activation_bits = 8
[layers."layer1.0.conv2"]
weight_bits = 4
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.toml").write_text(CONFIG)


def dybit(command: str) -> Result:
    return CliRunner().invoke(app, command.split())


def test_layers_and_totals() -> None:
    result = dybit("estimate resnet18 --config config.toml --clock 250 -o layers.csv")
    assert result.exit_code == 0, result.output
    config = QuantConfig.load("config.toml")
    cost = AcceleratorCost(machine_of(config.array, config.accelerator))
    workload = table("resnet18")
    modes = {layer.name: config.layer(layer.name).mode for layer in workload.array_layers}
    wanted = network_cycles(workload, modes, cost)
    with Path("layers.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["layer"] for row in rows] == list(modes)
    for row, layer in zip(rows, wanted, strict=True):
        assert row["mode"] == modes[row["layer"]].name
        assert int(row["cycles"]) == layer.cycles
        assert float(row["milliseconds"]) == pytest.approx(layer.cycles / 250e3)
        assert int(row["compute"]) == layer.counts.vectors
        assert int(row["read_bytes"]) == 16 * layer.counts.read_beats
    cycles = sum(layer.cycles for layer in wanted)
    assert f"{cycles:,} cycles, {cycles / 250e3:.4g} ms" in result.stdout
    rate = re.search(r"([\d.]+) images/s", result.stdout)
    assert rate is not None
    assert float(rate[1]) == pytest.approx(250e6 / cycles, rel=1e-3)


def test_memory_and_batch() -> None:
    def cycles(options: str) -> int:
        result = dybit(f"estimate resnet18 --config config.toml -o layers.json {options}")
        assert result.exit_code == 0, result.output
        return sum(row["cycles"] for row in json.loads(Path("layers.json").read_text()))

    fast = cycles("")
    assert cycles("--bandwidth 100") == fast
    assert cycles("--bandwidth 0.4") > 1.1 * fast
    assert cycles("--latency 400") > fast
    assert fast < cycles("--batch 2") < 2 * fast


def test_a_saved_network() -> None:
    random_network().save("network")
    config = random_network().config
    Path("small.toml").write_text(config.dumps())
    result = dybit("estimate network --config small.toml")
    assert result.exit_code == 0, result.output
    assert "small on small, 200 MHz" in result.stdout
    assert all(layer.name in result.stdout for layer in random_network().compute_layers)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("resnet18 --clock 0", "--clock must be positive, not 0"),
        ("resnet18 -o layers.txt", "--output must end in .csv or .json, not 'layers.txt'"),
        ("resnet18 --bandwidth -1", "--bandwidth, --clock, --latency: bandwidth and clock must"),
        ("resnet17", "workload must be one of resnet18, "),
        ("alexnet", "layers.layer1.0.conv2: no such layer; must be one of features.0, "),
    ],
)
def test_mistakes_end_in_one_line(options: str, message: str) -> None:
    result = dybit(f"estimate {options} --config config.toml")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {message}")
    assert len(result.stderr.splitlines()) == 1


def test_help_has_examples() -> None:
    assert "dybit estimate resnet18 --config" in dybit("estimate --help").stdout
