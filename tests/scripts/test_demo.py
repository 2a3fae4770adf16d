"""The demo, reduced: a tiny array, few images, little training."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from dybit.quant.config import QuantConfig
from dybit.quant.layers import Conv2d, Linear
from dybit.quant.network import QuantNetwork
from dybit.scripts.console import TYPER, ends_on_mistakes
from dybit.scripts.demo import demo
from dybit.sim import executor
from dybit.sim.executor import GoldenBackend

ROOT = Path(__file__).parents[2]
NAMES = ("digits-w8a8", "digits-mixed", "digits-w4a4")
IMAGES = 2
# Of one image: accumulators and codes of the convolutions, 16 x 8 x 8, 32 x 8 x 8 and 32 x 4 x 4,
# and the raw head.
VALUES = 2 * (16 * 64 + 32 * 64 + 32 * 16) + 10
MACS = 16 * 64 * 9 + 32 * 64 * 144 + 32 * 16 * 288 + 10 * 128

app = typer.Typer(**TYPER)
app.command()(ends_on_mistakes(demo))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The demo's own configs on an array of 2 x 2 elements."""
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    for name in NAMES:
        text = (ROOT / "configs" / f"{name}.toml").read_text()
        text, count = re.subn(r"^(rows|columns) = \d+$", r"\1 = 2", text, flags=re.MULTILINE)
        assert count == 2
        Path("configs", f"{name}.toml").write_text(text)
    return tmp_path


def call(*arguments: object) -> Result:
    options = ["--images", IMAGES, "--epochs", 8, *arguments]
    return CliRunner().invoke(app, [str(option) for option in options])


def numbers(line: str) -> list[str]:
    return re.findall(r"[\d.,]+%?", line.partition("│")[2].partition("│")[2])


