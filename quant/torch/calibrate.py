"""The second step of quantisation: formats and scales, from data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from dybit.quant.array_config import ArrayConfig
from dybit.quant.config import LayerConfig
from dybit.quant.format_rules import ArrayFormats, FormatRule
from dybit.quant.formats import NumberFormat
from dybit.quant.scale import TOLERANCE, optimal_scale, squared_error
from dybit.quant.scale_search import NEGLIGIBLE
from dybit.quant.tensor import NetworkError, QuantTensor, fixed_point
from dybit.quant.torch.bias_correction import correct_biases
from dybit.quant.torch.modules import ActivationQuantizer, ComputeStage, PreparedModel

__all__ = ["calibrate", "snap"]

SAMPLE = 1 << 16
"""Elements of each activation tensor that formats and scales are fitted to."""

CORRECTED = 512
"""Inputs, the first ones, on which biases are corrected."""


def calibrate(
    prepared: PreparedModel,
    batches: Iterable[Tensor | tuple[Tensor, ...] | list[Tensor]],
    progress: Callable[[], None] | None = None,
    *,
    formats: FormatRule | None = None,
    least_bits: int = 2,
) -> PreparedModel:
    """Choose every format and scale of `prepared` and let it round from now on.

    Activations are unsigned where no element of the data is negative and the array is built for
    it. Scales minimise the squared error: of a uniform sample of each activation tensor, and of
    each output channel's weights. So do formats, where there are several to choose from, as
    exponent limits at 8 bits where the config leaves them open. Then biases take up the mean
    error of what rounding does before them. The outcome depends on the arguments alone.

    Parameters
    ----------
    prepared : PreparedModel
        Changed in place; what it was calibrated to before is forgotten.
    batches : iterable of Tensor, or of tuples that begin with one
        Inputs, such as a DataLoader gives.
    progress : callable, optional
        Called after each batch.
    formats : FormatRule, optional
        The formats to choose from; by default those that the config's array decodes. Models with
        others do not convert.
    least_bits : int
        Tensors that the config makes narrower are given this width, 2 to 8: training may lower
        widths step by step.

    Returns
    -------
    PreparedModel
        `prepared`.

    Raises
    ------
    NetworkError
        If there is no batch, an activation is not finite, or is negative where the array is built
        for unsigned ones only.
    """
    prepared.forget()
    samplers = {q.name: _Sampler(q.name, seed) for seed, q in enumerate(prepared.quantizers)}
    kept: list[Tensor] = []
    with torch.no_grad():
        for batch in batches:
            x = batch[0] if isinstance(batch, tuple | list) else batch
            for stage, y in prepared.steps(x):
                made = prepared.image if stage is None else stage.quantizer
                if made is not None and made.name in samplers:
                    samplers[made.name].add(y)
            missing = CORRECTED - sum(map(len, kept))
            if missing > 0:
                kept.append(x[:missing])
            if progress is not None:
                progress()
    if not sum(map(len, kept)):
        raise NetworkError("batches must hold at least one input")
    array = prepared.config.array
    rule: FormatRule = ArrayFormats(array) if formats is None else formats
    for quantizer in prepared.quantizers:
        _fit_activations(quantizer, samplers[quantizer.name], array, rule, least_bits)
    for compute in prepared.compute_stages:
        _fit_weights(compute, rule, least_bits)
        snap(compute)
    correct_biases(prepared, torch.cat(kept))
    return prepared


class _Sampler:
    """A uniform sample of all elements seen: those with the smallest of random keys."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.minimum = np.inf
        self.values: NDArray[np.float32] = np.empty(0, np.float32)
        self._keys: NDArray[np.float64] = np.empty(0)
        self._random = np.random.default_rng(seed)

    def add(self, x: Tensor) -> None:
        values = x.detach().float().cpu().numpy().reshape(-1)
        if not np.isfinite(values).all():
            raise NetworkError(
                f"{self.name}: activations must be finite on the calibration data; leave out the "
                "inputs that hold or give NaN or infinities"
            )
        self.minimum = min(self.minimum, float(values.min(initial=np.inf)))
        self.values = np.concatenate([self.values, values])
        self._keys = np.concatenate([self._keys, self._random.random(values.size)])
        if self.values.size > SAMPLE:
            kept = np.argpartition(self._keys, SAMPLE)[:SAMPLE]
            self.values, self._keys = self.values[kept], self._keys[kept]


def _fit_activations(
    quantizer: ActivationQuantizer,
    sampler: _Sampler,
    array: ArrayConfig,
    rule: FormatRule,
    least_bits: int,
) -> None:
    settings = _settings(quantizer)
    signed = sampler.minimum < 0
    if signed and array.activations == "unsigned":
        raise NetworkError(
            f"{quantizer.name}: activations must not be negative where array.activations is "
            f"unsigned, not {sampler.minimum:.6g}"
        )
    signed = signed or array.activations == "signed"
    bits, limit = _width(
        settings.activation_bits, settings.activation_max_exponent_bits, least_bits
    )
    candidates = rule.activations(bits, signed, limit)
    scales = [optimal_scale(sampler.values, fmt) for fmt in candidates]
    best = _best(candidates, scales, sampler.values)
    quantizer.tensor = QuantTensor(candidates[best], _float32(scales[best]))


def _fit_weights(stage: ComputeStage, rule: FormatRule, least_bits: int) -> None:
    weights = stage.weight.detach().cpu().numpy()
    if not np.isfinite(weights).all():
        raise NetworkError(f"{stage.name}: weights must be finite")
    if not bool(stage.bias.isfinite().all()):
        raise NetworkError(f"{stage.name}: bias must be finite")
    settings = stage.settings
    bits, limit = _width(settings.weight_bits, settings.weight_max_exponent_bits, least_bits)
    candidates = rule.weights(bits, limit)
    scales = [optimal_scale(weights, fmt, axis=0) for fmt in candidates]
    # One format for the whole tensor, by the error of all its channels.
    shape = (-1, *[1] * (weights.ndim - 1))
    best = _best(candidates, [scale.reshape(shape) for scale in scales], weights)
    stage.weight_format = candidates[best]
    stage.weight_scale = torch.tensor(
        [_float32(s) for s in scales[best]], dtype=torch.float64, device=stage.weight.device
    )


def _width(bits: int, limit: int | None, least: int) -> tuple[int, int | None]:
    """Return width and exponent limit; a limit belongs to the config's own width."""
    return (bits, limit) if bits >= least else (least, None)


def _best(
    candidates: Sequence[NumberFormat], scales: Sequence[ArrayLike], x: NDArray[np.float32]
) -> int:
    """Return which format has the least error; of several within the tolerance, the first."""
    if len(candidates) == 1:
        return 0
    errors = [squared_error(x, fmt, s) for fmt, s in zip(candidates, scales, strict=True)]
    negligible = NEGLIGIBLE * float(np.square(x, dtype=np.float64).sum())
    tie = min(errors) * (1 + TOLERANCE) + negligible
    return next(index for index, error in enumerate(errors) if error <= tie)


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


def _settings(quantizer: ActivationQuantizer) -> LayerConfig:
    settings: Any = quantizer.settings
    assert isinstance(settings, LayerConfig)  # `prepare` has seen to it
    return settings


def _float32(scale: float) -> float:
    """Round a scale to float32, so that float32 networks and the integer model share it."""
    return float(np.float32(scale))
