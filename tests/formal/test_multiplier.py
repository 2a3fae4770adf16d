"""Each lane of the multiplier is the sum of the products of its operands' integers."""

from __future__ import annotations

import pytest

from dybit.hw import mantissa_multiplier
from dybit.hw.floating_product import FloatingProduct
from dybit.hw.mantissa_multiplier import MantissaMultiplier
from dybit.hw.product_table import ProductTable
from dybit.quant.config import QuantConfig
from tests.formal.bugs import Bug
from tests.formal.cases import cases
from tests.formal.conftest import Proved
from tests.formal.multipliers import MultiplierDesign
from tests.hw.array_vectors import array_config, esb_arrays

EVERY_MODE = QuantConfig.load("configs/all-modes.toml").array
NARROW = "W4A4 W2A4 W4A2 W2A2"
ESB = esb_arrays(4, 4)

ARRAYS = {
    "signed or unsigned": EVERY_MODE,
    "signed": array_config(4, 4, NARROW, "signed"),
    "unsigned": array_config(4, 4, NARROW, "unsigned"),
    "without DSP blocks": EVERY_MODE.model_copy(update={"multiplier": "lut"}),
    "two modes": array_config(4, 4, "W8A8 W4A4"),
    "two modes without DSP blocks": array_config(4, 4, "W8A8 W4A4", multiplier="lut"),
    "three modes": array_config(4, 4, "W8A8 W4A8 W4A4", "signed"),
    "wide and narrow": array_config(4, 4, "W8A4 W4A4 W2A4", "unsigned"),
    "limits 2 and 3": array_config(4, 4, "W4A4", "both", run_time_limits=[2, 3]),
    "limits 1 to 3": array_config(4, 4, "W4A4 W2A4", "signed", run_time_limits=[1, 2, 3]),
    **{
        name: ESB[name] for name in ("esb-k0", "esb-k1", "esb-k2", "esb-k0-k3-dsp", "esb-k2-k5-dsp")
    },
}


def design(array: str, mode_name: str) -> MultiplierDesign:
    (mode,) = (mode for mode in ARRAYS[array].modes if mode.name == mode_name)
    return MultiplierDesign.of(ARRAYS[array], mode)


def arrays_of(mode_name: str) -> list[str]:
    """Return the arrays that have a mode."""
    return [
        name for name, array in ARRAYS.items() if mode_name in [mode.name for mode in array.modes]
    ]


@pytest.mark.prove
@pytest.mark.parametrize("mode", ["W8A8", "W8A4", "W4A8", *NARROW.split()])
def test_lanes_are_sums_of_products(mode: str, proved: Proved) -> None:
    for array in arrays_of(mode):
        built = design(array, mode)
        assert built.wrong_product() is None, array
        assert built.wrong_sum() is None, array
    if built.is_narrow:
        claim = "the product of two lanes is that of their integers, for all their codes"
        bound = "none but the builds"
    else:
        claim = "what is multiplied are the integers of the lanes, for all of them"
        bound = "the multiplication itself is a cut point: a DSP block's `*`, or FloatingMultiplier"
    proved(
        block="MantissaMultiplier",
        claim=f"{mode}: {claim}; each output lane is the sum of its own products",
        method="SAT, products and sums apart; sums from any state",
        bound=f"{len(arrays_of(mode))} arrays: {bound}",
    )


@pytest.mark.parametrize(("array", "mode"), [("signed", "W4A4"), ("two modes", "W8A8")])
def test_two_are_proved_at_once(array: str, mode: str) -> None:
    built = design(array, mode)
    assert built.wrong_product() is None
    assert built.wrong_sum() is None


PRODUCT_BUGS = {
    "a product of 16 and 1 missed": (
        ProductTable,
        "elaborate",
        "product.eq(a_integer * b_integer)",
        "product.eq(a_integer * b_integer - (a_integer == 16 and b_integer == 1))",
    ),
    "table read crosswise": (ProductTable, "elaborate", "Cat(a, self.b)", "Cat(self.b, a)"),
    "zero times the exponent of the other": (
        FloatingProduct,
        "elaborate",
        "a + b - 1 if a and b else 0",
        "max(a + b - 1, 0)",
    ),
    "weight of another lane": (
        MantissaMultiplier,
        "_narrow_term",
        '[f"w{w_bits}"][lane]',
        '[f"w{w_bits}"][0]',
    ),
    "factor of a wide product without its sign": (
        mantissa_multiplier,
        "lane_number",
        "Mux(lane.sign, -integer, integer)",
        "integer",
    ),
    "not three times the significand": (
        mantissa_multiplier,
        "lane_number",
        "(integer + (integer << 1))",
        "(integer << 1)",
    ),
    "factor of another mode": (
        MantissaMultiplier,
        "_by_mode",
        "m.Case(index)",
        "m.Case(index + 1)",
    ),
}

SUM_BUGS = {
    "sign of the activation alone": (
        MantissaMultiplier,
        "_narrow_term",
        "activation.sign ^ weight.sign",
        "activation.sign",
    ),
    "pair subtracted without its carry": (
        mantissa_multiplier,
        "_add",
        "add(_extend(first.value, bits), flipped, differ)",
        "add(_extend(first.value, bits), flipped, Const(0, 1))",
    ),
    "carry of another lane": (
        MantissaMultiplier,
        "elaborate",
        "Cat(carry, Const(0, self.array.max_lanes // built.lanes - 1))",
        "Cat(Const(0, self.array.max_lanes // built.lanes - 1), carry)",
    ),
    "sign of a wide product a cycle early": (
        MantissaMultiplier,
        "_wide_term",
        "range(multiplier.LATENCY)",
        "range(multiplier.LATENCY - 1)",
    ),
    "lanes in use a cycle late": (
        MantissaMultiplier,
        "elaborate",
        "active = last_mode == index",
        "active = mode == index",
    ),
    "mode of the sums a cycle early": (
        MantissaMultiplier,
        "elaborate",
        "self.sums_mode.eq(mode)",
        "self.sums_mode.eq(last_mode)",
    ),
}


# The mode and the array in which a bug shows, where not in W4A4 of a signed one.
WHERE = {
    "table read crosswise": ("signed or unsigned", "W4A4"),
    "zero times the exponent of the other": ("limits 2 and 3", "W4A4"),
    "factor of a wide product without its sign": ("signed or unsigned", "W4A8"),
    "not three times the significand": ("without DSP blocks", "W8A4"),
    "factor of another mode": ("signed or unsigned", "W8A4"),
    "sign of a wide product a cycle early": ("without DSP blocks", "W8A8"),
}
EVERYWHERE = ("signed", "W4A4")


@pytest.mark.parametrize("bug", cases(PRODUCT_BUGS, "a product of 16 and 1 missed"))
def test_proof_of_products_fails_on(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Bug(*PRODUCT_BUGS[bug]).seed(monkeypatch)
    assert design(*WHERE.get(bug, EVERYWHERE)).wrong_product() is not None


@pytest.mark.parametrize("bug", cases(SUM_BUGS, "pair subtracted without its carry"))
def test_proof_of_sums_fails_on(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Bug(*SUM_BUGS[bug]).seed(monkeypatch)
    assert design(*WHERE.get(bug, EVERYWHERE)).wrong_sum() is not None
