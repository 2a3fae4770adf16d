"""``dybit bitstream``: a real image of a tiny array, what fits, and mistakes."""

from __future__ import annotations

import importlib.util
import json
from itertools import pairwise
from pathlib import Path

import pytest

from dybit.hw import ecp5_image
from dybit.hw.ecp5 import NextpnrError
from dybit.hw.platforms.part import LFE5U_85F, Part
from dybit.hw.python_tool import run_python_tool
from dybit.quant.array_config import ArrayConfig
from dybit.quant.config import ConfigError, QuantConfig
from dybit.scripts import bitstream_ulx3s
from dybit.scripts.bitstream_ulx3s import build_ulx3s
from dybit.scripts.fitting import fit
from tests.scripts.bitstreams import call, config

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


def test_help_explains_both_flows() -> None:
    text = " ".join(call("--help").stdout.split())
    for words in ("ulx3s (ECP5-85F)", "zcu102 (Zynq UltraScale+)", "openFPGALoader", "build.tcl"):
        assert words in text


def test_an_unknown_board_is_named() -> None:
    result = call("--board", "ice40")
    assert result.exit_code == 2
    assert result.stderr == "error: --board: 'ice40' is not allowed; must be ulx3s or zcu102\n"


@pytest.mark.long
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


def test_what_an_earlier_run_made_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("dybit.bit", "dybit.svf", "report.json"):
        (out / name).write_text("old")
    tiny = QuantConfig.load(config(TINY, tmp_path))
    monkeypatch.setattr(bitstream_ulx3s, "fit", lambda *arguments: {})
    monkeypatch.setattr(bitstream_ulx3s, "place_image", lambda *arguments: {})

    def interrupted(options: list[str], folder: Path, log: Path) -> None:
        for option, value in pairwise(options):
            if option in ("--bit", "--svf"):
                Path(folder, value).write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(ecp5_image, "run_ecppack", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_ulx3s(tiny, out, 50, 1)
    assert not [name for name in ("dybit.bit", "dybit.svf", "report.json") if (out / name).exists()]


def test_a_missing_tool_is_named_before_minutes_of_synthesis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if "nextpnr" in name else found(name)
    )
    monkeypatch.setattr(bitstream_ulx3s, "fit", lambda *arguments: pytest.fail("too late"))
    path = config(TINY, tmp_path)
    result = call("--board", "ulx3s", "--config", path, "--mhz", 50, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: nextpnr is missing: install it with `pip install ")


def test_a_seed_that_nextpnr_does_not_take() -> None:
    for seed in (-1, 1 << 64):
        result = call("--board", "ulx3s", "--seed", seed)
        assert result.exit_code == 2
        assert "Invalid value for '--seed'" in result.stderr


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
        # 75 % of 83,640 LUT are 62,730, enough for 121 elements; DSP blocks are enough for 78:
        # 9 x 8 is the largest that is nearly square.
        with pytest.raises(ConfigError) as error:
            fit("mine", array(16, 16), LFE5U_85F, measure)
        assert str(error.value) == (
            "mine: array.rows, array.columns: 16 x 16 is not allowed on LFE5U-85F: "
            "LUT 130,000 of at most 62,730 (107% over), DSP 512 of at most 156 (228% over); "
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


def test_a_config_too_large_for_the_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"lut": 1500.0, "ff": 900.0, "dsp": 0.0, "bram": 0.0}
    monkeypatch.setattr(bitstream_ulx3s, "synthesise_image", lambda *arguments: counts)
    part = Part(
        "half a tile", 300, 9999, 99, 99, {"lut": 0.5, "ff": 1.0, "dsp": 1.0, "bram": 1.0}, 18
    )
    tiny = QuantConfig.load(config(TINY, tmp_path))
    with pytest.raises(ConfigError, match=r"^mine: .* 1 x 1 is not .*: LUT 1,500 of at most 150 "):
        build_ulx3s(tiny, tmp_path / "out", 50, 1, part)
