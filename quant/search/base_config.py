"""From a user's config to what a search may choose from, and what the array can sum."""

from __future__ import annotations

from collections.abc import Sequence

from dybit.quant.array_config import ArrayConfig
from dybit.quant.config import QuantConfig
from dybit.quant.precision import MODES, PrecisionMode
from dybit.quant.workloads.layer_shape import LayerKind
from dybit.quant.workloads.workload import Workload

__all__ = ["check_workload", "with_modes"]


def with_modes(base: QuantConfig, modes: Sequence[PrecisionMode] | None = None) -> QuantConfig:
    """Return a config whose array has all of some modes, every layer in the widest of them.

    Parameters
    ----------
    base : QuantConfig
        Its accelerator, and its array apart from the modes.
    modes : sequence of PrecisionMode, optional
        By default those of the array or, where it has but one, all that its family has.

    Raises
    ------
    ConfigError
        If the array cannot be built for them.
    """
    if modes is None:
        modes = base.array.modes if len(base.array.modes) > 1 else base.array.family_modes
    ordered = [mode for mode in MODES if mode in modes]
    given = base.to_dict()
    array = given["array"] | {"modes": [mode.name for mode in ordered]}
    default = {
        "weight_bits": ordered[0].weight_bits,
        "activation_bits": ordered[0].activation_bits,
    }
    rest = {"accelerator": given["accelerator"]} if "accelerator" in given else {}
    table = {"name": base.name, "array": array, "default": default, **rest}
    return QuantConfig.from_dict(table, base.name)


def check_workload(workload: Workload, base: QuantConfig, array: ArrayConfig) -> None:
    """Refuse a workload that the array cannot run, or that lacks a layer the config names.

    Raises
    ------
    ConfigError
        Naming the layer.
    """
    stating = (LayerKind.MATMUL, LayerKind.ADD)
    base.check_layer_names(
        layer.name for layer in workload.layers if layer.on_array or layer.kind in stating
    )
    for layer in workload.array_layers:
        for mode in array.modes:
            weights = array.weight_format(mode.weight_bits, None)
            activations = array.activation_format(
                mode.activation_bits, array.signednesses[-1], None
            )
            array.check_layer(layer.name, mode, activations, weights, layer.reduction, 0)
