"""What the operands of an array are: number system, modes, signedness, and the formats of each."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from dybit.quant.config_errors import problem, problems
from dybit.quant.formats import ESB, DyBit, NumberFormat, SignMagnitude
from dybit.quant.precision import MODES, PrecisionMode

__all__ = ["ALLOWED_MODES", "ConfigTable", "OperandConfig"]

ALLOWED_MODES = ", ".join(mode.name for mode in MODES)
"""The seven modes, as messages list them."""

_FAMILY_NAMES = {"dybit": "DyBit", "esb": "ESB"}
_FAMILY_WIDTHS = {"dybit": (2, 4, 8), "esb": (4, 8)}
_FAMILY_FIELDS = {
    "dybit": (
        "weight_exponent_limit",
        "activation_exponent_limit",
        "run_time_limits",
    ),
    "esb": ("esb_k4", "esb_k8"),
}
"""Fields that mean something for one family alone."""

_RUN_TIME_LIMITS = ((1, 2), (1, 3), (2, 3), (1, 2, 3))


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


def _parse_limits(value: object) -> tuple[int, ...]:
    limits = tuple(sorted(value)) if isinstance(value, list | tuple) else ()
    if value not in ([], ()) and limits not in _RUN_TIME_LIMITS:
        raise problem(f"{value!r} is not allowed; must be two or three of 1, 2 and 3")
    return limits


class ConfigTable(BaseModel):
    """A table of the config: no unknown fields, no conversions, no changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class OperandConfig(ConfigTable):
    """The operands an array computes with and the codes it produces.

    Parameters
    ----------
    modes : tuple of PrecisionMode
        Modes the hardware is built for, in the order of `MODES`. A `QuantConfig` fills them in
        from its layers when they are left out.
    activations : {"signed", "unsigned", "both"}
        Signednesses of the activations the hardware is built for; ESB is always signed.
    family : {"dybit", "esb"}
        Number system of every operand and result. ESB has 4 and 8 bits.
    weight_exponent_limit, activation_exponent_limit : int
        DyBit only: exponent limits of this build's 4-bit lanes; a limit above the format's own is
        that one.
    run_time_limits : tuple of int
        DyBit only: if given, two or three exponent limits, from 1 to 3, among which signed 4-bit
        lanes choose at run time instead; unsigned ones stay plain.
    esb_k4, esb_k8 : int
        ESB only: fraction bits of the 4-bit and of the 8-bit format.
    """

    modes: Annotated[
        tuple[PrecisionMode, ...], PlainValidator(_parse_modes), PlainSerializer(_mode_names)
    ] = ()
    activations: Literal["signed", "unsigned", "both"] = "both"
    family: Literal["dybit", "esb"] = "dybit"
    weight_exponent_limit: Annotated[int, Field(ge=1, le=3)] = 3
    activation_exponent_limit: Annotated[int, Field(ge=1, le=4)] = 4
    run_time_limits: Annotated[
        tuple[int, ...], PlainValidator(_parse_limits), PlainSerializer(list)
    ] = ()
    esb_k4: Annotated[int, Field(ge=0, le=2)] = 1
    esb_k8: Annotated[int, Field(ge=3, le=6)] = 4

    @model_validator(mode="after")
    def _check_family(self) -> Self:
        lines = [
            f"array.{field}: {getattr(self, field)} is not allowed; "
            f"must be absent (array.family is {self.family})"
            for family, fields in _FAMILY_FIELDS.items()
            for field in fields
            if family != self.family and field in self.model_fields_set
        ]
        if self.family == "esb" and self.activations != "signed":
            lines.append(
                f"array.activations: {self.activations!r} is not allowed; "
                "must be signed (array.family is esb)"
            )
        for field in ("weight_exponent_limit", "activation_exponent_limit"):
            if self.run_time_limits and field in self.model_fields_set:
                lines.append(
                    f"array.{field}: {getattr(self, field)} is not allowed; "
                    "must be absent (array.run_time_limits is given)"
                )
        for mode in self.modes:
            if mode not in self.family_modes:
                allowed = ", ".join(each.name for each in self.family_modes)
                lines.append(
                    f"array.modes: {mode.name!r} is not allowed; "
                    f"must be one of {allowed} (array.family is {self.family})"
                )
        if lines:
            raise problems(lines)
        return self

    @model_serializer(mode="wrap")
    def _without_other_families(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        for family in _FAMILY_FIELDS.keys() - {self.family}:
            for field in _FAMILY_FIELDS[family]:
                fields.pop(field, None)
        fixed = ("weight_exponent_limit", "activation_exponent_limit")
        for field in fixed if self.run_time_limits else ("run_time_limits",):
            fields.pop(field, None)
        return fields

    @property
    def family_name(self) -> str:
        """The family, as messages name it."""
        return _FAMILY_NAMES[self.family]

    @property
    def family_modes(self) -> tuple[PrecisionMode, ...]:
        """Modes whose widths the family has."""
        widths = _FAMILY_WIDTHS[self.family]
        return tuple(m for m in MODES if m.weight_bits in widths and m.activation_bits in widths)

    @property
    def activation_widths(self) -> tuple[int, ...]:
        """Widths of the activations built, which are those of the codes a layer may produce."""
        return tuple(sorted({mode.activation_bits for mode in self.modes}))

    @property
    def signednesses(self) -> tuple[bool, ...]:
        """Signednesses of activations built, signed first."""
        return {"signed": (True,), "unsigned": (False,), "both": (True, False)}[self.activations]

    def weight_format(self, bits: int, limit: int | None = None) -> SignMagnitude:
        """Return the format of weights: at 8 bits DyBit of any `limit`, at 4 of those built."""
        if self.family == "esb":
            return self._esb(bits)
        narrow = self._run_time_limit(limit) or self.weight_exponent_limit
        return _dybit(bits, True, {2: None, 4: narrow, 8: limit}[bits])

    def activation_format(self, bits: int, signed: bool, limit: int | None = None) -> SignMagnitude:
        """Return the format of activations: at 8 bits DyBit of any `limit`, at 4 of those built.

        ESB is signed, whatever `signed` says.
        """
        if self.family == "esb":
            return self._esb(bits)
        narrow = (signed and self._run_time_limit(limit)) or self.activation_exponent_limit
        return _dybit(bits, signed, {2: None, 4: narrow, 8: limit}[bits])

    def decoded_weight_format(self, fmt: NumberFormat) -> SignMagnitude:
        """Return `fmt` if the array decodes weights of it, else what it decodes instead."""
        limit = fmt.exponent_limit if isinstance(fmt, DyBit) else None
        return self.weight_format(fmt.bits, limit)

    def decoded_activation_format(self, fmt: NumberFormat) -> SignMagnitude:
        """Return `fmt` if the array decodes activations of it, else what it decodes instead."""
        limit = fmt.exponent_limit if isinstance(fmt, DyBit) else None
        return self.activation_format(fmt.bits, fmt.signed, limit)

    def encodes(self, fmt: NumberFormat) -> bool:
        """Return whether the array can produce `fmt`: DyBit of any limit, its own ESB."""
        if fmt.bits not in self.activation_widths:
            return False
        if self.family == "esb":
            return fmt == self._esb(fmt.bits)
        return isinstance(fmt, DyBit)

    @property
    def encoded(self) -> str:
        """What the array can produce, as messages say it."""
        if self.family == "esb":
            return " or ".join(self._esb(bits).name for bits in self.activation_widths)
        return f"{self.family_name} of {' or '.join(map(str, self.activation_widths))} bits"

    def max_weight(self, bits: int) -> int:
        """Largest magnitude, in integers, that a weight of `bits` takes in this build."""
        return self.weight_format(bits).max_integer

    def max_activation(self, bits: int) -> int:
        """Largest magnitude, in integers, that an activation of `bits` takes in this build."""
        return max(self.activation_format(bits, signed).max_integer for signed in self.signednesses)

    def _run_time_limit(self, limit: int | None) -> int | None:
        """Return `limit` if 4-bit lanes may have it, the largest they may have if not."""
        if limit in self.run_time_limits:
            return limit
        return max(self.run_time_limits, default=None)

    def _esb(self, bits: int) -> ESB:
        return ESB(bits, {4: self.esb_k4, 8: self.esb_k8}[bits])


def _dybit(bits: int, signed: bool, limit: int | None) -> DyBit:
    magnitude = bits - signed
    return DyBit(bits, signed, None if limit is None else min(limit, magnitude))
