"""``dybit bitstream``: a real image of a tiny array, the ZCU102's project, and mistakes."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from dybit.hw import ecp5_image
from dybit.hw.ecp5 import NextpnrError
from dybit.hw.platforms.part import LFE5U_85F, XCZU9EG, Part
from dybit.hw.python_tool import run_python_tool
from dybit.quant.array_config import ArrayConfig
from dybit.quant.config import ConfigError, QuantConfig
from dybit.scripts import bitstream_zcu102
from dybit.scripts.bitstream_ulx3s import build_ulx3s
from dybit.scripts.bitstream_zcu102 import build_zcu102
from dybit.scripts.cli import app
from dybit.scripts.fitting import fit
from dybit.scripts.pynq_overlay import notebook
from dybit.scripts.verilog import emit_accelerator
from dybit.sim import board_driver
from dybit.sim.runtime import GoldenDevice
from dybit.sim.toolchain import ToolFailed, ToolMissing

TINY = """
[array]
rows = 1
columns = 1
modes = ["W2A2"]
activations = "unsigned"
max_reduction = 8
accumulator_depth = 4
[default]
weight_bits = 2
activation_bits = 2
"""

SMALL = """
[array]
rows = 4
columns = 4
modes = ["W8A8", "W4A4"]
max_reduction = 512
accumulator_depth = 128
[default]
weight_bits = 8
activation_bits = 8
[layers.conv2]
weight_bits = 4
activation_bits = 4
"""


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["bitstream", *map(str, arguments)])


def config(text: str, directory: Path) -> Path:
    path = directory / "mine.toml"
    path.write_text(text)
    return path


def test_help_explains_both_flows() -> None:
    text = " ".join(call("--help").stdout.split())
    for words in ("ulx3s (ECP5-85F)", "zcu102 (Zynq UltraScale+)", "openFPGALoader", "build.tcl"):
        assert words in text


def test_an_unknown_board_is_named() -> None:
    result = call("--board", "ice40")
    assert result.exit_code == 2
    assert result.stderr == "error: --board: 'ice40' is not allowed; must be ulx3s or zcu102\n"


def test_the_ulx3s_image_of_a_tiny_array(tmp_path: Path) -> None:
    path = config(TINY, tmp_path)
    result = call("--board", "ulx3s", "--config", path, "--mhz", 50, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    report = json.loads((tmp_path / "out/report.json").read_text())
    image = (tmp_path / "out" / report["bitstream"]).read_bytes()
    assert b"Part: LFE5U-85F-6CABGA381" in image
    assert len(image) == report["bitstream_bytes"] > 100_000
    assert report["mhz"] == 50
    assert report["fmax_mhz"] >= 50
    assert 500 < report["lut"] < 5000
    assert 500 < report["ff"] < 5000
    assert report["shares"]["lut"] == round(report["lut"] / 83640, 4)
    assert report["critical_path"]["levels"] > 0
    assert set(report["tools"]) == {"yosys", "nextpnr", "amaranth"}
    assert report["seed"] == 1
    assert set(report["signatures"]) == {"W2A2"}
    pins = (tmp_path / "out/dybit.lpf").read_text()
    # The board's schematic, by hand: oscillator, LEDs, FIRE 1, transmitter.
    for pin in ("G2", "B2", "C2", "C1", "R1", "L4"):
        assert f'SITE "{pin}"' in pins
    assert f"{report['fmax_mhz']} MHz reached, 50 MHz asked for" in result.stdout
    frequencies = (tmp_path / "out/nextpnr.log").read_text()
    assert "Derived frequency constraint of 50.0 MHz" in frequencies


def test_a_clock_the_pll_cannot_make(tmp_path: Path) -> None:
    path = config(TINY, tmp_path)
    result = call("--board", "ulx3s", "--config", path, "--mhz", 101, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --mhz must be a multiple of ")
    assert not (tmp_path / "out/report.json").exists()


def test_a_clock_not_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timing = {
        "fmax": {"slow": {"achieved": 99.0, "constraint": 25.0}}
        | {"clk": {"achieved": 97.96, "constraint": 100.0}},
        "utilization": {},
    }
    (tmp_path / "timing.json").write_text(json.dumps(timing))
    monkeypatch.setattr(ecp5_image, "run_nextpnr", lambda *arguments: None)
    with pytest.raises(NextpnrError, match=r"^timing: 98.0 MHz reached, 100 MHz asked for; take"):
        ecp5_image.place_image(tmp_path, 1)


def test_a_failing_tool_leaves_its_log(tmp_path: Path) -> None:
    code = (
        "import sys; print('one', 'two', sep='\\n', flush=True); sys.exit('no such ' + sys.argv[1])"
    )
    log = tmp_path / "tool.log"
    with pytest.raises(NextpnrError) as error:
        run_python_tool("nextpnr", code, ["cell"], None, NextpnrError, log)
    assert str(error.value) == f"nextpnr failed, log {log}:\n  one\n  two\n  no such cell"
    assert log.read_text() == "one\ntwo\nno such cell\n"


def measure(array: ArrayConfig) -> dict[str, float]:
    size = array.rows * array.columns
    return {"lut": 500 * size + 2000, "ff": size, "dsp": 2 * size, "bram": array.columns}


def array(rows: int, columns: int) -> ArrayConfig:
    return ArrayConfig.model_validate(
        {"rows": rows, "columns": columns, "max_reduction": 999, "accumulator_depth": 64}
    )


class TestFit:
    def test_what_fits_is_counted(self) -> None:
        assert fit("mine", array(8, 8), LFE5U_85F, measure) == measure(array(8, 8))

    def test_what_does_not_fit_names_the_largest_of_its_shape_that_does(self) -> None:
        # 85 % of 83,640 LUT are 71,094, enough for 138 elements; DSP blocks are enough for 78:
        # 9 x 8 is the largest that is nearly square.
        with pytest.raises(ConfigError) as error:
            fit("mine", array(16, 16), LFE5U_85F, measure)
        assert str(error.value) == (
            "mine: array.rows, array.columns: 16 x 16 is not allowed on LFE5U-85F: "
            "LUT 130,000 of at most 71,094 (83% over), DSP 512 of at most 156 (228% over); "
            "rows = 9, columns = 8 fits"
        )

    def test_a_try_that_fails_is_followed_by_another(self) -> None:
        part = Part(
            "x", 9000, 99999, 9999, 99, {"lut": 1.0, "ff": 1.0, "dsp": 1.0, "bram": 1.0}, 18
        )
        # By its share of LUTs 4 x 4 would do, but what does not shrink takes 2,000 of them.
        with pytest.raises(ConfigError, match=r"rows = 4, columns = 3 fits$"):
            fit("mine", array(5, 5), part, measure)

    def test_sides_are_kept_to(self) -> None:
        with pytest.raises(ConfigError, match=r"rows = 8, columns = 8 fits$"):
            fit("mine", array(16, 16), LFE5U_85F, measure, (4, 8, 16))

    def test_where_nothing_fits(self) -> None:
        part = Part("x", 10, 10, 10, 10, {"lut": 1.0, "ff": 1.0, "dsp": 1.0, "bram": 1.0}, 18)
        with pytest.raises(ConfigError, match=r"no smaller array fits; take fewer modes or"):
            fit("mine", array(2, 2), part, measure)


def test_a_config_too_large_for_the_part(tmp_path: Path) -> None:
    part = Part(
        "half a tile", 300, 9999, 99, 99, {"lut": 0.5, "ff": 1.0, "dsp": 1.0, "bram": 1.0}, 18
    )
    tiny = QuantConfig.load(config(TINY, tmp_path))
    with pytest.raises(ConfigError, match=r"^mine: .* 1 x 1 is not .*: LUT [\d,]+ of at most 150 "):
        build_ulx3s(tiny, tmp_path / "out", 50, 1, part)


COUNTS = {"lut": 100_000.0, "ff": 90_000.0, "dsp": 20.0, "bram": 9.5}


@pytest.fixture(scope="module")
def emitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The accelerator of the small config, written once."""
    directory = tmp_path_factory.mktemp("emitted")
    emit_accelerator(QuantConfig.load(config(SMALL, directory)), directory / "verilog")
    return directory / "verilog"


