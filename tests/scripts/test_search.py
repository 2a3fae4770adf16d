"""``dybit search`` on tables, files and a user's model."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner, Result

from dybit.quant.config import QuantConfig
from dybit.quant.network import QuantNetwork
from dybit.quant.workloads import table
from dybit.scripts.cli import app
from tests.networks import graph_network

MODEL = """
import torch
from torch import nn

class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.inner = nn.Conv2d(8, 8, 3, padding=1)
        self.short = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x).relu()
        x = (self.inner(x) + self.short(x)).relu()
        return self.head(x.mean([2, 3]))

def build():
    return Residual()
"""

CONFIG = """
[array]
rows = 4
columns = 4
max_reduction = 4608
accumulator_depth = 64
[default]
weight_bits = 8
activation_bits = 8
"""

WORKLOAD = "search --workload resnet18 --config config.toml --cache cache"
TRAINED = "search model.py:build --calibration data.npz --config config.toml --cache cache"


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.py").write_text(MODEL)
    Path("config.toml").write_text(CONFIG)
    x = np.random.default_rng(5).normal(size=(80, 3, 8, 8))
    np.savez("data.npz", x=x, y=np.arange(80) % 5)


def dybit(command: str, *options: str) -> Result:
    return CliRunner().invoke(app, [*command.split(), *options])


def figures(result: Result) -> tuple[float, float]:
    """Speed-up and error as printed."""
    assert result.exit_code == 0, result.output
    (speed_up,) = re.findall(r"speed-up: ([\d.]+)x, ", result.stdout)
    (error,) = re.findall(r"^[a-z-]+: ([\d.e-]+) on ", result.stdout, re.MULTILINE)
    return float(speed_up), float(error)


def test_a_table_to_a_speed_up() -> None:
    result = dybit(WORKLOAD, "--speedup", "3", "-o", "found.toml")
    speed_up, error = figures(result)
    assert speed_up >= 3
    assert "gap: 0, proved to be the best" in result.stdout
    assert "greedy by latency, top 1: " in result.stdout
    found = QuantConfig.load("found.toml")
    assert found.name == "found"
    names = [layer.name for layer in table("resnet18").array_layers]
    for name in names:
        mode = found.layer(name).mode
        assert re.search(
            rf"^\W+{re.escape(name)}\W+{mode.weight_bits} bits\W+{mode.activation_bits} bits",
            result.stdout,
            re.MULTILINE,
        )
    # Downsampling reads what the first convolution of its block does.
    for stage in (2, 3, 4):
        one, other = (found.layer(f"layer{stage}.0.{n}") for n in ("conv1", "downsample.0"))
        assert one.activation_bits == other.activation_bits
    back = dybit(WORKLOAD, "--rmse", str(error * 1.0001), "-o", "back.toml")
    assert figures(back)[0] == pytest.approx(speed_up, rel=1e-3)


def test_equal_searches_give_equal_bytes() -> None:
    texts = set()
    for name in ("one", "two"):
        assert dybit(WORKLOAD.replace("cache cache", f"cache {name}"), "--speedup", "4", "-o",
                     "found.toml").exit_code == 0  # fmt: skip
        texts.add(Path("found.toml").read_bytes())
    assert len(texts) == 1


def test_greedy_says_that_nothing_is_proved() -> None:
    best = figures(dybit(WORKLOAD, "--speedup", "3", "-o", "found.toml"))
    for options in (["--top-k", "3"], ["--rank", "ratio"]):
        result = dybit(
            WORKLOAD, "--speedup", "3", "--method", "greedy", "-o", "found.toml", *options
        )
        assert figures(result)[0] >= 3
        assert figures(result)[1] >= best[1]
        assert "nothing is proved" in result.stdout


def test_pins_and_modes() -> None:
    result = dybit(WORKLOAD, "--speedup", "2", "--modes", "W8A8,W4A4", "--pin", "conv1=W8A8",
                   "--pin", "fc=W8A8", "--keep-modes", "-o", "found.toml")  # fmt: skip
    assert figures(result)[0] >= 2
    found = QuantConfig.load("found.toml")
    assert [mode.name for mode in found.modes] == ["W8A8", "W4A4"]
    assert found.layer("conv1").mode.name == found.layer("fc").mode.name == "W8A8"


def test_the_front_holds_both_kinds_of_points() -> None:
    result = dybit(WORKLOAD, "--front", "out/front.json")
    assert result.exit_code == 0, result.output
    front = json.loads(Path("out/front.json").read_text())
    assert (front["name"], front["measure"]) == ("resnet18", "rmse")
    methods = {point["method"] for point in front["points"]}
    assert methods == {"exact", "greedy by latency, top 1", "greedy by ratio, top 1"}
    optimal = [point for point in front["points"] if point["method"] == "exact"]
    assert len(optimal) == 16
    assert all(point["gap"] == 0 for point in optimal)
    for point in front["points"]:
        assert point["speed_up"] == front["baseline"] / point["cycles"]
        # No point of another lies below an optimum.
        beaten = [o for o in optimal if point["speed_up"] >= o["speed_up"]]
        assert all(point["error"] >= o["error"] * (1 - 1e-9) for o in beaten)
        assert set(point["modes"]) == {layer.name for layer in table("resnet18").array_layers}


@pytest.mark.parametrize("measure", ["rmse", "pooled-rmse", "output", "fisher"])
def test_a_users_model(measure: str) -> None:
    result = dybit(TRAINED, "--speedup", "1.8", "--sensitivity", measure, "-o", "found.toml")
    assert figures(result)[0] >= 1.8
    used = {"rmse": 80, "pooled-rmse": 80}.get(measure, 64)
    assert f" on {used} images" in result.stdout
    quantised = dybit(
        "quantize model.py:build --config found.toml --calibration data.npz -o network"
    )
    assert quantised.exit_code == 0, quantised.output
    found = QuantConfig.load("found.toml")
    network = QuantNetwork.load("network")
    assert {layer.name: layer.mode for layer in network.compute_layers} == {
        name: found.layer(name).mode for name in ("stem", "inner", "short", "head")
    }


def test_what_was_computed_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = dybit(TRAINED, "--speedup", "2", "--sensitivity", "fisher", "-o", "found.toml")
    text = Path("found.toml").read_bytes()
    for name in ("dybit.quant.torch.operands.rate_formats", "dybit.quant.search.solver.exact"):
        monkeypatch.setattr(name, None)
    again = dybit(TRAINED, "--speedup", "2", "--sensitivity", "fisher", "-o", "found.toml")
    assert again.stdout == first.stdout
    assert Path("found.toml").read_bytes() == text
    shutil.rmtree("cache")
    assert isinstance(dybit(TRAINED, "--speedup", "2", "-o", "f.toml").exception, TypeError)


def test_weights_given_are_those_searched() -> None:
    figures_by_weights = set()
    for scale in (1.0, 3.0):
        state = {
            "stem.weight": torch.ones(8, 3, 3, 3) * torch.linspace(0.1, scale, 27).view(3, 3, 3),
            "stem.bias": torch.zeros(8),
            "inner.weight": torch.ones(8, 8, 3, 3) ** scale,
            "inner.bias": torch.zeros(8),
            "short.weight": torch.ones(8, 8, 1, 1),
            "short.bias": torch.zeros(8),
            "head.weight": torch.ones(5, 8),
            "head.bias": torch.zeros(5),
        }
        torch.save(state, "weights.pt")
        result = dybit(TRAINED, "--speedup", "2", "--weights", "weights.pt", "-o", "found.toml")
        figures_by_weights.add(figures(result)[1])
    assert len(figures_by_weights) == 2


def test_onnx_files_and_saved_networks() -> None:
    light = Path(onnx.__file__).parent / "backend/test/data/light/light_squeezenet.onnx"
    command = "search --config config.toml --cache cache -o found.toml --workload"
    assert figures(dybit(command, str(light), "--speedup", "2"))[0] >= 2
    graph_network().save("network")
    # Its groups have so few channels that narrow ones fill no row.
    result = dybit(command, "network", "--speedup", "1.2")
    assert figures(result)[0] >= 1.2
    found = QuantConfig.load("found.toml")
    # A product of activations states the width of both operands, and so do those that read them.
    assert found.layer("scores").activation_bits == found.layer("mixed").activation_bits


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (WORKLOAD, "--speedup, --max-error or --front must be given"),
        (f"{WORKLOAD} --speedup 2", "--output must be given with --speedup or --max-error"),
        (f"{WORKLOAD} --front f.json -o c.toml", "--output must be given with --speedup or"),
        (f"{WORKLOAD} --speedup 2 --rmse 1 -o c.toml", "--speedup and --max-error must not both"),
        (f"{WORKLOAD} --speedup 99 -o c.toml", "speed-up must be at most "),
        (f"{WORKLOAD} --rmse 1e-9 -o c.toml", "rmse must be at least "),
        (f"{WORKLOAD} --speedup -1 -o c.toml", "speed-up must be positive and finite, not -1"),
        (f"{WORKLOAD} --speedup 2 -o c.toml --pin conv1", "--pin must be LAYER=MODE, such as"),
        (f"{WORKLOAD} --speedup 2 -o c.toml --pin conv1=W8", "--pin conv1: precision mode must be"),
        (f"{WORKLOAD} --speedup 2 -o c.toml --pin x=W8A8", "pin x: no such layer; must be one of"),
        (f"{WORKLOAD} --speedup 2 -o c.toml --modes W9A9", "--modes: precision mode must be one"),
        (f"{WORKLOAD} --speedup 2 -o c.toml --sensitivity fisher", "--sensitivity must be rmse or"),
        (f"{WORKLOAD} --speedup 2 -o c.toml --weights w.pt", "--workload must be given without a"),
        ("search --config config.toml --speedup 2 -o c.toml", "--calibration must be given with"),
        (
            "search --config config.toml --speedup 2 -o c.toml --calibration data.npz",
            "exactly one of MODEL and --architecture must be given",
        ),
        (
            "search --workload vgg16 --config config.toml --speedup 2 -o c.toml",
            "workload must be one of resnet18, ",
        ),
        (
            "search --workload alexnet --config config.toml --speedup 2 -o c.toml",
            "layers.classifier.1: a reduction of 9216 is not allowed",
        ),
    ],
)
def test_mistakes_end_in_one_line(command: str, message: str) -> None:
    result = dybit(command)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not Path("c.toml").exists()


def test_help_has_examples() -> None:
    result = dybit("search --help")
    assert result.exit_code == 0
    assert result.stdout.count("dybit search ") >= 4
