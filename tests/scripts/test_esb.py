"""The commands on an ESB config: a user's model to codes, to Verilog, and both compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from dybit.quant.network import QuantNetwork
from dybit.scripts.cli import app

CONFIG = Path(__file__).parents[2] / "configs" / "digits-esb.toml"

MODEL = """
from collections import OrderedDict
from torch import manual_seed, nn

def build():
    manual_seed(1)
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(1, 3, 3, padding=1), relu1=nn.ReLU(),
        conv2=nn.Conv2d(3, 4, 3, padding=1), relu2=nn.ReLU(), pool2=nn.MaxPool2d(2),
        conv3=nn.Conv2d(4, 4, 3), flatten=nn.Flatten(), head=nn.Linear(16, 5),
    ))
"""


def dybit(command: str) -> Result:
    return CliRunner().invoke(app, command.split())


@pytest.mark.rtl
def test_from_model_to_rtl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vectors) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.py").write_text(MODEL)
    text = CONFIG.read_text().replace("rows = 8", "rows = 2").replace("columns = 8", "columns = 2")
    Path("esb.toml").write_text(text)
    x = np.random.default_rng(5).normal(size=(40, 1, 8, 8))
    np.savez("data.npz", x=x, y=np.arange(40) % 5)

    result = dybit("quantize model.py:build --config esb.toml --calibration data.npz -o net")
    assert result.exit_code == 0, result.output
    formats = {
        layer.name: (layer.weight_format.name, layer.input.format.name)
        for layer in QuantNetwork.load("net").compute_layers
    }
    narrow, wide = ("esb4k1", "esb4k1"), ("esb8k4", "esb8k4")
    assert formats == {"conv1": wide, "conv2": narrow, "conv3": narrow, "head": wide}

    result = dybit("verilog --config esb.toml -o verilog")
    assert result.exit_code == 0, result.output
    manifest = json.loads(Path("verilog/manifest.json").read_text())
    assert manifest["parameters"]["family"] == "esb"
    assert {"esb_k4", "esb_k8"} <= manifest["parameters"].keys()
    components = {module["component"] for module in manifest["modules"].values()}
    assert {"ESBDecoder", "ESBEncoder"} <= components
    assert not {"MPDecoder", "Encoder"} & components

    result = dybit("simulate net --images data.npz --limit 2")
    assert result.exit_code == 0, result.output
    # Two images' accumulators and codes, and 5 logits, by layer.
    compared = 2 * (2 * (64 * 3 + 64 * 4 + 4 * 4) + 5)
    row = next(line for line in result.stdout.splitlines() if "total" in line)
    assert f"{compared:,}" in row
    vectors("network of ESB", compared)
