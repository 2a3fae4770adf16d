"""The quant config: what it accepts, and what its fields default to."""

from __future__ import annotations

from pathlib import Path

import pytest

from dybit.quant.config import ConfigError, QuantConfig
from dybit.quant.precision import PrecisionMode
from tests.quant.config_tables import BASE, changed

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))


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


def test_unknown_layer_is_refused() -> None:
    config = QuantConfig.from_dict(BASE)
    config.check_layer_names(["conv1", "conv2", "head"])
    with pytest.raises(ConfigError, match=r"^layers\.head: no such layer; must be one of conv1$"):
        config.check_layer_names(["conv1"])
