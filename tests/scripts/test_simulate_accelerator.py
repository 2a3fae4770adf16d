"""``dybit simulate --top accelerator``: what is compared, and that it can fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from dybit.quant.config import QuantConfig
from dybit.quant.network import QuantNetwork
from dybit.scripts import simulate_accelerator
from dybit.scripts.cli import app
from dybit.scripts.console import UserError
from dybit.scripts.simulate_accelerator import run_on_accelerator, run_table
from dybit.sim import executor
from tests.accelerators import SMALL_ACCELERATORS
from tests.networks import random_network

IMAGES = 3


def on_small_memories(network: QuantNetwork) -> QuantNetwork:
    """Return the network for an accelerator that other tests compile, too."""
    (tall,) = (each for each in SMALL_ACCELERATORS if each.name == "tall")
    parts = {name: tall.to_dict()[name] for name in ("array", "accelerator")}
    config = QuantConfig.from_dict(network.config.to_dict() | parts)
    return replace(network, config=config)


@pytest.fixture(scope="module")
def network() -> QuantNetwork:
    return on_small_memories(random_network())


@pytest.fixture(scope="module")
def images(network: QuantNetwork) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.normal(0, 1, (IMAGES, *network.input_shape)).astype(np.float32)


@pytest.fixture(scope="module")
def design(network: QuantNetwork, emitted: Callable[[QuantConfig], Path]) -> Path:
    return emitted(network.config)


def test_every_tensor_is_compared(network: QuantNetwork, images: np.ndarray, design: Path) -> None:
    run = run_on_accelerator(network, design, images)
    golden = executor.run(network, images)
    sizes = {
        layer.name: golden.layers[layer.name].codes.size
        for layer in network.compute_layers
        if layer.makes is not None
    }
    assert run.tensors == {
        **{name: (size, 0) for name, size in sizes.items()},
        "outputs": (golden.logits.size, 0),
    }
    assert run.mismatches == 0
    assert 0 < run.counter("vectors") < run.counter("cycles")
    assert run_table(run, IMAGES).row_count == 10


def test_another_network_is_a_mismatch(
    network: QuantNetwork, images: np.ndarray, design: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = executor.run(on_small_memories(random_network(2)), images)
    monkeypatch.setattr(simulate_accelerator.executor, "run", lambda network, images: other)
    assert run_on_accelerator(network, design, images).mismatches > 0


def test_what_does_not_fit_is_one_line(
    network: QuantNetwork, images: np.ndarray, design: Path
) -> None:
    memories = {"accelerator": {"parameter_groups": 16, "output_words": 16}}
    config = QuantConfig.from_dict(network.config.to_dict() | memories)
    small = replace(network, config=config)
    with pytest.raises(UserError, match="accelerator") as error:
        run_on_accelerator(small, design, images)
    assert "\n" not in str(error.value)


def test_the_command(
    network: QuantNetwork, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    network.save(tmp_path / "network")
    np.savez(tmp_path / "images.npz", x=images.transpose(0, 3, 1, 2))
    arguments = ["simulate", "network", "--images", "images.npz", "--top", "accelerator"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "mismatches" in result.output
    assert (tmp_path / "build/verilog" / network.config.name / "accelerator/manifest.json").exists()
