"""How a quantised model is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dybit.quant.torch.trained_scales import ScaleTraining

__all__ = ["TrainSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How a quantised model is trained.

    Parameters
    ----------
    epochs : int
    batch : int
        Examples of a step, over all ranks together.
    learning_rate : float
        Of weights and biases, by Adam; it falls to zero along a cosine after `warm_up`.
    scale_learning_rate : float
        Of the logarithms of learned scales, likewise.
    warm_up : float
        Part of the steps over which the rates rise to theirs.
    weight_decay : float
        Of weights, decoupled.
    scales : {"learned", "aligned", "fixed"}
        Learned by LSQ, following the standard deviation as ESB has them, or as calibrated.
    widths : tuple of int
        Least widths of any tensor, one for each of the equal parts before the last: (8, 6) trains
        a third of the epochs at 8 bits or more, a third at 6 or more, and then as configured.
    distillation : float
        Part of the loss that is the distance to the teacher's answers, 0 to 1.
    temperature : float
        Of that distance.
    seed : int
        Of the order of examples and of what `augment` draws.
    """

    epochs: int = 10
    batch: int = 64
    learning_rate: float = 1e-3
    scale_learning_rate: float = 1e-2
    warm_up: float = 0.05
    weight_decay: float = 0.0
    scales: ScaleTraining = "learned"
    widths: tuple[int, ...] = ()
    distillation: float = 0.0
    temperature: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        for field in ("epochs", "batch"):
            _check(getattr(self, field) >= 1, field, "at least 1", getattr(self, field))
        _check(0 <= self.distillation <= 1, "distillation", "0 to 1", self.distillation)
        _check(self.temperature > 0, "temperature", "positive", self.temperature)
        _check(0 <= self.warm_up < 1, "warm_up", "0 to less than 1", self.warm_up)
        _check(all(2 <= w <= 8 for w in self.widths), "widths", "2 to 8 each", self.widths)
        _check(
            self.scales in ("learned", "aligned", "fixed"),
            "scales",
            "learned, aligned or fixed",
            self.scales,
        )

    def least_bits(self, epoch: int) -> int:
        """Return the least width of any tensor in an epoch."""
        part = epoch * (len(self.widths) + 1) // self.epochs
        return (*self.widths, 2)[part]

    def rate(self, done: float) -> float:
        """Return the factor of the learning rates after a part of all steps, 0 to 1."""
        if done < self.warm_up:
            return done / self.warm_up
        return 0.5 + 0.5 * math.cos(math.pi * (done - self.warm_up) / (1 - self.warm_up))


def _check(allowed: bool, field: str, what: str, value: object) -> None:
    if not allowed:
        raise ValueError(f"{field} must be {what}, not {value!r}")
