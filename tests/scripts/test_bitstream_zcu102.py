"""``dybit bitstream --board zcu102``: the project, its notebook, Vivado, and mistakes."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dybit.hw.platforms.part import LFE5U_85F, XCZU9EG
from dybit.hw.yosys import YosysError
from dybit.quant.config import ConfigError, QuantConfig
from dybit.scripts import bitstream_zcu102, digits
from dybit.scripts.bitstream_zcu102 import build_zcu102
from dybit.scripts.pynq_overlay import notebook
from dybit.scripts.verilog import emit_accelerator
from dybit.sim.runtime import RtlDevice
from dybit.sim.toolchain import ToolFailed, ToolMissing
from tests.accelerators import DEEP_ACCELERATOR
from tests.scripts.bitstreams import call, config
from tests.sim.runtime.fake_pynq import fake_pynq

# An accelerator that other tests compile, too.
SMALL = QuantConfig.from_dict(
    DEEP_ACCELERATOR.to_dict() | {"layers": {"conv2": {"weight_bits": 4, "activation_bits": 4}}}
).dumps()

COUNTS = {"lut": 100_000.0, "ff": 90_000.0, "dsp": 20.0, "bram": 9.5}
IMAGES = 100


@pytest.fixture(scope="module")
def design(emitted: Callable[[QuantConfig], Path]) -> Path:
    """The accelerator of the small config, written once."""
    return emitted(DEEP_ACCELERATOR)


def without_synthesis(design: Path, patch: pytest.MonkeyPatch) -> None:
    """Have the design copied and its count made up, and Vivado not found."""

    def emit(config: QuantConfig, directory: Path) -> Any:
        shutil.copytree(design, directory)
        return json.loads((directory / "manifest.json").read_text())

    patch.setattr(bitstream_zcu102, "emit_accelerator", emit)
    patch.setattr(bitstream_zcu102, "_count", lambda design, log: dict(COUNTS))
    patch.delenv("VIVADO", raising=False)
    folders = os.environ["PATH"].split(os.pathsep)
    others = [folder for folder in folders if not Path(folder, "vivado").exists()]
    patch.setenv("PATH", os.pathsep.join(others))


@pytest.fixture
def small(tmp_path: Path, design: Path, monkeypatch: pytest.MonkeyPatch) -> QuantConfig:
    """A small config, whose synthesis is not repeated here; no Vivado."""
    without_synthesis(design, monkeypatch)
    return QuantConfig.load(config(SMALL, tmp_path))


@pytest.fixture(scope="module")
def project(design: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The whole project of the small config, with few test images, and what was said of it."""
    folder = tmp_path_factory.mktemp("project")
    data = digits.load()
    few = replace(data, test_x=data.test_x[:IMAGES], test_y=data.test_y[:IMAGES])
    with pytest.MonkeyPatch.context() as patch:
        without_synthesis(design, patch)
        patch.setattr(digits, "load", lambda: few)
        loaded = QuantConfig.load(config(SMALL, folder))
        return build_zcu102(loaded, folder / "out", 200, epochs=2), folder / "out"


def test_without_vivado_the_project_is_complete(project: tuple[str, Path]) -> None:
    line, out = project
    assert "\n" not in line
    assert "no vivado on PATH or in VIVADO, so no image: run `vivado -mode batch" in line
    assert "36% LUT, 16% FF, 1% DSP, 1% BRAM by Yosys" in line
    report = json.loads((out / "report.json").read_text())
    assert report["shares"]["lut"] == round(100_000 / 274_080, 4)
    assert set(report["self_test_signatures"]) == {"W8A8", "W4A4"}
    assert set(report["tools"]) == {"yosys", "amaranth"}
    assert report["images"] == []
    for name in (
        "build.tcl",
        "package_ip.tcl",
        "design.tcl",
        "component.xml",
        "verilog/dybit_ip.v",
    ):
        assert (out / name).exists()
    assert "xczu9eg-ffvb1156-2-e" in (out / "self-test/top.tcl").read_text()
    assert (out / "self-test/dybit_self_test.v").exists()


