"""The formats a tensor may have: what the array decodes, and families in software."""

from __future__ import annotations

from typing import Any

import pytest

from dybit.quant.config import QuantConfig
from dybit.quant.format_rules import FAMILIES, ArrayFormats, FamilyFormats
from dybit.quant.formats import ESB, DyBit, Integer, Minifloat


def rule(**array: Any) -> ArrayFormats:
    fields = {"rows": 2, "columns": 2, "max_reduction": 64, "accumulator_depth": 16}
    config = QuantConfig.from_dict(
        {
            "array": fields | {"modes": ["W8A8", "W4A4"]} | array,
            "default": {"weight_bits": 8, "activation_bits": 8},
        }
    )
    return ArrayFormats(config.array)


def test_an_array_has_one_limit_at_4_bits_and_all_at_8() -> None:
    built = rule(weight_exponent_limit=2)
    assert built.weights(4, None) == [DyBit(4, True, 2)]
    assert built.activations(4, False, None) == [DyBit(4, False)]
    assert built.weights(8, None) == [DyBit(8, True, limit) for limit in range(7, 0, -1)]
    assert built.activations(8, False, None) == [DyBit(8, False, r) for r in range(8, 0, -1)]
    assert built.weights(8, 3) == [DyBit(8, True, 3)]
    assert built.activations(8, True, 5) == [DyBit(8, True, 5)]


def test_widths_that_no_array_has_are_there_for_training() -> None:
    assert rule().weights(6, None) == [DyBit(6, True, limit) for limit in range(5, 0, -1)]
    built = rule(family="esb", activations="signed")
    assert built.weights(4, None) == [ESB(4, 1)]
    assert built.activations(8, False, None) == [ESB(8, 4)]
    assert built.activations(6, False, None) == [ESB(6, k) for k in range(1, 5)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("bits", range(2, 9))
def test_families_have_formats_of_every_width(family: str, bits: int) -> None:
    formats = FamilyFormats(family)
    for found in (formats.weights(bits, None), formats.activations(bits, True, None)):
        assert found
        assert {(fmt.bits, fmt.signed) for fmt in found} == {(bits, True)}
    signed = {fmt.signed for fmt in formats.activations(bits, False, None)}
    assert signed == {family in ("esb", "minifloat")}


def test_families_by_name() -> None:
    at_4 = {family: list(FamilyFormats(family).weights(4, None)) for family in FAMILIES}
    assert at_4 == {
        "dybit": [DyBit(4, True, limit) for limit in (3, 2, 1)],
        "dybit-plain": [DyBit(4)],
        "esb": [ESB(4, k) for k in (0, 1, 2)],
        "int": [Integer(4)],
        "minifloat": [Minifloat(2, 1)],
    }
    wide = FamilyFormats("minifloat").weights(8, None)
    assert list(wide) == [Minifloat(e, 7 - e) for e in (2, 3, 4, 5)]
    with pytest.raises(ValueError, match=r"^family must be one of dybit, .*, not 'fp4'$"):
        FamilyFormats("fp4")
