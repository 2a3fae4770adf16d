"""What an accelerator may be built around."""

from __future__ import annotations

import pytest

from dybit.quant.accelerator_config import AcceleratorConfig
from dybit.quant.array_config import ArrayConfig
from dybit.quant.config_errors import ConfigError


def array(rows: int, *modes: str) -> ArrayConfig:
    fields = {"rows": rows, "columns": 4, "max_reduction": 64, "accumulator_depth": 64}
    return ArrayConfig.model_validate({**fields, "modes": list(modes)})


# By hand: an unsigned 8-bit activation goes to 2^14, a weight to 2^12, so four rows of W8A8 have
# partial sums up to 2^28, 30 bits with a sign, and nine products need 31. W4A8 (2^14 x 2^4) has
# two lanes of 22 bits for its four rows, and nine products need 23.
@pytest.mark.parametrize(
    ("rows", "modes", "kernel", "bits", "tightest"),
    [
        (4, ["W8A8"], 2, 30, "W8A8"),
        (8, ["W8A8"], 3, 31, "W8A8"),
        (16, ["W8A8"], 5, 32, "W8A8"),
        (4, ["W8A8", "W4A4"], 2, 30, "W8A8"),
        (4, ["W8A8", "W4A8"], 2, 22, "W4A8"),
    ],
)
def test_sums_over_a_depthwise_kernel_fit_a_lane(
    rows: int, modes: list[str], kernel: int, bits: int, tightest: str
) -> None:
    built = array(rows, *modes)
    AcceleratorConfig(depthwise_kernel=kernel).check_array(built)
    with pytest.raises(ConfigError) as refusal:
        AcceleratorConfig(depthwise_kernel=kernel + 1).check_array(built)
    assert str(refusal.value) == (
        f"accelerator.depthwise_kernel: {kernel + 1} is not allowed; must be at most {kernel}, or "
        f"array.rows more than {rows} ({tightest} partial sums have {bits} bits)"
    )


def test_a_lane_wider_than_its_mode_needs_takes_a_larger_kernel() -> None:
    # W2A2 has four lanes, so the word of 30 bits that W8A8 needs becomes one of 32.
    AcceleratorConfig(depthwise_kernel=3).check_array(array(4, "W8A8", "W4A4", "W2A2"))


# By hand: a group's parameters are 16 bytes for each of 4 columns, and 2^24 bytes are 2^18 of them,
# more than 16 bits count; a kernel of 5 x 5 has 25 rows a group, 16 bits of rows are 2,621 groups.
@pytest.mark.parametrize(("rows", "kernel", "most"), [(4, 0, 1 << 15), (32, 5, 1 << 11)])
def test_groups_of_a_tile_can_be_counted(rows: int, kernel: int, most: int) -> None:
    built = array(rows, "W8A8")
    AcceleratorConfig(depthwise_kernel=kernel, parameter_groups=most).check_array(built)
    with pytest.raises(ConfigError) as refusal:
        AcceleratorConfig(depthwise_kernel=kernel, parameter_groups=2 * most).check_array(built)
    assert str(refusal.value) == (
        f"accelerator.parameter_groups: {2 * most} is not allowed; must be at most {most} for 4 "
        f"columns and a depthwise kernel of {kernel}"
    )
