"""The quant config of an ESB array: its own fields and formats, and what it lacks."""

from __future__ import annotations

from typing import Any

import pytest

from dybit.quant.config import ConfigError, QuantConfig
from dybit.quant.formats import ESB, DyBit
from tests.quant.config_tables import BASE, changed, esb


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
