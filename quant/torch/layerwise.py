"""A walk through a calibrated model that may change each layer before it runs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dybit.quant.tensor import NetworkError
from dybit.quant.torch.modules import ComputeStage, PreparedModel

__all__ = ["check_calibrated", "layerwise"]


def layerwise(
    prepared: PreparedModel,
    inputs: Tensor,
    change: Callable[[ComputeStage, Tensor, Tensor], None],
) -> None:
    """Call `change` on each convolution and linear layer, in the order they run.

    Parameters
    ----------
    prepared : PreparedModel
        Calibrated; its weights must still be the float model's.
    inputs : Tensor
        Run as one batch.
    change : callable
        Gets the stage; its input, rounded by the layers before it as they are by then; and its
        sums in the float model, before the activation function. What it changes counts for the
        layers that follow.
    """
    check_calibrated(prepared)
    reference = copy.deepcopy(prepared)
    reference.forget()
    real: dict[str, Tensor] = {}

    def note(stage: Any, arguments: tuple[Tensor]) -> None:
        real[stage.name] = stage.sums(arguments[0], rounded=False)

    def visit(stage: Any, arguments: tuple[Tensor]) -> None:
        change(stage, arguments[0], real.pop(stage.name))

    handles = [
        stage.register_forward_pre_hook(hook)
        for model, hook in ((reference, note), (prepared, visit))
        for stage in model.compute_stages
    ]
    try:
        with torch.no_grad():
            # One step of each in turn, so that no more than one layer's sums are kept.
            for _ in zip(reference.steps(inputs), prepared.steps(inputs), strict=True):
                pass
    finally:
        for handle in handles:
            handle.remove()


def check_calibrated(prepared: PreparedModel) -> None:
    """Raise `NetworkError` naming the first tensor that has no format yet."""
    names = [q.name for q in prepared.quantizers if q.tensor is None]
    names += [stage.name for stage in prepared.compute_stages if stage.weight_format is None]
    if names:
        raise NetworkError(f"{names[0]}: must be calibrated first; call calibrate on the model")