@pytest.fixture
def small(tmp_path: Path, emitted: Path, monkeypatch: pytest.MonkeyPatch) -> QuantConfig:
    """A small config, whose synthesis is not repeated here; no Vivado."""

    def emit(config: QuantConfig, directory: Path) -> Any:
        shutil.copytree(emitted, directory)
        return json.loads((directory / "manifest.json").read_text())

    monkeypatch.setattr(bitstream_zcu102, "emit_accelerator", emit)
    monkeypatch.setattr(bitstream_zcu102, "_count", lambda design: dict(COUNTS))
    monkeypatch.delenv("VIVADO", raising=False)
    monkeypatch.setattr(bitstream_zcu102.shutil, "which", lambda name: None)
    return QuantConfig.load(config(SMALL, tmp_path))


class Overlay:
    def __init__(self, name: str) -> None:
        assert name == "dybit.bit"
        self.ip_dict = {"dybit_0": {"phys_addr": 0xA0000000}}


def test_without_vivado_the_project_is_complete(
    small: QuantConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    line = build_zcu102(small, out, 200, epochs=2)
    assert "\n" not in line
    assert "no vivado on PATH or in VIVADO, so no image: run `vivado -mode batch" in line
    assert "36% LUT, 16% FF, 1% DSP, 1% BRAM by Yosys" in line
    report = json.loads((out / "report.json").read_text())
    assert report["shares"]["lut"] == round(100_000 / 274_080, 4)
    assert set(report["self_test_signatures"]) == {"W8A8", "W4A4"}
    for name in ("build.tcl", "package_ip.tcl", "design.tcl", "verilog/dybit_ip.v"):
        assert (out / name).exists()
    assert "xczu9eg-ffvb1156-2-e" in (out / "self-test/top.tcl").read_text()
    assert (out / "self-test/dybit_self_test.v").exists()

    # The notebook, cell by cell, on the golden model in place of the board.
    fake = ModuleType("pynq")
    fake.Overlay = Overlay  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pynq", fake)
    monkeypatch.setitem(sys.modules, "board_driver", board_driver)

    class Board(GoldenDevice):
        """Takes a thousand cycles a list."""

        def execute(self, address: int, length: int) -> board_driver.Report:
            report = super().execute(address, length)
            return replace(report, counters={"CYCLES": 1000})

    def golden(manifest: str, address: int) -> Board:
        assert address == 0xA0000000
        return Board(json.loads(Path(manifest).read_text()))

    monkeypatch.setattr(board_driver.BoardDevice, "pynq", golden)
    monkeypatch.chdir(out / "pynq")
    capsys.readouterr()
    names: dict[str, Any] = {}
    for cell in json.loads(Path("digits.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    printed = capsys.readouterr().out
    assert "as the golden model: True" in printed
    assert f"accuracy {report['digits_accuracy']:.2%}" in printed
    assert len(names["digits"]["labels"]) == 450
    lists = len(names["plan"].runs) * 450 // names["plan"].batch
    assert f"{1000 * lists / 450:,.0f} cycles an image" in printed
    assert Path("board_driver.py").read_text() == Path(board_driver.__file__).read_text()


def test_the_notebook_is_one() -> None:
    found = notebook()
    assert (found["nbformat"], found["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in found["cells"]}) == len(found["cells"])


VIVADO = """#!/bin/sh
echo "****** Vivado" "$@"
case "$PWD" in
  */self-test) touch top.bit ;;
  *) {does} ;;
esac
"""


def fake_vivado(directory: Path, does: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = directory / "vivado"
    tool.write_text(VIVADO.format(does=does))
    tool.chmod(0o755)
    monkeypatch.setattr(bitstream_zcu102, "vivado", lambda: tool)
    # What is written for it is tested above.
    monkeypatch.setattr(bitstream_zcu102, "write_overlay", lambda *arguments: 0.5)
    monkeypatch.setattr(bitstream_zcu102, "write_self_test", _no_self_test)


def _no_self_test(config: QuantConfig, output: Path) -> dict[str, str]:
    output.mkdir()
    return {}


def test_with_vivado_it_runs(
    small: QuantConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_vivado(tmp_path, "touch dybit.xsa", monkeypatch)
    line = build_zcu102(small, tmp_path / "out", 200)
    assert "dybit.xsa, pynq/dybit.bit, pynq/dybit.hwh, self-test/top.bit" in line
    log = (tmp_path / "out/vivado.log").read_text()
    assert "-mode batch -nojournal -nolog -source build.tcl" in log


@pytest.mark.parametrize(
    ("does", "message"),
    [
        (
            "echo 'ERROR: [Common 17-69] no license'; exit 1",
            r"vivado failed \(1\), log .*vivado.log",
        ),
        ("true", r"vivado wrote no dybit\.xsa, log .*vivado\.log"),
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
    with pytest.raises(ToolFailed, match=message) as error:
        build_zcu102(small, tmp_path / "out", 200)
    assert ("no license" in str(error.value)) == ("license" in does)


def test_a_vivado_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIVADO", "/no/such/vivado")
    with pytest.raises(ToolMissing, match="VIVADO must name an executable, not '/no/such/vivado'"):
        bitstream_zcu102.vivado()


def test_the_default_of_the_zcu102_is_what_was_promised() -> None:
    loaded = QuantConfig.load(Path(__file__).parents[2] / "configs/zcu102.toml")
    assert (loaded.array.rows, loaded.array.columns) >= (32, 32)
    assert {"W8A8", "W4A4"} <= {mode.name for mode in loaded.modes}
    loaded.accelerator.check_array(loaded.array)
    # By hand: AMD DS891.
    assert (XCZU9EG.lut, XCZU9EG.ff, XCZU9EG.dsp, XCZU9EG.bram) == (274080, 548160, 2520, 912)
    assert [XCZU9EG.limit(kind) for kind in ("lut", "dsp", "bram")] == [191856, 2016, 729]
    assert np.isclose(LFE5U_85F.limit("lut"), 71094)
