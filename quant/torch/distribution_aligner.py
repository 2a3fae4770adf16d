"""The distribution-difference aligner of ESB: scales from running standard deviations.

arXiv 2109.03513: a tensor is brought to zero mean and unit variance, for which each format has
one best scale alpha. The mean is removed in training only; a trained weight has none left.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dybit.quant.formats import NumberFormat
from dybit.quant.torch.distributed import sum_over_ranks
from dybit.quant.torch.fake_quantize import fake_quantize

__all__ = ["DistributionAligner", "moments"]


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation over all elements, of all ranks together."""
    values = x.detach().double()
    count = values.new_tensor(values.numel())
    sums = sum_over_ranks(torch.stack([count, values.sum(), values.square().sum()]))
    mean = sums[1] / sums[0]
    return mean, (sums[2] / sums[0] - mean.square()).clamp(min=0).sqrt()


class DistributionAligner(nn.Module):
    """A rounding at alpha times the standard deviation, with straight-through gradients.

    Parameters
    ----------
    alpha : float
        The format's best scale on N(0, 1).
    deviation : Tensor
        What the running estimate begins with, a scalar.
    centred : bool
        Whether the mean is removed in training.
    momentum : float
        Part of each new batch in the running estimate; 1 follows a weight exactly.
    """

    deviation: Tensor

    def __init__(self, alpha: float, deviation: Tensor, centred: bool, momentum: float) -> None:
        super().__init__()
        self.alpha, self.centred, self.momentum = alpha, centred, momentum
        self.register_buffer("deviation", deviation.detach().double())

    @property
    def scale(self) -> Tensor:
        """The scale; 1 would do for a constant, of which nothing is left."""
        scale = (self.alpha * self.deviation).float()
        return torch.where(scale > 0, scale, torch.ones_like(scale))

    def forward(self, x: Tensor, fmt: NumberFormat, _: float | Tensor) -> Tensor:
        if self.training:
            mean, deviation = moments(x)
            self.deviation.lerp_(deviation, self.momentum)
            if self.centred:
                x = x - mean.to(x.dtype)
        return fake_quantize(x, fmt, self.scale.to(x.dtype))
