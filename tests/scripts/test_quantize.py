"""``dybit quantize`` on a small model of a user's."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from dybit.quant.network import Conv2d, Linear, QuantNetwork
from dybit.quant.torch.zoo import mobilenet_v2
from dybit.scripts.cli import app

MODEL = """
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 4 * 4, 5))

def convolution():
    return nn.Sequential(nn.Conv2d(2, 5, 6))

def gated():
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.SiLU(), nn.Flatten(), nn.Linear(3 * 4 * 4, 5))

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


@pytest.fixture
def mobilenet(files: Path) -> list[str]:
    """A command for a MobileNetV2 of random weights, and images of 32 x 32 pixels."""
    torch.manual_seed(0)
    model = mobilenet_v2(7)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():  # statistics, without which nothing reaches the last layer
        model.train()(torch.randn(4, 3, 32, 32))
    torch.save(model.state_dict(), "weights.pt")
    text = CONFIG.replace("max_reduction = 72", "max_reduction = 1280")
    limits = "weight_max_exponent_bits = 2\nactivation_max_exponent_bits = 2\n"
    Path("config.toml").write_text(text + limits)
    command = (
        "quantize --architecture mobilenet_v2 --weights weights.pt --config config.toml -o out"
    )
    return [*command.split(), "--image-size", "32", "--calibration"]


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


@pytest.mark.parametrize("rounding", ["gptq", "adaptive"])
def test_weights_rounded_otherwise(files: Path, rounding: str) -> None:
    text = CONFIG.replace("weight_bits = 8", "weight_bits = 4")
    Path("config.toml").write_text(text)
    networks = []
    for options in ([], ["--rounding", rounding, "--equalize"]):
        result = quantize("build", *options)
        assert result.exit_code == 0, result.output
        networks.append(QuantNetwork.load("out"))
    assert "equalised: 1 layers of 2" in result.stdout
    first, second = (network.compute_layers[1].weights for network in networks)
    assert not np.array_equal(first, second)


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


def test_an_architecture_takes_weights_and_a_folder_of_images(mobilenet: list[str]) -> None:
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 255, (40, 60, 3), np.uint8)
        Path(f"images/{index}").mkdir(parents=True)
        Image.fromarray(pixels).save(f"images/{index}/image.png")
    result = CliRunner().invoke(app, [*mobilenet, "images"])
    assert result.exit_code == 0, result.output
    network = QuantNetwork.load("out")
    assert network.input_shape == (32, 32, 3)
    head = network.layer("classifier.1")
    assert isinstance(head, Linear)
    assert head.outputs == 7
    depthwise = network.layer("features.1.conv.0.0")
    assert isinstance(depthwise, Conv2d)
    assert depthwise.groups == 32
    assert "every layer is quantised" in result.stdout
    (agreed,) = re.findall(r"same input: at least ([\d.]+)%, [01] apart at most", result.stdout)
    assert float(agreed) >= 99.9


def test_arrays_of_images_may_be_a_file_of_their_own(files: Path) -> None:
    np.save("data.npy", np.load("data.npz")["x"])
    command = "quantize model.py:build --config config.toml --calibration data.npy -o out --limit 9"
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 0, result.output
    assert "accuracy" not in result.stdout


def test_what_stays_float_is_printed(files: Path) -> None:
    result = quantize("gated")
    assert result.exit_code == 0, result.output
    assert re.search(r"1 +. silu +. it has no integer form", result.stdout), result.stdout
    assert [layer.operation for layer in QuantNetwork.load("out").float_layers] == ["silu"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("model.py:build --architecture resnet18", "exactly one of MODEL and --architecture"),
        ("", "exactly one of MODEL and --architecture must be given"),
        ("--architecture resnet18", "--weights must be given for --architecture resnet18"),
        (
            "--architecture vgg --weights weights.pt",
            "--architecture must be one of resnet18, resnet50, mobilenet_v2, not 'vgg'",
        ),
        (
            "--architecture resnet18 --weights weights.pt",
            "weights.pt: does not fit resnet18: must have fc.bias, one number a class",
        ),
        ("--architecture mobilenet_v2 --weights data.npz", "data.npz: must be a state_dict that"),
    ],
)
def test_a_bad_choice_of_network_is_refused(
    mobilenet: list[str], options: str, message: str
) -> None:
    command = f"quantize {options} --config config.toml --calibration data.npz -o out"
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_missing_calibration_is_refused(files: Path) -> None:
    Path("data.npz").unlink()
    result = quantize()
    assert result.exit_code == 2
    assert result.stderr == "error: data.npz: no such file or directory\n"
