"""What the quant config refuses: one test for each, one line for each problem."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dybit.quant.config import ConfigError, QuantConfig
from tests.quant.config_tables import changed

REFUSALS = [
    ("nmae", "x", "nmae: unknown field; must be one of name, default, layers, array"),
    ("name", "a/b", "name: 'a/b' is not allowed; must be letters, digits, '_', '.' and '-'"),
    ("array", None, "array: missing; must be a table"),
    ("array", 3, "array: 3 is not allowed; must be a table"),
    ("array.rowz", 4, "array.rowz: unknown field; must be one of modes, activations, family"),
    ("array.rows", None, "array.rows: missing; must be an integer from 1 to 256"),
    ("array.rows", 0, "array.rows: 0 is not allowed; must be an integer from 1 to 256"),
    ("array.rows", 257, "array.rows: 257 is not allowed; must be an integer from 1 to 256"),
    ("array.rows", "8", "array.rows: '8' is not allowed; must be an integer from 1 to 256"),
    ("array.rows", True, "array.rows: True is not allowed; must be an integer from 1 to 256"),
    ("array.columns", 0, "array.columns: 0 is not allowed; must be an integer from 1 to 256"),
    (
        "array.activations",
        "either",
        "array.activations: 'either' is not allowed; must be signed, unsigned or both",
    ),
    (
        "array.max_reduction",
        (1 << 20) + 1,
        "array.max_reduction: 1048577 is not allowed; must be an integer from 1 to 1048576",
    ),
    (
        "array.accumulator_depth",
        -1,
        "array.accumulator_depth: -1 is not allowed; must be an integer from 1 to 65536",
    ),
    (
        "array.weight_exponent_limit",
        4,
        "array.weight_exponent_limit: 4 is not allowed; must be an integer from 1 to 3",
    ),
    (
        "array.activation_exponent_limit",
        0,
        "array.activation_exponent_limit: 0 is not allowed; must be an integer from 1 to 4",
    ),
    ("array.modes", [], "array.modes: [] is not allowed; must be a list of W8A8, W8A4"),
    ("array.modes", "W8A8", "array.modes: 'W8A8' is not allowed; must be a list of W8A8, W8A4"),
    ("array.modes", ["W8A2"], "array.modes: 'W8A2' is not allowed; must be one of W8A8, W8A4"),
    ("array.modes", [8], "array.modes: 8 is not allowed; must be one of W8A8, W8A4"),
    (
        "array.modes",
        ["W8A8", "W2A2"],
        "layers.conv1: W4A8 is not allowed; must be one of array.modes, W8A8, W2A2",
    ),
    ("default.weight_bits", 3, "default.weight_bits: 3 is not allowed; must be 2, 4 or 8"),
    ("default.weight_bits", None, "default.weight_bits: missing; must be 2, 4 or 8"),
    ("default.activation_bits", 16, "default.activation_bits: 16 is not allowed; must be 2, 4"),
    (
        "default.weight_max_exponent_bits",
        8,
        "default.weight_max_exponent_bits: 8 is not allowed; must be an integer from 1 to 7",
    ),
    (
        "default.activation_max_exponent_bits",
        9,
        "default.activation_max_exponent_bits: 9 is not allowed; must be an integer from 1 to 8",
    ),
    ("layers.conv1", 4, "layers.conv1: 4 is not allowed; must be a table"),
    ("layers.rows", 4, "layers.rows: 4 is not allowed; must be a table"),
    ("layers.conv1.bits", 4, "layers.conv1.bits: unknown field; must be one of weight_bits"),
    (
        "layers.conv1.activation_bits",
        5,
        "layers.conv1.activation_bits: 5 is not allowed; must be 2, 4 or 8",
    ),
    (
        "layers.conv2.activation_bits",
        2,
        "layers.conv2: W8A2 is not allowed; must be one of W8A8, W8A4",
    ),
    ("layers.conv2.weight_bits", 2, "layers.conv2: W2A8 is not allowed; must be one of W8A8"),
    (
        "layers.conv1.weight_max_exponent_bits",
        2,
        "layers.conv1.weight_max_exponent_bits: 2 is not allowed at 4 bits; "
        "must be absent (set array.weight_exponent_limit)",
    ),
    (
        "layers.head.activation_max_exponent_bits",
        2,
        "layers.head.activation_max_exponent_bits: 2 is not allowed at 2 bits; "
        "must be absent (2 bits are plain)",
    ),
]


@pytest.mark.parametrize(("path", "value", "message"), REFUSALS, ids=lambda item: str(item)[:40])
def test_refused_in_one_line(path: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        QuantConfig.from_dict(changed(path, value), "configs/x.toml")
    text = str(caught.value)
    assert text.startswith(f"configs/x.toml: {message}")
    assert "\n" not in text


def test_each_problem_gets_a_line() -> None:
    data = changed("array.rows", 0) | {"default": {"weight_bits": 3, "activation_bits": 8}}
    with pytest.raises(ConfigError) as caught:
        QuantConfig.from_dict(data, "x")
    assert str(caught.value).splitlines() == [
        "x: default.weight_bits: 3 is not allowed; must be 2, 4 or 8",
        "x: array.rows: 0 is not allowed; must be an integer from 1 to 256",
    ]


def test_problems_of_a_file_begin_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("[array]\nrows = 1\n")
    with pytest.raises(ConfigError) as caught:
        QuantConfig.load(path)
    lines = str(caught.value).splitlines()
    assert f"{path}: array.columns: missing; must be an integer from 1 to 256" in lines
    assert f"{path}: default: missing; must be a table" in lines


def test_missing_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    message = f"{path}: no such file or directory; must be a quant config in TOML"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        QuantConfig.load(path)


@pytest.mark.parametrize("content", [b"[array\nrows = 1", b"name = '\xff'"])
def test_broken_toml_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(path))}: not TOML: .+$") as caught:
        QuantConfig.load(path)
    assert "\n" not in str(caught.value)
