"""``dybit export`` and ``dybit import``."""

from __future__ import annotations

from pathlib import Path

import onnx
from typer.testing import CliRunner

from dybit.scripts.cli import app
from tests.networks import graph_network, random_network


def test_there_and_back(tmp_path: Path) -> None:
    graph_network().save(tmp_path / "network")
    model, back = str(tmp_path / "new" / "n.onnx"), str(tmp_path / "back")
    for command in (
        ["export", str(tmp_path / "network"), "-o", model],
        ["import", model, "-o", back],
    ):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
    for name in ("network.toml", "network.safetensors"):
        assert (tmp_path / "network" / name).read_bytes() == (tmp_path / "back" / name).read_bytes()


def test_qonnx_is_for_uniform_formats(tmp_path: Path) -> None:
    graph_network(uniform=True).save(tmp_path / "uniform")
    random_network().save(tmp_path / "other")
    model = str(tmp_path / "n.onnx")
    command = ["export", str(tmp_path / "uniform"), "--qonnx", "-o", model]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert "Quant" in {node.op_type for node in onnx.load(model).graph.node}
    command[1] = str(tmp_path / "other")
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: input: dybit4u has no form in QONNX; must be uniform")


def test_mistakes_end_in_one_line(tmp_path: Path) -> None:
    for command in (["export", str(tmp_path / "none")], ["import", str(tmp_path / "none.onnx")]):
        result = CliRunner().invoke(app, [*command, "-o", str(tmp_path / "out")])
        assert result.exit_code == 2
        assert "no such file or directory" in result.stderr
        assert len(result.stderr.splitlines()) == 1
