"""What follows from a config's array: widths, largest operands, formats."""

from __future__ import annotations

import pytest

from dybit.quant.array_config import ArrayConfig
from dybit.quant.config import ConfigError, QuantConfig
from dybit.quant.formats import DyBit
from dybit.quant.precision import MODES, PrecisionMode
from tests.quant.config_tables import changed


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


def test_the_longest_reduction_fits_the_requantiser_in_every_mode() -> None:
    array = ArrayConfig(rows=1, columns=1, modes=MODES, max_reduction=1 << 20, accumulator_depth=1)
    assert max(array.accumulator_needed_bits(mode) for mode in MODES) == 48


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
