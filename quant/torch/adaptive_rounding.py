"""Adaptive rounding: up or down, learned for each weight from the layer's output.

AdaRound (Nagel et al., arXiv 2004.10568) for any grid: the choice is between the two values of
the format that a weight lies between, however far apart they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dybit.quant.formats import NumberFormat
from dybit.quant.torch.bias_correction import correct_bias
from dybit.quant.torch.layerwise import layerwise
from dybit.quant.torch.modules import ComputeStage, PreparedModel

__all__ = ["AdaptiveRounding", "learn_rounding", "neighbours", "round_adaptively"]

STRETCH = (-0.1, 1.1)
"""Range of the sigmoid before it is clipped to 0 and 1, so that both are reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveRounding:
    """How the choice is learned.

    Parameters
    ----------
    steps : int
        Of Adam, for each layer.
    batch : int
        Inputs in each step.
    learning_rate : float
    regularisation : float
        Weight of the term that drives each choice to one of its ends.
    warm_up : float
        Part of the steps without that term.
    exponents : (float, float)
        Of that term, from flat to sharp over the other steps.
    seed : int
        Of the order of the inputs.
    """

    steps: int = 500
    batch: int = 32
    learning_rate: float = 0.03
    regularisation: float = 0.1
    warm_up: float = 0.2
    exponents: tuple[float, float] = (20.0, 2.0)
    seed: int = 0


def neighbours(y: Tensor, fmt: NumberFormat) -> tuple[Tensor, Tensor]:
    """Return the largest value of the format that is not above each element, and the next one.

    Beyond the format's range both are the value at its end.
    """
    values = torch.tensor(fmt.values, dtype=y.dtype, device=y.device)
    above = torch.searchsorted(values, y.contiguous(), right=True)
    lower = values[(above - 1).clamp(min=0)]
    return lower, values[above.clamp(max=len(values) - 1)]


def learn_rounding(
    weight: Tensor,
    fmt: NumberFormat,
    scale: Tensor,
    error: Callable[[Tensor, Tensor], Tensor],
    samples: int,
    settings: AdaptiveRounding,
) -> Tensor:
    """Return `weight` rounded up or down, whichever makes an error small.

    Parameters
    ----------
    weight : Tensor
    fmt : NumberFormat
    scale : Tensor
        Broadcasts against `weight`.
    error : callable
        Gets a weight and the indices of a batch; returns the mean squared error of the layer's
        output.
    samples : int
        How many indices there are.
    settings : AdaptiveRounding

    Returns
    -------
    Tensor
        Values of the format times the scale, in the dtype of `weight`.
    """
    factor = scale.to(weight)
    y = weight.detach() / factor
    lower, upper = neighbours(y, fmt)
    gap = upper - lower
    place = torch.where(gap > 0, (y - lower) / gap, torch.zeros_like(y))
    low, high = STRETCH
    choice = torch.logit((place - low) / (high - low)).requires_grad_()
    optimizer = torch.optim.Adam([choice], settings.learning_rate)
    generator = torch.Generator().manual_seed(settings.seed)
    start = int(settings.warm_up * settings.steps)
    flat, sharp = settings.exponents

    def ascent() -> Tensor:
        return (choice.sigmoid() * (high - low) + low).clamp(0, 1)

    for step in range(settings.steps):
        batch = torch.randperm(samples, generator=generator)[: settings.batch]
        up = ascent()
        loss = error((lower + up * gap) * factor, batch)
        if step >= start:
            done = (step - start) / (settings.steps - start)
            exponent = sharp + (flat - sharp) * (1 - done)
            undecided = (1 - (2 * up - 1).abs().pow(exponent))[gap > 0]
            loss = loss + settings.regularisation * undecided.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return torch.where(ascent() >= 0.5, upper, lower) * factor


def round_adaptively(
    prepared: PreparedModel,
    inputs: Tensor,
    settings: AdaptiveRounding | None = None,
    progress: Callable[[], None] | None = None,
) -> None:
    """Learn for each weight whether it is rounded up or down, layer by layer.

    A layer's output after its activation function is brought near to the float model's, given
    the rounding of the layers before it. Weights become values of their formats, and biases make
    up for the mean error that is left.

    Parameters
    ----------
    prepared : PreparedModel
        Calibrated, its weights still the float model's; changed in place. Only `prepare` gives
        the float weights again.
    inputs : Tensor
    settings : AdaptiveRounding, optional
    progress : callable, optional
        Called after each layer.
    """
    chosen = AdaptiveRounding() if settings is None else settings

    def change(stage: ComputeStage, found: Tensor, real: Tensor) -> None:
        fmt, scale = stage.weight_format, stage.weight_scale
        assert fmt is not None
        assert scale is not None
        wanted = stage.activate(real)
        # Errors count in parts of the output's power, so that one regularisation fits all layers.
        power = wanted.square().mean().clamp(min=torch.finfo(wanted.dtype).tiny)
        bias = stage.bias.detach()

        def error(weight: Tensor, batch: Tensor) -> Tensor:
            given = stage.activate(stage._sums(found[batch], weight, bias))
            return (given - wanted[batch]).square().mean() / power

        with torch.enable_grad():
            rounded = learn_rounding(
                stage.weight, fmt, stage.per_output(scale), error, len(found), chosen
            )
        stage.weight.copy_(rounded)
        correct_bias(stage, found, real)
        if progress is not None:
            progress()

    layerwise(prepared, inputs, change)
