"""Formats and scales of one tensor, from its elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dybit.quant.array_config import ArrayConfig
from dybit.quant.config import LayerConfig
from dybit.quant.format_choice import Rating, rate_formats
from dybit.quant.format_rules import FormatRule
from dybit.quant.formats import NumberFormat
from dybit.quant.scale_methods import ScaleMethod, ScaleRule
from dybit.quant.tail import with_tail
from dybit.quant.tensor import NetworkError, QuantTensor, fixed_point
from dybit.quant.torch.modules import ActivationQuantizer, ComputeStage
from dybit.quant.torch.sampler import Sampler

__all__ = ["Fit", "snap"]

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fit:
    """How formats and scales are chosen; the parameters are those of `calibrate`."""

    array: ArrayConfig
    formats: FormatRule
    least_bits: int
    scales: ScaleMethod
    power_of_two: bool

    def activations(self, quantizer: ActivationQuantizer, sampler: Sampler) -> None:
        """Choose the format of an activation tensor, signed or not, and its scale."""
        settings: Any = quantizer.settings
        assert isinstance(settings, LayerConfig)  # `prepare` has seen to it
        if not sampler.values.size:
            raise NetworkError("batches must hold at least one input")
        signed = sampler.minimum < 0
        if signed and self.array.activations == "unsigned":
            raise NetworkError(
                f"{quantizer.name}: activations must not be negative where array.activations is "
                f"unsigned, not {sampler.minimum:.6g}; build the array for both"
            )
        signed = signed or self.array.activations == "signed"
        limit = settings.activation_max_exponent_bits
        bits, limit = self._width(settings.activation_bits, limit)
        candidates = self.formats.activations(bits, signed, limit)
        best = self._best(*self._elements(sampler), candidates)
        quantizer.tensor = QuantTensor(best.format, float(np.float32(best.scale[()])))

    def weights(self, stage: ComputeStage) -> None:
        """Choose the format of a layer's weights, one for all, and the scale of each channel."""
        weights = stage.weight.detach().cpu().numpy()
        if not np.isfinite(weights).all():
            raise NetworkError(f"{stage.name}: weights must be finite; load others")
        if not bool(stage.bias.isfinite().all()):
            raise NetworkError(f"{stage.name}: bias must be finite; load another")
        settings = stage.settings
        bits, limit = self._width(settings.weight_bits, settings.weight_max_exponent_bits)
        candidates = self.formats.weights(bits, limit)
        best = self._best(weights, None, candidates, axis=0)
        stage.weight_format = best.format
        # Rounded to float32, so that float32 networks and the integer model share them.
        scale = best.scale.astype(np.float32).astype(np.float64)
        stage.weight_scale = torch.from_numpy(scale).to(stage.weight.device)

    def _width(self, bits: int, limit: int | None) -> tuple[int, int | None]:
        """Return width and exponent limit; a limit belongs to the config's own width."""
        return (bits, limit) if bits >= self.least_bits else (self.least_bits, None)

    def _elements(self, sampler: Sampler) -> tuple[NDArray[Any], _Array | None]:
        """Return what stands for an activation tensor, and how often each element counts."""
        if self.scales is ScaleMethod.MSE:
            return with_tail(sampler.values)
        # The sample may lack the extremes.
        return np.append(sampler.values, [sampler.minimum, sampler.maximum]), None

    def _best(
        self,
        x: NDArray[Any],
        weights: _Array | None,
        candidates: Sequence[NumberFormat],
        axis: int | None = None,
    ) -> Rating:
        """Return the candidate of least squared error at its scales."""
        rule = ScaleRule(self.scales, power_of_two=self.power_of_two)
        return rate_formats(x, candidates, axis=axis, weights=weights, rule=rule).best()


def snap(stage: ComputeStage) -> None:
    """Move weight scales, by 2^-16 at most, to where multiplier and shift are exact.

    Model and network then differ by the rounding of float sums alone.
    """
    output = None if stage.quantizer is None else stage.quantizer.tensor
    if output is None or stage.weight_scale is None:
        return
    ratio = stage.accumulator_scale().cpu().numpy() / output.unit
    multiplier, shift = fixed_point(ratio, stage.name)
    exact = np.ldexp(multiplier.astype(np.float64), -shift.astype(np.int64))
    # A ratio below the range of both has few bits of multiplier or none, and stays.
    factor = np.where(multiplier >> 15, exact / ratio, 1.0)
    stage.weight_scale = stage.weight_scale * torch.from_numpy(factor).to(stage.weight_scale)
