"""The fixtures of ``conftest.py``, tried on small suites of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

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


def run(pytester: pytest.Pytester, suite: str, *arguments: str) -> str:
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makepyfile(test_suite=suite)
    pytester.makeini("[pytest]\nmarkers = rtl\n")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-rs", "-v", *arguments)
    return "\n".join([*result.outlines, *result.errlines])


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["one process", "xdist"])
def test_vectors_are_added_up_over_passing_tests(
    pytester: pytest.Pytester, arguments: tuple[str]
) -> None:
    rows = [line.split() for line in run(pytester, SUITE, *arguments).splitlines()]
    assert ["first", "2", "2,000"] in rows
    assert ["second", "2", "10"] in rows
    assert ["total", "4", "2,010"] in rows


def test_a_bench_that_compares_nothing_fails(pytester: pytest.Pytester) -> None:
    out = run(pytester, "def test_none(vectors): vectors('none', 0)\n")
    assert "none compared 0 vectors" in out
    assert "1 failed" in out


def test_config_file_replaces_the_list_of_a_bench(pytester: pytest.Pytester) -> None:
    config = Path(__file__).parents[1] / "configs/digits-w4a4.toml"
    out = run(pytester, SUITE, "-m", "rtl", f"--quant-config={config}")
    assert "test_first[digits-w4a4] PASSED" in out
    assert "1 passed" in out


def test_refused_config_file_is_named_in_one_line(pytester: pytest.Pytester) -> None:
    out = run(pytester, SUITE, "--quant-config=none.toml")
    assert "none.toml: no such file or directory; must be a quant config in TOML" in out


def test_missing_debian_tool_skips_with_the_reason(pytester: pytest.Pytester) -> None:
    out = run(pytester, "def test_tool(debian_tool): debian_tool('no-such-tool')\n")
    assert "no-such-tool is missing: install it with `apt-get install no-such-tool`" in out
    assert "1 skipped" in out
