"""The array a quant config describes, and every width that follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator

from dybit.quant.config_errors import ConfigError, problem
from dybit.quant.formats import DyBit, NumberFormat
from dybit.quant.precision import MODES, PrecisionMode

__all__ = ["ALLOWED_MODES", "ArrayConfig", "ConfigTable"]

ALLOWED_MODES = ", ".join(mode.name for mode in MODES)
"""The seven modes, as messages list them."""

REQUANTIZER_BITS = 48
"""Most bits in which accumulator and bias are added; the sum must stay below 2^47."""


def _parse_modes(value: object) -> tuple[PrecisionMode, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise problem(f"{value!r} is not allowed; must be a list of {ALLOWED_MODES}")
    modes = []
    for item in value:
        try:
            modes.append(item if isinstance(item, PrecisionMode) else PrecisionMode.parse(item))
        except ValueError:
            raise problem(f"{item!r} is not allowed; must be one of {ALLOWED_MODES}") from None
    return tuple(mode for mode in MODES if mode in modes)


def _mode_names(modes: tuple[PrecisionMode, ...]) -> list[str]:
    return [mode.name for mode in modes]


class ConfigTable(BaseModel):
    """A table of the config: no unknown fields, no conversions, no changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ArrayConfig(ConfigTable):
    """Geometry of the array, and every width that follows from it.

    Parameters
    ----------
    rows, columns : int
        Processing elements down and across, 1 to 256.
    modes : tuple of PrecisionMode
        Modes the hardware is built for, in the order of `MODES`. A `QuantConfig` fills them in
        from its layers when they are left out.
    activations : {"signed", "unsigned", "both"}
        Signednesses of the activations the hardware is built for.
    max_reduction : int
        Longest reduction of one output; sizes the accumulator lanes.
    accumulator_depth : int
        Pixels of one tile.
    weight_exponent_limit, activation_exponent_limit : int
        Exponent limits of this build's 4-bit lanes; a limit above the format's own is that one.
    """

    rows: Annotated[int, Field(ge=1, le=256)]
    columns: Annotated[int, Field(ge=1, le=256)]
    modes: Annotated[
        tuple[PrecisionMode, ...], PlainValidator(_parse_modes), PlainSerializer(_mode_names)
    ] = ()
    activations: Literal["signed", "unsigned", "both"] = "both"
    # The bound keeps the widest lane (W8A8, unsigned: products up to 2^26) within 48 bits.
    max_reduction: Annotated[int, Field(ge=1, le=1 << 20)]
    accumulator_depth: Annotated[int, Field(ge=1, le=1 << 16)]
    weight_exponent_limit: Annotated[int, Field(ge=1, le=3)] = 3
    activation_exponent_limit: Annotated[int, Field(ge=1, le=4)] = 4

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

    @property
    def activation_widths(self) -> tuple[int, ...]:
        """Widths of the activations built, which are those of the codes a layer may produce."""
        return tuple(sorted({mode.activation_bits for mode in self.modes}))

    @property
    def signednesses(self) -> tuple[bool, ...]:
        """Signednesses of activations built, signed first."""
        return {"signed": (True,), "unsigned": (False,), "both": (True, False)}[self.activations]

    def weight_format(self, bits: int, limit: int | None = None) -> DyBit:
        """Return the format of weights of `bits`; only 8-bit weights have a choice of `limit`."""
        fixed = {2: None, 4: self.weight_exponent_limit, 8: limit}[bits]
        return _format(bits, True, fixed)

    def activation_format(self, bits: int, signed: bool, limit: int | None = None) -> DyBit:
        """Return the format of activations of `bits`; only 8 bits have a choice of `limit`."""
        fixed = {2: None, 4: self.activation_exponent_limit, 8: limit}[bits]
        return _format(bits, signed, fixed)

    def max_weight(self, bits: int) -> int:
        """Largest magnitude, in integers, that a weight of `bits` takes in this build."""
        return _largest(bits - 1, self.weight_exponent_limit if bits == 4 else bits)

    def max_activation(self, bits: int) -> int:
        """Largest magnitude, in integers, that an activation of `bits` takes in this build."""
        limit = self.activation_exponent_limit if bits == 4 else bits
        return max(_largest(bits - signed, limit) for signed in self.signednesses)

    def partial_sum_needed_bits(self, mode: PrecisionMode) -> int:
        """Bits, sign included, of the sum of one full column in `mode`."""
        return self._bits(mode, mode.channels * self.rows)

    @property
    def partial_sum_bits(self) -> int:
        """Width of the partial-sum word of a column, which every mode cuts into its lanes."""
        return self._word(self.partial_sum_needed_bits(mode) * mode.lanes for mode in self.modes)

    def partial_sum_lane_bits(self, mode: PrecisionMode) -> int:
        """Width of one lane of the partial-sum word in `mode`."""
        return self.partial_sum_bits // mode.lanes

    def accumulator_needed_bits(self, mode: PrecisionMode) -> int:
        """Bits, sign included, of a sum over `max_reduction` products in `mode`."""
        return self._bits(mode, self.max_reduction)

    @property
    def accumulator_bits(self) -> int:
        """Width of the accumulator word of a column, which every mode cuts into its lanes."""
        return self._word(self.accumulator_needed_bits(mode) * mode.lanes for mode in self.modes)

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

    def _bits(self, mode: PrecisionMode, terms: int) -> int:
        largest = self.max_activation(mode.activation_bits) * self.max_weight(mode.weight_bits)
        return (largest * terms).bit_length() + 1

    def _word(self, widths: Iterable[int]) -> int:
        # A multiple of the most lanes, so that each mode's lanes are equal and fill the word.
        return -(-max(widths) // self.max_lanes) * self.max_lanes


def _format(bits: int, signed: bool, limit: int | None) -> DyBit:
    magnitude = bits - signed
    return DyBit(bits, signed, None if limit is None else min(limit, magnitude))


def _largest(magnitude_bits: int, limit: int) -> int:
    """Largest integer of a magnitude: all ones, at count min(limit, N)."""
    count = min(limit, magnitude_bits)
    return ((1 << (magnitude_bits - count + 1)) - 1) << (2 * count - 2)
