"""The fixtures of ``conftest.py``, tried on small suites of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")

SUITE = """
import pytest
from dybit.quant.config import QuantConfig

RTL_CONFIGS = [
    QuantConfig.from_dict({
        "name": name,
        "array": {"rows": 1, "columns": 1, "max_reduction": 1, "accumulator_depth": 1},
        "default": {"weight_bits": 8, "activation_bits": 8},
    })
    for name in ("one", "two")
]

@pytest.mark.rtl
def test_first(rtl_config, vectors):
    vectors("first", 1000)
    vectors("second", 5)

def test_fails(vectors):
    vectors("first", 7)
    assert False
"""


def run(folder: Path, suite: str, *arguments: str) -> str:
    (folder / "conftest.py").write_text(CONFTEST.read_text())
    (folder / "test_suite.py").write_text(suite)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = rtl\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", "-v", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["one process", "xdist"])
def test_vectors_are_added_up_over_passing_tests(tmp_path: Path, arguments: tuple[str]) -> None:
    rows = [line.split() for line in run(tmp_path, SUITE, *arguments).splitlines()]
    assert ["first", "2", "2,000"] in rows
    assert ["second", "2", "10"] in rows
    assert ["total", "4", "2,010"] in rows


def test_a_bench_that_compares_nothing_fails(tmp_path: Path) -> None:
    out = run(tmp_path, "def test_none(vectors): vectors('none', 0)\n")
    assert "none compared 0 vectors" in out
    assert "1 failed" in out


def test_config_file_replaces_the_list_of_a_bench(tmp_path: Path) -> None:
    config = Path(__file__).parents[1] / "configs/digits-w4a4.toml"
    out = run(tmp_path, SUITE, "-m", "rtl", f"--quant-config={config}")
    assert "test_first[digits-w4a4] PASSED" in out
    assert "1 passed" in out


def test_refused_config_file_is_named_in_one_line(tmp_path: Path) -> None:
    out = run(tmp_path, SUITE, "--quant-config=none.toml")
    assert "none.toml: no such file or directory; must be a quant config in TOML" in out


def test_missing_debian_tool_skips_with_the_reason(tmp_path: Path) -> None:
    out = run(tmp_path, "def test_tool(debian_tool): debian_tool('no-such-tool')\n")
    assert "no-such-tool is missing: install it with `apt-get install no-such-tool`" in out
    assert "1 skipped" in out
