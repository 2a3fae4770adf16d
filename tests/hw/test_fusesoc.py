"""The core file: what FuseSoC would read in it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from typer.testing import CliRunner

from dybit.hw.fusesoc import core_file
from dybit.scripts.cli import app

CONFIG = """
[array]
rows = 4
columns = 1
max_reduction = 16
accumulator_depth = 8
[default]
weight_bits = 2
activation_bits = 2
"""


def listed(text: str, name: str) -> list[str]:
    """Return the files of a fileset."""
    (block,) = re.findall(rf"^  {name}:\n    files:\n((?:      - \S+\n)+)", text, re.MULTILINE)
    return re.findall(r"- (\S+)", block)


def test_the_files_and_the_top_are_the_manifests() -> None:
    manifest = {"top": "dybit", "verilog": ["dybit.v", "dybit_encoder.v"], "waivers": "dybit.vlt"}
    text = core_file(manifest, "digits-w4a4")
    assert text.startswith("CAPI=2:\n")  # FuseSoC looks for it before it parses
    assert 'name: "dybit:hw:digits-w4a4:0.1.0"' in text
    assert listed(text, "rtl") == manifest["verilog"]
    assert listed(text, "waivers") == ["dybit.vlt"]
    assert re.findall(r"toplevel: (\w+)", text) == ["dybit"] * 3
    assert "\t" not in text


def test_it_lies_beside_the_verilog(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(CONFIG)
    arguments = ["verilog", "--config", str(tmp_path / "mine.toml"), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    text = (tmp_path / "out/dybit.core").read_text()
    assert text == core_file(manifest, "mine")
    for name in [*listed(text, "rtl"), *listed(text, "waivers")]:
        assert (tmp_path / "out" / name).exists()
