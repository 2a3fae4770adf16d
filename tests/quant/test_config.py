"""The quant config: what it accepts, what it derives, and one test for each refusal."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from dybit.quant.array_config import ArrayConfig
from dybit.quant.config import ConfigError, QuantConfig
from dybit.quant.formats import ESB, DyBit
from dybit.quant.precision import MODES, PrecisionMode

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))

BASE: dict[str, Any] = {
    "array": {"rows": 8, "columns": 4, "max_reduction": 1152, "accumulator_depth": 64},
    "default": {"weight_bits": 8, "activation_bits": 8},
    "layers": {"conv1": {"weight_bits": 4}, "head": {"weight_bits": 2, "activation_bits": 2}},
}


def changed(path: str, value: object) -> dict[str, Any]:
    """`BASE` with the field at `path` set, or taken away when `value` is None."""
    data = copy.deepcopy(BASE)
    *tables, field = path.split(".")
    table = data
    for name in tables:
        table = table.setdefault(name, {})
    if value is None:
        del table[field]
    else:
        table[field] = value
    return data


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_loads_and_survives_a_round_trip(path: Path, tmp_path: Path) -> None:
    config = QuantConfig.load(path)
    assert config.name == path.stem
    copied = tmp_path / "other.toml"
    copied.write_text(config.dumps())
    assert QuantConfig.load(copied) == config
    assert QuantConfig.load(copied).dumps() == config.dumps()


def test_modes_default_to_those_used() -> None:
    modes = QuantConfig.from_dict(BASE).modes
    assert [mode.name for mode in modes] == ["W8A8", "W4A8", "W2A2"]


def test_modes_named_are_kept_in_canonical_order() -> None:
    data = changed("array.modes", ["W2A2", "W4A4", "W4A8", "W8A8"])
    assert [mode.name for mode in QuantConfig.from_dict(data).modes] == [
        "W8A8",
        "W4A8",
        "W4A4",
        "W2A2",
    ]


def test_layer_overrides_the_default_field_by_field() -> None:
    data = changed("default.activation_max_exponent_bits", 5)
    data["default"]["weight_max_exponent_bits"] = 4
    config = QuantConfig.from_dict(data)
    assert config.layer("elsewhere") == config.default
    conv1 = config.layer("conv1")
    assert conv1.mode == PrecisionMode(4, 8)
    assert conv1.activation_max_exponent_bits == 5
    # The limit asked for 8-bit weights says nothing about 4-bit ones.
    assert conv1.weight_max_exponent_bits is None


def test_widths_of_w8a8_by_hand() -> None:
    array = QuantConfig.from_dict(changed("layers", None)).array
    mode = PrecisionMode(8, 8)
    # Unsigned activations reach 2^14, weights 2^12: 2^26 x 8 rows, then x 1152.
    assert (array.max_activation(8), array.max_weight(8)) == (1 << 14, 1 << 12)
    assert array.partial_sum_bits == array.partial_sum_lane_bits(mode) == 29 + 1 + 1
    assert array.accumulator_bits == array.accumulator_lane_bits(mode) == 26 + 11 + 1
    assert (array.max_channels, array.max_lanes, array.word_bytes) == (1, 1, 1)


def test_widths_of_mixed_modes_by_hand() -> None:
    config = QuantConfig.from_dict(changed("array.modes", ["W8A8", "W4A4", "W4A8", "W2A2"]))
    array = config.array
    w8a8, w4a8, w4a4, w2a2 = array.modes
    assert (array.max_channels, array.max_lanes, array.word_bytes) == (4, 4, 4)
    # W4A8: 2^14 x 16 x 8 terms = 2^21, so 23 bits in each of 2 lanes; rounded up to 4 lanes.
    assert array.partial_sum_needed_bits(w4a8) == 23
    assert array.partial_sum_bits == 48
    assert [array.partial_sum_lane_bits(mode) for mode in array.modes] == [48, 24, 24, 12]
    # W2A2: 4 x 1 x 4 channels x 8 rows = 2^7.
    assert array.partial_sum_needed_bits(w2a2) == 9
    # W4A8: 2^18 x 1152 in 30 bits, twice.
    assert array.accumulator_needed_bits(w4a8) == 30
    assert array.accumulator_bits == 60
    assert array.accumulator_lane_bits(w8a8) == 60
    assert array.accumulator_lane_bits(w4a4) == 30
    # The 60 bits of the widest lane exceed what the re-quantiser adds in.
    assert array.requantizer_bits == 48
    assert array.activation_widths == (2, 4, 8)


def test_the_requantiser_is_as_wide_as_the_widest_lane() -> None:
    data = changed("array.modes", ["W4A4", "W2A2"])
    data["default"] = {"weight_bits": 4, "activation_bits": 4}
    data["layers"] = {}
    array = QuantConfig.from_dict(data).array
    # 64 x 16 x 1152 in 22 bits, twice; W2A2's four lanes of 4 x 1152 in 14 bits need more.
    assert array.accumulator_bits == 4 * 14
    assert array.requantizer_bits == 28
    assert array.activation_widths == (2, 4)


@pytest.mark.parametrize("activations", ["signed", "unsigned", "both"])
@pytest.mark.parametrize("weight_limit", [1, 2, 3])
@pytest.mark.parametrize("activation_limit", [1, 2, 3, 4])
def test_largest_operands_agree_with_the_formats(
    activations: str, weight_limit: int, activation_limit: int
) -> None:
    array = ArrayConfig(
        rows=1,
        columns=1,
        max_reduction=1,
        accumulator_depth=1,
        activations=activations,
        weight_exponent_limit=weight_limit,
        activation_exponent_limit=activation_limit,
    )
    for bits in (2, 4, 8):
        weights = [array.weight_format(bits, limit) for limit in range(1, 8)]
        assert array.max_weight(bits) == max(fmt.max_integer for fmt in weights)
        activation_formats = [
            array.activation_format(bits, signed, limit)
            for signed in array.signednesses
            for limit in range(1, 9)
        ]
        assert array.max_activation(bits) == max(fmt.max_integer for fmt in activation_formats)


def test_formats_take_the_limit_of_the_build_at_4_bits_only() -> None:
    data = changed("array.weight_exponent_limit", 2)
    data["array"]["activation_exponent_limit"] = 4
    array = QuantConfig.from_dict(data).array
    assert array.weight_format(4, limit=1) == DyBit(4, True, 2)
    assert array.activation_format(4, signed=True) == DyBit(4, True, 3)
    assert array.activation_format(4, signed=False) == DyBit(4, False, 4)
    assert array.weight_format(2, limit=1) == DyBit(2, True)
    assert array.activation_format(8, signed=False, limit=3) == DyBit(8, False, 3)
    assert array.activation_format(8, signed=True) == DyBit(8, True)


def esb(**fields: Any) -> dict[str, Any]:
    """`BASE` for an ESB array, with fields of the array set."""
    data = changed("array.family", "esb")
    data["array"] |= {"activations": "signed"} | fields
    data["layers"] = {"conv1": {"weight_bits": 4, "activation_bits": 4}}
    return data


def test_an_esb_array_has_its_own_formats() -> None:
    array = QuantConfig.from_dict(esb(esb_k4=2, esb_k8=5)).array
    assert [mode.name for mode in array.modes] == ["W8A8", "W4A4"]
    assert array.weight_format(4) == array.activation_format(4, signed=True) == ESB(4, 2)
    assert array.weight_format(8) == ESB(8, 5)
    # 7.5 and 126 in units of 1/2: 15 and 63 x 4.
    assert (array.max_weight(4), array.max_activation(8)) == (15, 252)
    # W4A4: two channels of 225 x 8 rows = 3600, twice; W8A8: 252^2 x 8 = 508032.
    assert [array.partial_sum_needed_bits(mode) for mode in array.modes] == [20, 13]
    assert array.partial_sum_bits == 26
    assert array.encodes(ESB(8, 5))
    assert not array.encodes(ESB(8, 4))
    assert not array.encodes(DyBit(8))


def test_esb_fraction_bits_default_to_those_of_the_paper() -> None:
    array = QuantConfig.from_dict(esb()).array
    assert (array.weight_format(4), array.weight_format(8)) == (ESB(4, 1), ESB(8, 4))


def test_a_family_shows_no_field_of_another() -> None:
    written = QuantConfig.from_dict(esb()).to_dict()["array"]
    assert written["family"] == "esb"
    assert {"esb_k4", "esb_k8"} <= written.keys()
    assert "weight_exponent_limit" not in written
    assert QuantConfig.from_dict(esb() | {"array": written}).array.model_dump() == written
    written = QuantConfig.from_dict(BASE).to_dict()["array"]
    assert written["family"] == "dybit"
    assert "weight_exponent_limit" in written
    assert "esb_k4" not in written


ESB_REFUSALS = [
    (
        {"activations": "both"},
        "array.activations: 'both' is not allowed; must be signed (array.family is esb)",
    ),
    (
        {"weight_exponent_limit": 3},
        "array.weight_exponent_limit: 3 is not allowed; must be absent (array.family is esb)",
    ),
    ({"esb_k4": 3}, "array.esb_k4: 3 is not allowed; must be an integer from 0 to 2"),
    ({"esb_k8": 2}, "array.esb_k8: 2 is not allowed; must be an integer from 3 to 6"),
    ({"family": "posit"}, "array.family: 'posit' is not allowed; must be dybit or esb"),
    (
        {"modes": ["W8A8", "W4A4", "W2A4"]},
        "array.modes: 'W2A4' is not allowed; "
        "must be one of W8A8, W8A4, W4A8, W4A4 (array.family is esb)",
    ),
    (
        # 245760 squared is 2^36 and a little less: 2330 of them stay below 2^47.
        {"esb_k8": 3, "max_reduction": 2331},
        "array.max_reduction: 2331 is not allowed; "
        "must be at most 2330 (W8A8 products reach 60397977600)",
    ),
]


@pytest.mark.parametrize(("fields", "message"), ESB_REFUSALS, ids=lambda item: str(item)[:40])
def test_what_esb_lacks_is_refused_in_one_line(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        QuantConfig.from_dict(esb(**fields), "x")
    assert str(caught.value) == f"x: {message}"


def test_layers_of_esb_have_no_limits_and_no_2_bits() -> None:
    data = esb()
    data["default"]["weight_max_exponent_bits"] = 3
    data["layers"] = {"head": {"weight_bits": 2, "activation_bits": 2}}
    with pytest.raises(ConfigError) as caught:
        QuantConfig.from_dict(data, "x")
    assert str(caught.value).splitlines() == [
        "x: default.weight_max_exponent_bits: 3 is not allowed; "
        "must be absent (array.family is esb)",
        "x: layers.head: W2A2 is not allowed; "
        "must be one of W8A8, W8A4, W4A8, W4A4 (array.family is esb)",
    ]


def test_fraction_bits_of_dybit_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        QuantConfig.from_dict(changed("array.esb_k8", 4), "x")
    message = "x: array.esb_k8: 4 is not allowed; must be absent (array.family is dybit)"
    assert str(caught.value) == message


def test_the_longest_reduction_fits_the_requantiser_in_every_mode() -> None:
    array = ArrayConfig(rows=1, columns=1, modes=MODES, max_reduction=1 << 20, accumulator_depth=1)
    assert max(array.accumulator_needed_bits(mode) for mode in MODES) == 48


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


def test_unknown_layer_is_refused() -> None:
    config = QuantConfig.from_dict(BASE)
    config.check_layer_names(["conv1", "conv2", "head"])
    with pytest.raises(ConfigError, match=r"^layers\.head: no such layer; must be one of conv1$"):
        config.check_layer_names(["conv1"])


class TestCheckLayer:
    array = QuantConfig.from_dict(changed("layers", None)).array
    mode = PrecisionMode(8, 8)
    activation = DyBit(8, False)
    weight = DyBit(8, True)

    def check(self, reduction: int, bias: int) -> None:
        self.array.check_layer("c", self.mode, self.activation, self.weight, reduction, bias)

    def test_largest_sum_that_fits_is_accepted(self) -> None:
        # The lane has 38 bits: 2^26 x 1152 + bias must stay below 2^37.
        self.check(1152, (1 << 37) - 1 - 1152 * (1 << 26))

    def test_one_more_is_refused(self) -> None:
        message = (
            r"^layers\.c: an accumulator of up to 137438953472 is not allowed; must be below "
            r"2\^37, the W8A8 lane for array\.max_reduction = 1152$"
        )
        with pytest.raises(ConfigError, match=message):
            self.check(1152, (1 << 37) - 1152 * (1 << 26))

    def test_sum_of_2_to_the_47_is_refused_in_any_lane(self) -> None:
        # Four lanes of W2A2 make the word, and so the one W8A8 lane, wider than 48 bits.
        array = QuantConfig.from_dict(changed("array.max_reduction", 1 << 20)).array
        assert array.accumulator_lane_bits(self.mode) > 48
        operands = ("c", self.mode, self.activation, self.weight, 1 << 20)
        array.check_layer(*operands, (1 << 47) - 1 - (1 << 46))
        with pytest.raises(ConfigError, match=r"must be below 2\^47"):
            array.check_layer(*operands, (1 << 47) - (1 << 46))

    def test_reduction_beyond_the_largest_is_refused(self) -> None:
        message = (
            r"^layers\.c: a reduction of 1153 is not allowed; "
            r"must be at most array\.max_reduction = 1152$"
        )
        with pytest.raises(ConfigError, match=message):
            self.check(1153, 0)

    def test_mode_that_is_not_built_is_refused(self) -> None:
        with pytest.raises(
            ConfigError, match=r"^layers\.c: W4A4 is not built; must be one of W8A8$"
        ):
            self.array.check_layer("c", PrecisionMode(4, 4), DyBit(4, False), DyBit(4, True), 1, 0)
