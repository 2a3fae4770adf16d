"""``dybit quantize`` on a small model of a user's."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from dybit.quant.network import QuantNetwork
from dybit.scripts.cli import app

MODEL = """
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 4 * 4, 5))

def convolution():
    return nn.Sequential(nn.Conv2d(2, 5, 6))

def cropped():
    pool = nn.MaxPool2d(4, ceil_mode=True)
    return nn.Sequential(nn.Conv2d(2, 4, 1), pool, nn.Flatten(), nn.Linear(4 * 2 * 2, 5))
"""

CONFIG = """
[array]
rows = 2
columns = 2
max_reduction = 72
accumulator_depth = 16
[default]
weight_bits = 8
activation_bits = 8
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("model.py").write_text(MODEL)
    Path("config.toml").write_text(CONFIG)
    x = np.random.default_rng(5).normal(size=(100, 2, 6, 6))
    np.savez("data.npz", x=x, y=np.arange(100) % 5)
    return tmp_path


def quantize(function: str = "build", *options: str) -> Result:
    command = f"quantize model.py:{function} --config config.toml --calibration data.npz -o out"
    return CliRunner().invoke(app, [*command.split(), *options])


def test_saves_a_network_and_reports_on_it(files: Path) -> None:
    result = quantize()
    assert result.exit_code == 0, result.output
    network = QuantNetwork.load("out")
    assert network.input_shape == (6, 6, 2)
    assert [layer.mode.name for layer in network.compute_layers] == ["W8A8", "W8A8"]
    for phrase in ("codes as the fake-quantised model's", "answers as the FP32", "accuracy: "):
        assert phrase in result.stdout


def test_a_last_convolution_answers_by_channel(files: Path) -> None:
    result = quantize("convolution")
    assert result.exit_code == 0, result.output
    ((agreed,), ((before, after),)) = (
        re.findall(r"answers as the FP32 model's: ([\d.]+)%", result.stdout),
        re.findall(r"accuracy: ([\d.]+)% in FP32, ([\d.]+)% quantised", result.stdout),
    )
    assert float(agreed) > 90
    assert abs(float(before) - float(after)) < 10


def test_weights_given_are_those_quantised(files: Path) -> None:
    torch.manual_seed(0)
    state = {
        "0.weight": torch.ones(3, 2, 3, 3),
        "0.bias": torch.zeros(3),
        "3.weight": torch.randn(5, 48),
        "3.bias": torch.zeros(5),
    }
    torch.save(state, "weights.pt")
    assert quantize("build", "--weights", "weights.pt").exit_code == 0
    weights = QuantNetwork.load("out").compute_layers[0].weights
    assert len(np.unique(weights)) == 1


def test_unknown_layer_in_the_config_is_refused(files: Path) -> None:
    Path("config.toml").write_text(CONFIG + "[layers.conv9]\nweight_bits = 4\n")
    result = quantize()
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert "layers.conv9" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not Path("out").exists()


def test_a_layer_without_a_form_outside_torch_is_refused(files: Path) -> None:
    result = quantize("cropped")
    assert result.exit_code == 2
    assert "1: max_pool2d stays float (ceil_mode=True) and has no form outside" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_layer_beyond_the_longest_reduction_is_refused(files: Path) -> None:
    Path("config.toml").write_text(CONFIG.replace("max_reduction = 72", "max_reduction = 47"))
    result = quantize()
    assert result.exit_code == 2
    assert "a reduction of 48 is not allowed; must be at most array.max_reduction = 47" in (
        result.stderr
    )


def test_missing_calibration_is_refused(files: Path) -> None:
    Path("data.npz").unlink()
    result = quantize()
    assert result.exit_code == 2
    assert result.stderr == "error: data.npz: no such file or directory\n"
