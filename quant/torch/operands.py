"""The operands of a prepared model's layers, rounded at any width as `calibrate` would."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dybit.quant.config import QuantConfig
from dybit.quant.format_choice import Ratings, rate_formats, rate_sample
from dybit.quant.format_rules import ArrayFormats
from dybit.quant.formats import NumberFormat
from dybit.quant.search.cache import Cache, digest
from dybit.quant.search.sensitivity import OperandErrors
from dybit.quant.tensor import NetworkError
from dybit.quant.torch.fake_quantize import fake_quantize
from dybit.quant.torch.modules import ActivationQuantizer, ComputeStage, PreparedModel
from dybit.quant.torch.observation import Observed

__all__ = ["Operand", "Operands"]


class Operand:
    """One tensor at one width, in the best of its formats.

    Parameters
    ----------
    rate : callable
        Rates the formats; called when something depends on it and the cache does not know.
    formats : sequence of NumberFormat
    elements : float
        Elements of the tensor for each that is rated.
    key : str
        Hash of the tensor and its formats.
    cache : Cache
    """

    def __init__(
        self,
        rate: Callable[[], Ratings],
        formats: Sequence[NumberFormat],
        elements: float,
        key: str,
        cache: Cache,
    ) -> None:
        self._rate, self._formats, self._elements = rate, formats, elements
        self.key, self._cache = key, cache

    @cached_property
    def errors(self) -> OperandErrors:
        """What rounding does to all elements."""
        error, power = (float(self._rated[name]) for name in ("error", "power"))
        return OperandErrors(error * self._elements, power * self._elements)

    def round(self, x: Tensor) -> Tensor:
        """Return a tensor rounded to the format; weights have their output channels first."""
        fmt = self._formats[int(self._rated["format"])]
        scale = torch.from_numpy(np.atleast_1d(self._rated["scale"].astype(np.float32)))
        spread = scale.view(-1, *[1] * (x.ndim - 1)) if scale.numel() > 1 else scale
        return fake_quantize(x, fmt, spread)

    @cached_property
    def _rated(self) -> dict[str, NDArray[Any]]:
        """The place of the best format, its scales and error, and the sum of squares."""

        def compute() -> dict[str, NDArray[Any]]:
            ratings = self._rate()
            best = ratings.best()
            return {
                "format": np.array(self._formats.index(best.format)),
                "scale": best.scale,
                "error": np.array(best.error),
                "power": np.array(ratings.power),
            }

        return self._cache.arrays(("operand", self.key), compute)


class Operands:
    """Weights and inputs of every layer at every width that an array has.

    Parameters
    ----------
    prepared : PreparedModel
    observed : mapping of str to Observed
        What `observe` returned.
    base : QuantConfig
        Its array gives the formats, its layers the exponent limits at widths that they state.
    cache : Cache, optional
        Of formats and scales, which take longer to find than all else.
    """

    def __init__(
        self,
        prepared: PreparedModel,
        observed: Mapping[str, Observed],
        base: QuantConfig,
        cache: Cache | None = None,
    ) -> None:
        array = base.array
        self._cache = Cache(None) if cache is None else cache
        self._base, self._rule = base, ArrayFormats(array)
        self.weights: dict[tuple[str, int], Operand] = {}
        self.activations: dict[tuple[str, int], Operand] = {}
        shared: dict[tuple[str, int, int | None], Operand] = {}
        for stage in prepared.compute_stages:
            for bits in sorted({mode.weight_bits for mode in array.modes}):
                self.weights[stage.name, bits] = self._weight(stage, bits)
            for bits in array.activation_widths:
                key = (stage.source.name, bits, self._limit(stage.name, "activation", bits))
                if key not in shared:
                    shared[key] = self._activation(stage.source, bits, key[2], observed)
                self.activations[stage.name, bits] = shared[key]

    def _weight(self, stage: ComputeStage, bits: int) -> Operand:
        weights = stage.weight.detach().cpu().numpy()
        if not np.isfinite(weights).all():
            raise NetworkError(f"{stage.name}: weights must be finite; load others")
        formats = self._rule.weights(bits, self._limit(stage.name, "weight", bits))

        def rate() -> Ratings:
            return rate_formats(weights, formats, axis=0)

        key = digest("weights", weights, _names(formats))
        return Operand(rate, formats, 1.0, key, self._cache)

    def _activation(
        self,
        quantizer: ActivationQuantizer,
        bits: int,
        limit: int | None,
        observed: Mapping[str, Observed],
    ) -> Operand:
        found = observed[quantizer.name]
        if found.minimum < 0 and self._base.array.activations == "unsigned":
            raise NetworkError(
                f"{quantizer.name}: activations must not be negative where array.activations is "
                f"unsigned, not {found.minimum:.6g}; build the array for both"
            )
        formats = self._rule.activations(bits, found.minimum < 0, limit)

        def rate() -> Ratings:
            return rate_sample(found.values, formats)

        key = digest("activations", found.values, found.count, _names(formats))
        return Operand(rate, formats, found.count / found.values.size, key, self._cache)

    def _limit(self, name: str, operand: str, bits: int) -> int | None:
        settings = self._base.layer(name)
        if getattr(settings, f"{operand}_bits") != bits:
            return None
        limit: int | None = getattr(settings, f"{operand}_max_exponent_bits")
        return limit


def _names(formats: Sequence[NumberFormat]) -> list[Any]:
    return [fmt.name for fmt in formats]
