"""The quant config: array geometry, precision modes and per-layer formats, read from TOML.

Gateware, golden model, cycle model and driver all read this one file, so every width that two
of them must agree on (lanes, partial sums, accumulators) is derived here and nowhere else.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from dybit.quant.accelerator_config import AcceleratorConfig
from dybit.quant.array_config import ArrayConfig
from dybit.quant.config_errors import ConfigError, error_lines, problems
from dybit.quant.operand_config import ALLOWED_MODES, ConfigTable
from dybit.quant.precision import MODES, PrecisionMode

__all__ = ["ArrayConfig", "ConfigError", "LayerConfig", "LayerOverride", "QuantConfig"]

_SIZE = "a power of two from 16 to 65536"

ALLOWED = {
    "name": "letters, digits, '_', '.' and '-', a letter or digit first",
    "rows": "an integer from 1 to 256",
    "columns": "an integer from 1 to 256",
    "modes": f"a list of {ALLOWED_MODES}",
    "activations": "signed, unsigned or both",
    "max_reduction": "an integer from 1 to 1048576",
    "accumulator_depth": "an integer from 1 to 65536",
    "family": "dybit or esb",
    "weight_exponent_limit": "an integer from 1 to 3",
    "activation_exponent_limit": "an integer from 1 to 4",
    "esb_k4": "an integer from 0 to 2",
    "esb_k8": "an integer from 3 to 6",
    "weight_bits": "2, 4 or 8",
    "activation_bits": "2, 4 or 8",
    "weight_max_exponent_bits": "an integer from 1 to 7",
    "activation_max_exponent_bits": "an integer from 1 to 8",
    "activation_words": _SIZE,
    "output_words": _SIZE,
    "parameter_groups": _SIZE,
    "weight_rows": _SIZE,
    "depthwise_kernel": "an integer from 0 to 7",
    "depthwise_width": _SIZE,
}
"""What each field may hold, as messages say it."""

_Width = Literal[2, 4, 8]
_WeightLimit = Annotated[int, Field(ge=1, le=7)]
_ActivationLimit = Annotated[int, Field(ge=1, le=8)]


class LayerConfig(ConfigTable):
    """Widths of one layer, and the exponent limits asked for.

    Parameters
    ----------
    weight_bits, activation_bits : int
        2, 4 or 8; `activation_bits` is the width of the layer's input.
    weight_max_exponent_bits, activation_max_exponent_bits : int, optional
        Exponent limits of DyBit, at 8 bits or where 4-bit lanes have several; the quantiser
        chooses one per tensor where absent.
    """

    weight_bits: _Width
    activation_bits: _Width
    weight_max_exponent_bits: _WeightLimit | None = None
    activation_max_exponent_bits: _ActivationLimit | None = None

    @property
    def mode(self) -> PrecisionMode:
        """The precision mode of the layer."""
        return PrecisionMode(self.weight_bits, self.activation_bits)


class LayerOverride(ConfigTable):
    """The fields of `LayerConfig` in which one layer departs from the default."""

    weight_bits: _Width | None = None
    activation_bits: _Width | None = None
    weight_max_exponent_bits: _WeightLimit | None = None
    activation_max_exponent_bits: _ActivationLimit | None = None

    def over(self, default: LayerConfig) -> LayerConfig:
        """Return the full settings; a limit belongs to its width and is not inherited alone."""
        fields = default.model_dump(exclude_none=True)
        for operand in ("weight", "activation"):
            if getattr(self, f"{operand}_bits") not in (None, fields[f"{operand}_bits"]):
                fields.pop(f"{operand}_max_exponent_bits", None)
        return LayerConfig(**(fields | self.model_dump(exclude_none=True)))


class QuantConfig(ConfigTable):
    """One quant config file.

    Parameters
    ----------
    name : str
        Names the build folders; the file's stem by default.
    default : LayerConfig
        Settings of each layer without an entry of its own.
    layers : dict of str to LayerOverride
        Departures from the default, by layer name.
    array : ArrayConfig
        The array; its modes are those the layers use, unless it names them.
    accelerator : AcceleratorConfig
        What stands around the array; matters where a whole accelerator is built or simulated.
    """

    # `array` comes last so that its validator sees the layers.
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = "unnamed"
    default: LayerConfig
    layers: dict[str, LayerOverride] = Field(default_factory=dict)
    array: ArrayConfig
    accelerator: AcceleratorConfig = Field(default_factory=AcceleratorConfig)

    @field_validator("array", mode="after")
    @classmethod
    def _fill_modes(cls, array: ArrayConfig, info: ValidationInfo) -> ArrayConfig:
        if array.modes or not {"default", "layers"} <= info.data.keys():
            return array
        default = info.data["default"]
        settings = [default, *(layer.over(default) for layer in info.data["layers"].values())]
        pairs = {(layer.weight_bits, layer.activation_bits) for layer in settings}
        used = tuple(mode for mode in MODES if (mode.weight_bits, mode.activation_bits) in pairs)
        return array.model_copy(update={"modes": used})

    @model_validator(mode="after")
    def _check(self) -> QuantConfig:
        lines = [line for field, layer in self._settings() for line in self._refuse(field, layer)]
        if not lines:
            lines = list(self.array.overflows())
        if lines:
            raise problems(lines)
        return self

    def _settings(self) -> Iterator[tuple[str, LayerConfig]]:
        yield "default", self.default
        for name, layer in self.layers.items():
            yield f"layers.{name}", layer.over(self.default)

    def _refuse(self, field: str, layer: LayerConfig) -> Iterator[str]:
        pair = f"W{layer.weight_bits}A{layer.activation_bits}"
        if pair not in {mode.name for mode in MODES}:
            yield f"{field}: {pair} is not allowed; must be one of {ALLOWED_MODES}"
        elif pair not in {mode.name for mode in self.array.family_modes}:
            allowed = ", ".join(mode.name for mode in self.array.family_modes)
            yield (
                f"{field}: {pair} is not allowed; must be one of {allowed} "
                f"(array.family is {self.array.family})"
            )
        elif pair not in {mode.name for mode in self.array.modes}:
            built = ", ".join(mode.name for mode in self.array.modes)
            yield f"{field}: {pair} is not allowed; must be one of array.modes, {built}"
        for operand in ("weight", "activation"):
            limit = getattr(layer, f"{operand}_max_exponent_bits")
            bits = getattr(layer, f"{operand}_bits")
            if limit is not None and self.array.family != "dybit":
                yield (
                    f"{field}.{operand}_max_exponent_bits: {limit} is not allowed; "
                    f"must be absent (array.family is {self.array.family})"
                )
            elif bits == 4 and limit in self.array.run_time_limits:
                continue
            elif limit is not None and bits != 8:
                fixed = {4: f"set array.{operand}_exponent_limit", 2: "2 bits are plain"}[bits]
                yield (
                    f"{field}.{operand}_max_exponent_bits: {limit} is not allowed at {bits} bits; "
                    f"must be absent ({fixed})"
                )

    @property
    def modes(self) -> tuple[PrecisionMode, ...]:
        """Modes the hardware is built for, in the order of `MODES`."""
        return self.array.modes

    def layer(self, name: str) -> LayerConfig:
        """Return the settings of the layer called `name`."""
        return self.layers.get(name, LayerOverride()).over(self.default)

    def check_layer_names(self, names: Iterable[str]) -> None:
        """Raise `ConfigError` if an entry of `layers` is none of the network's `names`."""
        known = list(names)
        lines = [
            f"layers.{name}: no such layer; must be one of {', '.join(known)}"
            for name in self.layers
            if name not in known
        ]
        if lines:
            raise ConfigError("\n".join(lines))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], source: str = "config") -> QuantConfig:
        """Return the config in `data`; errors begin with `source`."""
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            lines = error_lines(error, source, ALLOWED, _fields())
            raise ConfigError("\n".join(lines)) from None

    @classmethod
    def load(cls, path: str | Path) -> QuantConfig:
        """Return the config in the TOML file at `path`.

        Raises
        ------
        ConfigError
            If the file cannot be read, is not TOML, or holds what is not allowed.
        """
        try:
            data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            reason = (error.strerror or "cannot be read").lower()
            raise ConfigError(f"{path}: {reason}; must be a quant config in TOML") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not TOML: {error}") from None
        return cls.from_dict({"name": Path(path).stem} | data, str(path))

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` takes, modes written out and nothing that is absent."""
        data = self.model_dump(exclude_none=True)
        if self.accelerator == AcceleratorConfig():
            del data["accelerator"]
        return {"name": data.pop("name"), "array": data.pop("array"), **data}

    def dumps(self) -> str:
        """Return the config as TOML; equal configs give equal text."""
        return tomli_w.dumps(self.to_dict())


def _fields() -> dict[str, str]:
    tables: dict[str, type[ConfigTable]] = {
        "": QuantConfig,
        "array": ArrayConfig,
        "accelerator": AcceleratorConfig,
        "default": LayerConfig,
        "layers": LayerOverride,
    }
    return {name: ", ".join(table.model_fields) for name, table in tables.items()}