def test_the_notebook_runs_on_the_rtl(
    project: tuple[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Cell by cell, with the driver that lies beside it; PYNQ alone is simulated."""
    _, out = project
    with RtlDevice(out / "verilog") as device:
        pynq = fake_pynq(device, 0xA000_0000, "dybit.bit", "dybit_0")
        monkeypatch.setitem(sys.modules, "pynq", pynq)
        monkeypatch.delitem(sys.modules, "board_driver", raising=False)
        monkeypatch.syspath_prepend(out / "pynq")
        monkeypatch.chdir(out / "pynq")
        capsys.readouterr()
        names: dict[str, Any] = {}
        for cell in json.loads(Path("digits.ipynb").read_text())["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), names)
    assert Path(sys.modules.pop("board_driver").__file__ or "") == out / "pynq/board_driver.py"
    printed = capsys.readouterr().out
    accuracy = json.loads((out / "report.json").read_text())["digits_accuracy"]
    assert "as the golden model: True" in printed
    assert f"accuracy {accuracy:.2%}" in printed
    assert len(names["digits"]["labels"]) == IMAGES
    cycles = sum(run["cycles"] for run in names["result"].counters)
    assert f"{cycles / IMAGES:,.0f} cycles an image" in printed
    estimated = int(re.findall(r"about (\d+) cycles for 50 images", printed)[0])
    assert cycles * 50 / IMAGES == pytest.approx(estimated, rel=0.2)


def test_the_notebook_is_one() -> None:
    """By nbformat's schema of 4.5, by hand: what each kind of cell must and may have."""
    found = notebook()
    assert set(found) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (found["nbformat"], found["nbformat_minor"]) == (4, 5)
    assert set(found["metadata"]["kernelspec"]) == {"name", "display_name", "language"}
    common = {"cell_type", "id", "metadata", "source"}
    keys = {"markdown": common, "code": common | {"execution_count", "outputs"}}
    for cell in found["cells"]:
        assert set(cell) == keys[cell["cell_type"]]
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", cell["id"])
        assert all(line.endswith("\n") for line in cell["source"][:-1])
    assert len({cell["id"] for cell in found["cells"]}) == len(found["cells"])
    assert [cell["cell_type"] for cell in found["cells"]].count("code") >= 3


VIVADO = """#!/bin/sh
echo "****** Vivado" "$@"
case "$PWD" in
  */self-test) touch top.bit ;;
  *) {does} ;;
esac
"""
MAKES_ALL = "touch dybit.xsa pynq/dybit.bit pynq/dybit.hwh"


def fake_vivado(
    directory: Path, does: str, monkeypatch: pytest.MonkeyPatch, found_by: str = "PATH"
) -> None:
    tool = directory / "tools/vivado"
    tool.parent.mkdir()
    tool.write_text(VIVADO.format(does=does))
    tool.chmod(0o755)
    if found_by == "PATH":
        monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    else:
        monkeypatch.chdir(directory)
        monkeypatch.setenv("VIVADO", found_by)
    # What is written for it is tested above.
    monkeypatch.setattr(bitstream_zcu102, "write_overlay", _no_overlay)
    monkeypatch.setattr(bitstream_zcu102, "write_self_test", _no_self_test)


def _no_overlay(config: QuantConfig, manifest: Any, output: Path, *others: object) -> float:
    output.mkdir(parents=True, exist_ok=True)
    return 0.5


def _no_self_test(config: QuantConfig, output: Path) -> dict[str, str]:
    output.mkdir(parents=True, exist_ok=True)
    return {}


@pytest.mark.parametrize("found_by", ["PATH", "tools/vivado"])
def test_with_vivado_it_runs(
    found_by: str, small: QuantConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_vivado(tmp_path, MAKES_ALL, monkeypatch, found_by)
    line = build_zcu102(small, tmp_path / "out", 200)
    images = ["dybit.xsa", "pynq/dybit.bit", "pynq/dybit.hwh", "self-test/top.bit"]
    assert f"{tmp_path}/out: {', '.join(images)}; " in line
    assert json.loads((tmp_path / "out/report.json").read_text())["images"] == images
    for folder, script in (("out", "build.tcl"), ("out/self-test", "top.tcl")):
        log = (tmp_path / folder / "vivado.log").read_text()
        assert log == f"****** Vivado -mode batch -nojournal -nolog -source {script}\n"


@pytest.mark.parametrize(
    ("does", "message"),
    [
        (
            "echo 'ERROR: [Common 17-69] no license'; exit 1",
            r"vivado failed \(1\), log .*/out/vivado.log:\n.*\n  ERROR: \[.*\] no license$",
        ),
        ("true", r"vivado wrote no dybit\.xsa, log .*vivado\.log$"),
        ("touch dybit.xsa pynq/dybit.bit", r"vivado wrote no pynq/dybit\.hwh, log .*vivado\.log$"),
    ],
)
def test_vivado_that_fails(
    does: str,
    message: str,
    small: QuantConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_vivado(tmp_path, does, monkeypatch)
    # What an earlier run made does not pass for what this one failed to make.
    (tmp_path / "out/pynq").mkdir(parents=True)
    for name in bitstream_zcu102.IMAGES[:-1]:
        (tmp_path / "out" / name).write_text("old")
    with pytest.raises(ToolFailed, match=message):
        build_zcu102(small, tmp_path / "out", 200)
    assert json.loads((tmp_path / "out/report.json").read_text())["images"] == []


def test_a_vivado_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIVADO", "/no/such/vivado")
    with pytest.raises(ToolMissing, match="VIVADO must name an executable, not '/no/such/vivado'"):
        bitstream_zcu102.vivado()


def test_a_project_is_complete_or_has_no_scripts_to_run(
    small: QuantConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(bitstream_zcu102, "write_self_test", _no_self_test)
    monkeypatch.setattr(bitstream_zcu102, "write_overlay", _no_overlay)
    build_zcu102(small, out, 200)
    assert (out / "build.tcl").exists()
    shutil.rmtree(out / "verilog")

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bitstream_zcu102, "_count", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_zcu102(small, out, 200)
    assert not (out / "build.tcl").exists()
    assert not (out / "report.json").exists()


def test_a_network_that_does_not_suit_is_found_before_minutes_of_synthesis(
    small: QuantConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bitstream_zcu102, "_count", lambda *arguments: pytest.fail("too late"))
    other = QuantConfig.load(config(SMALL.replace("conv2", "layer9"), tmp_path))
    with pytest.raises(ConfigError, match=r"^layers\.layer9: no such layer; must be one of conv1"):
        build_zcu102(other, tmp_path / "out", 200, epochs=1)


def test_yosys_that_fails_leaves_its_log(tmp_path: Path, design: Path) -> None:
    broken = tmp_path / "verilog"
    shutil.copytree(design, broken)
    (broken / "dybit.v").write_text("module dybit;\n  wire;\nendmodule\n")
    log = tmp_path / "yosys.log"
    with pytest.raises(YosysError, match=rf"(?s)^Yosys failed, log {log}:\n.*dybit\.v:2: ERROR"):
        bitstream_zcu102._count(broken, log)
    assert "dybit.v:2" in log.read_text()


def test_a_clock_beyond_the_part(small: QuantConfig, tmp_path: Path) -> None:
    path = config(SMALL, tmp_path)
    result = call("--board", "zcu102", "--config", path, "--mhz", 776, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr == "error: --mhz must be at most 775 on zcu102, not 776\n"


def test_the_default_of_the_zcu102_is_what_was_promised() -> None:
    loaded = QuantConfig.load(Path(__file__).parents[2] / "configs/zcu102.toml")
    assert (loaded.array.rows, loaded.array.columns) >= (32, 32)
    assert {"W8A8", "W4A4"} <= {mode.name for mode in loaded.modes}
    loaded.accelerator.check_array(loaded.array)
    # By hand: AMD DS891.
    assert (XCZU9EG.lut, XCZU9EG.ff, XCZU9EG.dsp, XCZU9EG.bram) == (274080, 548160, 2520, 912)
    assert [XCZU9EG.limit(kind) for kind in ("lut", "dsp", "bram")] == [191856, 2016, 729]
    assert np.isclose(LFE5U_85F.limit("lut"), 62730)


@pytest.mark.full
def test_the_default_of_the_zcu102_fits(tmp_path: Path) -> None:
    loaded = QuantConfig.load(Path(__file__).parents[2] / "configs/zcu102.toml")
    emit_accelerator(loaded, tmp_path / "verilog")
    counts = bitstream_zcu102._count(tmp_path / "verilog", tmp_path / "yosys.log")
    # Of 274,080 LUT 70 %; of 2,520 DSP and 912 BRAM 80 %.
    assert 100_000 < counts["lut"] <= 191_856
    assert 1024 <= counts["dsp"] <= 2016  # a product of 8 bits is a DSP block in each element
    assert 0 < counts["bram"] <= 729.6
