"""Learning from the float model beside the labels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

__all__ = ["distillation_loss"]


def distillation_loss(
    logits: Tensor, labels: Tensor, teacher: Tensor, weight: float, temperature: float
) -> Tensor:
    """Return the loss of each input, shape (N,).

    ``(1 - weight) CE(logits, labels) + weight T^2 KL(softmax(teacher / T) || softmax(logits / T))``
    with temperature T (Hinton et al., arXiv 1503.02531): the square keeps the size of the
    gradients as T changes.

    Parameters
    ----------
    logits, teacher : Tensor, shape (N, classes)
    labels : Tensor of int64, shape (N,)
    weight : float
        0 to 1.
    temperature : float
    """
    true = functional.cross_entropy(logits, labels, reduction="none")
    student = functional.log_softmax(logits / temperature, dim=1)
    wanted = functional.log_softmax(teacher / temperature, dim=1)
    distance = functional.kl_div(student, wanted, reduction="none", log_target=True).sum(1)
    return (1 - weight) * true + weight * temperature**2 * distance