@pytest.mark.rtl
def test_the_whole_chain_twice(vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[tuple[Any, ...]] = []
    monkeypatch.setattr("dybit.scripts.demo.trace_tile", lambda *given: traced.append(given) or 7)
    result = call("--trace", "tile.vcd")
    assert result.exit_code == 0, result.output
    output = Path("build/demo")
    summary = json.loads((output / "summary.json").read_text())

    # Accuracies are those of the networks that were saved, on the images that were saved.
    test = np.load(output / "test.npz")
    for name in NAMES:
        network = QuantNetwork.load(output / name)
        assert network.config == QuantConfig.load(output / f"{name}.toml")
        found = executor.run(network, test["x"].transpose(0, 2, 3, 1)).predictions
        assert summary["accuracy"][name] == np.mean(found == test["y"])
    assert isinstance(summary["fp32_accuracy"], float)
    assert 0.97 <= summary["fp32_accuracy"] <= 1

    layers = {name: summary["configs"][name]["layers"] for name in NAMES}
    cycles = {name: sum(layer["cycles"] for layer in layers[name]) for name in NAMES}
    assert all(sum(layer["macs"] for layer in layers[name]) == IMAGES * MACS for name in NAMES)
    assert summary["speedup"] == {name: cycles["digits-w8a8"] / cycles[name] for name in NAMES}
    assert 1 < summary["speedup"]["digits-mixed"] < summary["speedup"]["digits-w4a4"] < 4
    totals = {name: summary[f"rtl_{name}"] for name in ("images", "values_compared", "mismatches")}
    assert totals == {
        "images": 3 * IMAGES,
        "values_compared": 3 * IMAGES * VALUES,
        "mismatches": 0,
    }
    assert summary["rtl_cycles"] == sum(cycles.values())
    assert summary["seconds"] >= sum(summary["steps"].values()) - 1 > 0

    rows = {line.split()[1]: numbers(line) for line in result.stdout.splitlines() if "│" in line}
    assert rows["FP32"] == [f"{summary['fp32_accuracy']:.2%}"]
    for name in NAMES:
        expected = [f"{summary['accuracy'][name]:.2%}", f"{IMAGES * MACS:,}", f"{cycles[name]:,}"]
        assert rows[name][:3] == expected
        assert rows[name][-3:] == [f"{summary['speedup'][name]:.2f}", f"{IMAGES * VALUES:,}", "0"]

    # One array for the modes of all three configs.
    manifest = json.loads((output / "verilog/manifest.json").read_text())
    assert manifest["parameters"]["modes"] == ["W8A8", "W8A4", "W4A8", "W4A4"]
    assert all((output / "verilog" / file).exists() for file in manifest["verilog"])
    ((network, layer, image, *paths),) = traced
    assert (network.name, layer, image.shape) == ("digits-w4a4", "conv2", (8, 8, 1))
    assert paths == [output / "verilog", Path("tile.vcd")]
    assert not list(Path().rglob(".*"))

    again = call("--output", "again")
    assert again.exit_code == 0, again.output
    files = [path.relative_to(output) for path in output.rglob("*") if path.is_file()]
    changed = [str(file) for file in files if not same(output / file, "again" / file)]
    assert changed == ["summary.json"]
    vectors("demo", summary["rtl_values_compared"])


def same(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes()


class Faulty(GoldenBackend):
    """Differs from the hardware in one code of one layer, and in what follows from it."""

    def compute(
        self, layer: Conv2d | Linear, codes: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8] | None]:
        accumulators, output = super().compute(layer, codes)
        if (layer.name, layer.mode.name) == ("conv2", "W4A4"):
            assert output is not None
            output[1, 3, 4, 5] ^= 8
        return accumulators, output


@pytest.mark.rtl
def test_a_mismatch_is_named_and_ends_in_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dybit.sim.executor.GoldenBackend", Faulty)
    monkeypatch.setattr("dybit.scripts.demo.REQUIRED_ACCURACY", 0)
    result = call("--epochs", 1)
    assert result.exit_code == 1, result.output
    pattern = (
        r"^first mismatch: digits-w4a4: conv2: code \(3, 4, 5\) of image 1 is (\d+) on the RTL, "
        r"(\d+) in the golden model$"
    )
    (found,) = re.findall(pattern, result.stdout, re.MULTILINE)
    assert int(found[0]) == int(found[1]) ^ 8
    summary = json.loads(Path("build/demo/summary.json").read_text())
    wrong = {
        (name, layer["name"]): layer["mismatches"]
        for name in NAMES
        for layer in summary["configs"][name]["layers"]
        if layer["mismatches"]
    }
    assert wrong["digits-w4a4", "conv2"] == 1
    assert summary["rtl_mismatches"] == sum(wrong.values())
    assert {name for name, _ in wrong} == {"digits-w4a4"}


@pytest.fixture
def hardware(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Stands in for the array's construction, which the test does without."""
    monkeypatch.setattr("dybit.scripts.demo._build", lambda *_: "none")
    return monkeypatch


def earlier_summary() -> Path:
    path = Path("build/demo/summary.json")
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    return path


def test_an_interrupted_run_leaves_no_summary(hardware: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    hardware.setattr("dybit.scripts.demo.simulate_network", interrupt)
    hardware.setattr("dybit.scripts.demo.REQUIRED_ACCURACY", 0)
    summary = earlier_summary()
    result = call("--epochs", 1)
    assert result.exit_code != 0
    assert "quantise digits-w8a8" in result.stdout
    assert not summary.exists()


def test_a_bad_model_ends_in_1(hardware: pytest.MonkeyPatch) -> None:
    hardware.setattr("dybit.scripts.demo.REQUIRED_ACCURACY", 1.01)
    summary = earlier_summary()
    result = call("--epochs", 1)
    assert result.exit_code == 1
    assert re.fullmatch(
        r"error: FP32 accuracy must be at least 101%, not \d\d\.\d\d%\n", result.stderr
    )
    assert not summary.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--config", "configs/digits-w8a8.toml", "--config", "configs/other.toml"],
            "other: array must be that of digits-w8a8, modes apart: cycles of different arrays "
            "do not compare",
        ),
        (["--config", "configs/digits-w8a8.toml"] * 2, "--config: 'digits-w8a8' is there twice"),
        (["--images", "451"], "--images: 451 is not allowed; must be 1 to 450"),
        (["--config", "none.toml"], "none.toml: no such file"),
    ],
)
def test_refusals_before_any_work(arguments: list[str], message: str) -> None:
    other = Path("configs/digits-w4a4.toml").read_text().replace("rows = 2", "rows = 3")
    Path("configs/other.toml").write_text(other)
    summary = earlier_summary()
    result = call(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {message}")
    assert len(result.stderr.splitlines()) == 1
    assert summary.exists()


def test_help_has_examples() -> None:
    assert call("--help").stdout.count("python -m dybit.scripts.demo") == 2
