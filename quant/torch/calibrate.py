"""The second step of quantisation: formats and scales, from data."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from dybit.quant.format_rules import ArrayFormats, FormatRule
from dybit.quant.scale_methods import ScaleMethod
from dybit.quant.tensor import NetworkError
from dybit.quant.torch.bias_correction import correct_biases
from dybit.quant.torch.fit import Fit, snap
from dybit.quant.torch.modules import PreparedModel
from dybit.quant.torch.sampler import Sampler

__all__ = ["calibrate"]

CORRECTED = 512
"""Inputs, the first ones, on which biases are corrected."""

CORRECTED_ELEMENTS = 1 << 24
"""Elements that these inputs have at most, as they run as one batch."""


def calibrate(
    prepared: PreparedModel,
    batches: Iterable[Tensor | tuple[Tensor, ...] | list[Tensor]],
    progress: Callable[[], None] | None = None,
    *,
    formats: FormatRule | None = None,
    least_bits: int = 2,
    scales: ScaleMethod | str = ScaleMethod.MSE,
    power_of_two: bool = False,
) -> PreparedModel:
    """Choose every format and scale of `prepared` and let it round from now on.

    Activations are unsigned where no element of the data is negative and the array is built for
    it. Scales minimise the squared error, unless another way is asked for: of a uniform sample of
    each activation tensor, with room for what the sample lacks, and of each output channel's
    weights. So do formats, where there are several to choose from, as exponent limits at 8 bits
    where the config leaves them open. Then biases take up the mean error of what rounding does
    before them. The outcome depends on the arguments alone.

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
    scales : ScaleMethod or str
        How scales are chosen for each format.
    power_of_two : bool
        Powers of two only.

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
    samplers = {q.name: Sampler(q.name, seed) for seed, q in enumerate(prepared.quantizers)}
    kept: list[Tensor] = []
    with torch.no_grad():
        for batch in batches:
            x = batch[0] if isinstance(batch, tuple | list) else batch
            for stage, y in prepared.steps(x):
                made = prepared.image if stage is None else stage.quantizer
                if made is not None and made.name in samplers:
                    samplers[made.name].add(y)
            most = max(1, min(CORRECTED, CORRECTED_ELEMENTS // max(1, x.shape[1:].numel())))
            missing = most - sum(map(len, kept))
            if missing > 0:
                kept.append(x[:missing])
            if progress is not None:
                progress()
    if not sum(map(len, kept)):
        raise NetworkError("batches must hold at least one input")
    array = prepared.config.array
    rule: FormatRule = ArrayFormats(array) if formats is None else formats
    fit = Fit(array, rule, least_bits, ScaleMethod(scales), power_of_two)
    for quantizer in prepared.quantizers:
        fit.activations(quantizer, samplers[quantizer.name])
    for compute in prepared.compute_stages:
        fit.weights(compute)
        snap(compute)
    correct_biases(prepared, torch.cat(kept))
    return prepared
