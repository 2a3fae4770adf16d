"""The array a quant config describes, and every width that follows from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import Field

from dybit.quant.config_errors import ConfigError
from dybit.quant.formats import NumberFormat
from dybit.quant.operand_config import OperandConfig
from dybit.quant.precision import PrecisionMode

__all__ = ["ArrayConfig"]

REQUANTIZER_BITS = 48
"""Most bits in which accumulator and bias are added; the sum must stay below 2^47."""


class ArrayConfig(OperandConfig):
    """Geometry of the array, and every width that follows from it and from its operands.

    Parameters
    ----------
    rows, columns : int
        Processing elements down and across, 1 to 256.
    max_reduction : int
        Longest reduction of one output; sizes the accumulator lanes.
    accumulator_depth : int
        Pixels of one tile.
    multiplier : {"dsp", "lut"}
        What multiplies lanes of 8 bits; narrow products are always of LUTs.
    modes, activations, family, weight_exponent_limit, activation_exponent_limit,
    run_time_limits, esb_k4, esb_k8
        See `OperandConfig`.
    """

    rows: Annotated[int, Field(ge=1, le=256)]
    columns: Annotated[int, Field(ge=1, le=256)]
    # The bound keeps the widest lane of DyBit (W8A8, unsigned: products up to 2^26) within 48 bits.
    max_reduction: Annotated[int, Field(ge=1, le=1 << 20)]
    accumulator_depth: Annotated[int, Field(ge=1, le=1 << 16)]
    multiplier: Literal["dsp", "lut"] = "dsp"

    @property
    def max_channels(self) -> int:
        """Most input channels in the activation word of a row, over the modes (8/a)."""
        return max(mode.channels for mode in self.modes)

    @property
    def max_lanes(self) -> int:
        """Most output channels of a column, over the modes (8/w)."""
        return max(mode.lanes for mode in self.modes)

    @property
    def word_bytes(self) -> int:
        """Bytes of weights an element holds: one for each activation lane."""
        return self.max_channels

    def sum_bits(self, mode: PrecisionMode, terms: int) -> int:
        """Bits, sign included, of the sum of so many products in `mode`."""
        return (_largest_product(self, mode) * terms).bit_length() + 1

    def partial_sum_needed_bits(self, mode: PrecisionMode) -> int:
        """Bits, sign included, of the sum of one full column in `mode`."""
        return self.sum_bits(mode, mode.channels * self.rows)

    @property
    def partial_sum_bits(self) -> int:
        """Width of the partial-sum word of a column, which every mode cuts into its lanes."""
        return _partial_sum_bits(self)

    def partial_sum_lane_bits(self, mode: PrecisionMode) -> int:
        """Width of one lane of the partial-sum word in `mode`."""
        return self.partial_sum_bits // mode.lanes

    def accumulator_needed_bits(self, mode: PrecisionMode) -> int:
        """Bits, sign included, of a sum over `max_reduction` products in `mode`."""
        return self.sum_bits(mode, self.max_reduction)

    @property
    def accumulator_bits(self) -> int:
        """Width of the accumulator word of a column, which every mode cuts into its lanes."""
        return _accumulator_bits(self)

    def accumulator_lane_bits(self, mode: PrecisionMode) -> int:
        """Width of one lane of the accumulator word in `mode`."""
        return self.accumulator_bits // mode.lanes

    @property
    def requantizer_bits(self) -> int:
        """Width of an accumulator read out, in any mode, and of its sum with the bias."""
        widest = max(self.accumulator_lane_bits(mode) for mode in self.modes)
        return min(widest, REQUANTIZER_BITS)

    def check_layer(
        self,
        name: str,
        mode: PrecisionMode,
        activation_format: NumberFormat,
        weight_format: NumberFormat,
        reduction: int,
        max_abs_bias: int,
    ) -> None:
        """Refuse a layer that could overflow.

        Parameters
        ----------
        name : str
            The layer's name, for the message.
        mode : PrecisionMode
            Mode it runs in.
        activation_format, weight_format : NumberFormat
            Formats of its operands.
        reduction : int
            Products summed in one output.
        max_abs_bias : int
            Largest magnitude of its bias, in accumulator units.

        Raises
        ------
        ConfigError
            In one line, if the mode is not built, if `reduction` exceeds `max_reduction`, or if
            the largest sum with its bias leaves the mode's accumulator lane or reaches 2^47.
        """
        field = f"layers.{name}"
        if mode not in self.modes:
            built = ", ".join(built.name for built in self.modes)
            raise ConfigError(f"{field}: {mode.name} is not built; must be one of {built}")
        if reduction > self.max_reduction:
            raise ConfigError(
                f"{field}: a reduction of {reduction} is not allowed; "
                f"must be at most array.max_reduction = {self.max_reduction}"
            )
        largest = (
            activation_format.max_integer * weight_format.max_integer * reduction + max_abs_bias
        )
        lane = min(self.accumulator_lane_bits(mode), REQUANTIZER_BITS)
        if largest >= 1 << (lane - 1):
            raise ConfigError(
                f"{field}: an accumulator of up to {largest} is not allowed; must be below "
                f"2^{lane - 1}, the {mode.name} lane for array.max_reduction = {self.max_reduction}"
            )

    def overflows(self) -> Iterator[str]:
        """Yield a line for each mode built whose longest sum the re-quantiser cannot take."""
        for mode in self.modes:
            largest = _largest_product(self, mode)
            longest = ((1 << REQUANTIZER_BITS - 1) - 1) // largest
            if self.max_reduction > longest:
                yield (
                    f"array.max_reduction: {self.max_reduction} is not allowed; must be at most "
                    f"{longest} ({mode.name} products reach {largest})"
                )
                return


# Gateware and models ask for these over and over.
@lru_cache(maxsize=1024)
def _largest_product(array: ArrayConfig, mode: PrecisionMode) -> int:
    return array.max_activation(mode.activation_bits) * array.max_weight(mode.weight_bits)


@lru_cache(maxsize=256)
def _partial_sum_bits(array: ArrayConfig) -> int:
    return _word(array, array.partial_sum_needed_bits)


@lru_cache(maxsize=256)
def _accumulator_bits(array: ArrayConfig) -> int:
    return _word(array, array.accumulator_needed_bits)


def _word(array: ArrayConfig, needed_bits: Callable[[PrecisionMode], int]) -> int:
    """Return the width of a word that every mode of an array cuts into its lanes."""
    widest = max(needed_bits(mode) * mode.lanes for mode in array.modes)
    # A multiple of the most lanes, so that each mode's lanes are equal and fill the word.
    return -(-widest // array.max_lanes) * array.max_lanes
