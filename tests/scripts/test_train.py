"""``dybit train`` on a small model of a user's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from dybit.quant.network import QuantNetwork
from dybit.scripts.cli import app
from tests.quant.training_model import float_model, task

ROOT = Path(__file__).parents[2]

MODEL = """
from torch import nn

def build():
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 4),
    )
"""

CONFIG = """
[array]
rows = 4
columns = 4
max_reduction = 64
accumulator_depth = 64
[default]
weight_bits = 2
activation_bits = 2
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("model.py").write_text(MODEL)
    Path("config.toml").write_text(CONFIG)
    torch.save(float_model().state_dict(), "weights.pt")
    for name, count, seed in (("train", 300, 1), ("test", 200, 2)):
        x, y = task(count, seed).tensors
        np.savez(f"{name}.npz", x=x.numpy(), y=y.numpy())
    return tmp_path


COMMAND = (
    "model.py:build --weights weights.pt --images train.npz --test test.npz "
    "--config config.toml -o out --epochs 4 --batch 32"
)


def train(*options: str) -> Result:
    return CliRunner().invoke(app, ["train", *COMMAND.split(), *options])


def test_trains_saves_and_tells_the_accuracies(files: Path) -> None:
    result = train("--learning-rate", "0.003")
    assert result.exit_code == 0, result.output
    found = dict(re.findall(r"(FP32|calibrated|trained)\s+│\s+([\d.]+)%", result.stdout))
    real, before, after = (float(found[name]) for name in ("FP32", "calibrated", "trained"))
    assert real > after > before
    network = QuantNetwork.load("out")
    assert network.name == "config"
    assert {layer.weight_format.bits for layer in network.compute_layers} == {2}


def test_goes_on_from_its_checkpoint_to_the_same_network(files: Path) -> None:
    assert train().exit_code == 0
    first = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    result = train()
    assert "training.pt: goes on from there" in result.stdout
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == first
    result = train("--seed", "3")
    assert result.exit_code == 2
    assert re.fullmatch(
        r"error: out/training.pt: seed must be 0, as in the training it continues, not 3; .*\n",
        result.stderr,
    )


def test_two_ranks_write_one_network(files: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    result = subprocess.run(
        [*launcher, "-m", "dybit.scripts.train", *COMMAND.split()],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.count("trained") == 1
    assert QuantNetwork.load("out").name == "config"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--widths", "9"], r"--widths: widths must be 2 to 8 each, not \(9,\)"),
        (["--widths", "wide"], r"--widths: .*'wide'"),
        (["--test", "plain.npz"], r"plain.npz: y must be 5 integers, not absent"),
    ],
)
def test_refusals(files: Path, options: list[str], message: str) -> None:
    np.savez("plain.npz", x=np.zeros((5, 1, 6, 6), np.float32))
    result = train(*options)
    assert result.exit_code == 2
    assert re.fullmatch(f"error: {message}\n", result.stderr)
