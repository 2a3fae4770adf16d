"""The accelerator around the array: sizes of its memories, and the units it has besides."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from dybit.quant.array_config import ArrayConfig
from dybit.quant.config_errors import ConfigError, problem
from dybit.quant.operand_config import ConfigTable

__all__ = ["AcceleratorConfig"]

SIDES = (4, 8, 16, 32, 64)
"""Rows and columns an accelerator may have: its memory words are cut evenly by the bus."""


def _power_of_two(value: int) -> int:
    if value & value - 1:
        raise problem(f"{value} is not allowed; must be a power of two")
    return value


_Size = Annotated[int, Field(ge=16, le=1 << 16), AfterValidator(_power_of_two)]


class AcceleratorConfig(ConfigTable):
    """Memories of the accelerator, each of two banks that take turns, and its further units.

    Parameters
    ----------
    activation_words : int
        Words in one bank of the activation memory; a word is a byte a row of the array.
    output_words : int
        Words in one bank of the output memory; a word is a byte a column of the array.
    parameter_groups : int
        Groups of output channels, one channel a column, whose re-quantisation a bank holds.
    weight_rows : int
        Rows of weights that are fetched ahead; at least two tiles.
    depthwise_kernel : int
        Longest side of a depthwise kernel; 0 builds no unit for depthwise convolutions.
    depthwise_width : int
        Longest padded row of pixels of a depthwise convolution.
    """

    activation_words: _Size = 4096
    output_words: _Size = 4096
    parameter_groups: _Size = 256
    weight_rows: _Size = 256
    depthwise_kernel: Annotated[int, Field(ge=0, le=7)] = 0
    depthwise_width: _Size = 128

    def check_array(self, array: ArrayConfig) -> None:
        """Refuse an array that no accelerator can be built around.

        Raises
        ------
        ConfigError
            In one line a field.
        """
        lines = []
        for field in ("rows", "columns"):
            if getattr(array, field) not in SIDES:
                allowed = ", ".join(map(str, SIDES))
                lines.append(
                    f"array.{field}: {getattr(array, field)} is not allowed; "
                    f"must be one of {allowed} for an accelerator"
                )
        if array.accumulator_depth < 2 * array.rows:
            lines.append(
                f"array.accumulator_depth: {array.accumulator_depth} is not allowed; "
                f"must be at least 2 x array.rows = {2 * array.rows} for an accelerator"
            )
        if self.weight_rows < 2 * array.rows:
            lines.append(
                f"accelerator.weight_rows: {self.weight_rows} is not allowed; "
                f"must be at least 2 x array.rows = {2 * array.rows}"
            )
        if self.depthwise_kernel and array.columns > array.rows:
            lines.append(
                f"accelerator.depthwise_kernel: {self.depthwise_kernel} is not allowed; "
                "must be 0 where array.columns exceeds array.rows"
            )
        groups = self._most_groups(array)
        if self.parameter_groups > groups:
            lines.append(
                f"accelerator.parameter_groups: {self.parameter_groups} is not allowed; must be at "
                f"most {groups} for {array.columns} columns and a depthwise kernel of "
                f"{self.depthwise_kernel}"
            )
        lines += self._kernel_too_large(array)
        if lines:
            raise ConfigError("\n".join(lines))

    def _most_groups(self, array: ArrayConfig) -> int:
        """Return how many groups a tile may have: it reads parameters and taps in one go each."""
        bytes_of_group = 16 * array.columns
        most = min((1 << 24) // bytes_of_group, (1 << 16) // max(1, self.depthwise_kernel**2))
        return 1 << (most - 1).bit_length() - 1  # a power of two below

    def _kernel_too_large(self, array: ArrayConfig) -> list[str]:
        """Return a line if sums over a depthwise kernel leave the lane of partial sums."""
        fits, tightest = self.depthwise_kernel, None
        for mode in array.modes:
            while array.sum_bits(mode, fits**2) > array.partial_sum_lane_bits(mode):
                fits, tightest = fits - 1, mode
        if tightest is None:
            return []
        return [
            f"accelerator.depthwise_kernel: {self.depthwise_kernel} is not allowed; must be at "
            f"most {fits}, or array.rows more than {array.rows} ({tightest} partial sums have "
            f"{array.partial_sum_lane_bits(tightest)} bits)"
        ]

    def parameters(self, array: ArrayConfig) -> dict[str, Any]:
        """Return what a build is known by: the array's fields, and under ``accelerator`` these."""
        return {**array.model_dump(mode="json"), "accelerator": self.model_dump(mode="json")}
