"""How much each layer errs in each mode: a table, and the network's error made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from dybit.quant.precision import PrecisionMode
from dybit.quant.search.errors import SearchError
from dybit.quant.workloads.workload import Workload

__all__ = ["Measure", "OperandErrors", "Sensitivity", "rmse"]


class Measure(StrEnum):
    """What counts as error."""

    RMSE = "rmse"
    POOLED_RMSE = "pooled-rmse"
    OUTPUT = "output"
    FISHER = "fisher"


@dataclass(frozen=True, slots=True)
class OperandErrors:
    """What rounding does to one operand at one width.

    Attributes
    ----------
    error : float
        Sum of squared errors.
    power : float
        Sum of squares.
    """

    error: float
    power: float

    @property
    def relative(self) -> float:
        """Their ratio; 0 for an operand of zeros."""
        return self.error / self.power if self.power else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Sensitivity:
    """The error of each layer in each mode.

    Attributes
    ----------
    measure : str
    errors : mapping of str to mapping of PrecisionMode to float
        By layer.
    weights : mapping of str to float
        The network's error is the sum of its layers', times these.
    """

    measure: str
    errors: Mapping[str, Mapping[PrecisionMode, float]]
    weights: Mapping[str, float]

    def contributions(
        self, layers: Sequence[str], modes: Sequence[PrecisionMode]
    ) -> NDArray[np.float64]:
        """Return what each layer adds to the network's error in each mode."""
        for name in layers:
            missing = [mode.name for mode in modes if mode not in self.errors.get(name, {})]
            if missing:
                raise SearchError(f"sensitivity of {name} must have {', '.join(missing)}")
        table = [
            [self.errors[name][mode] * self.weights[name] for mode in modes] for name in layers
        ]
        return np.array(table, np.float64).reshape(len(layers), len(modes))


def rmse(
    workload: Workload,
    modes: Sequence[PrecisionMode],
    weights: Mapping[tuple[str, int], OperandErrors],
    activations: Mapping[tuple[str, int], OperandErrors],
    pooled: bool = False,
) -> Sensitivity:
    r"""Return the root of each layer's mean squared error, relative to what it rounds.

    With e and p the sums of squared errors and of squares of weights and activations, a layer's is

    .. math:: \sqrt{(e_w / p_w + e_a / p_a) / 2}

    the root of squared errors over squares of both operands together, each scaled to the same sum
    of squares first. The network's is the mean over its layers, weighted by multiply-accumulates.

    Parameters
    ----------
    workload : Workload
    modes : sequence of PrecisionMode
    weights, activations : mapping of (str, int) to OperandErrors
        By layer on the array, and width.
    pooled : bool
        Operands as they are: :math:`\sqrt{(e_w + e_a) / (p_w + p_a)}`. What has more elements, or
        larger ones, then counts for more, and the other for next to nothing.
    """
    errors: dict[str, dict[PrecisionMode, float]] = {}
    for layer in workload.array_layers:
        errors[layer.name] = {}
        for mode in modes:
            w = weights[layer.name, mode.weight_bits]
            a = activations[layer.name, mode.activation_bits]
            if pooled:
                ratio = OperandErrors(w.error + a.error, w.power + a.power).relative
            else:
                ratio = (w.relative + a.relative) / 2
            errors[layer.name][mode] = float(np.sqrt(ratio))
    measure = Measure.POOLED_RMSE if pooled else Measure.RMSE
    return Sensitivity(measure, errors, mac_shares(workload))


def mac_shares(workload: Workload) -> dict[str, float]:
    """Return the share of each layer on the array in their multiply-accumulates."""
    total = sum(layer.macs for layer in workload.array_layers)
    return {layer.name: layer.macs / total for layer in workload.array_layers}
