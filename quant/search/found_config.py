"""The quant config of a choice of modes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from dybit.quant.config import QuantConfig
from dybit.quant.precision import MODES, PrecisionMode
from dybit.quant.workloads.layer_shape import LayerKind
from dybit.quant.workloads.workload import Workload

__all__ = ["found_config"]


def found_config(
    base: QuantConfig,
    workload: Workload,
    modes: Mapping[str, PrecisionMode],
    *,
    name: str | None = None,
    keep_modes: bool = False,
) -> QuantConfig:
    """Return the config of a network whose layers have such modes.

    The most frequent mode is the default, so few layers need an entry. Equal arguments give equal
    configs, and these equal text.

    Parameters
    ----------
    base : QuantConfig
        Its array is kept; so are exponent limits it states for a layer whose width stays.
    workload : Workload
    modes : mapping of str to PrecisionMode
        Of each layer on the array.
    name : str, optional
        The base's by default.
    keep_modes : bool
        Build the array for all modes of the base, not only for those in use.
    """
    wanted = dict(modes) | _products(workload, modes)
    counts = Counter(wanted.values())
    default = min(counts, key=lambda mode: (-counts[mode], MODES.index(mode)))
    layers: dict[str, dict[str, int]] = {}
    for layer in workload.layers:
        if layer.name in wanted:
            entry = _entry(base, layer.name, wanted[layer.name], default)
            if entry:
                layers[layer.name] = entry
    array: dict[str, Any] = base.to_dict()["array"]
    if not keep_modes:
        array["modes"] = [mode.name for mode in MODES if mode in counts]
    title = base.name if name is None else name
    table = {
        "name": title,
        "array": array,
        "default": {
            "weight_bits": default.weight_bits,
            "activation_bits": default.activation_bits,
        },
        "layers": layers,
    }
    return QuantConfig.from_dict(table, title)


def _entry(
    base: QuantConfig, name: str, mode: PrecisionMode, default: PrecisionMode
) -> dict[str, int]:
    settings, entry = base.layer(name), {}
    for operand in ("weight", "activation"):
        bits = getattr(mode, f"{operand}_bits")
        limit = getattr(settings, f"{operand}_max_exponent_bits")
        if bits != getattr(default, f"{operand}_bits"):
            entry[f"{operand}_bits"] = bits
        if limit is not None and bits == getattr(settings, f"{operand}_bits"):
            entry[f"{operand}_max_exponent_bits"] = limit
    return entry


def _products(workload: Workload, modes: Mapping[str, PrecisionMode]) -> dict[str, PrecisionMode]:
    """Return modes of products of activations, which state the width of what they read as well."""
    widths = workload.widths(modes)
    used = Counter(modes.values())
    found = {}
    for layer in workload.layers:
        if layer.kind is LayerKind.MATMUL:
            bits = widths.get(layer.inputs[0], max(mode.activation_bits for mode in used))
            fitting = [mode for mode in MODES if mode.activation_bits == bits and mode in used]
            found[layer.name] = fitting[0]
    return found
