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
