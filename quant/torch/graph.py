"""From a PyTorch module to the graph of stages it computes."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from dybit.quant.torch.builder import Builder
from dybit.quant.torch.modules import Stage
from dybit.quant.torch.operations import read
from dybit.quant.torch.recognise import RECOGNISED
from dybit.quant.torch.tracing import trace

__all__ = ["build"]


def build(model: nn.Module, example: Tensor) -> list[Stage]:
    """Return the stages of `model` in evaluation mode, batch norm folded in.

    Parameters
    ----------
    model : Module
        Left as it is: the stages hold copies.
    example : Tensor
        An input, batch first.

    Raises
    ------
    NetworkError
        In one line, if the model cannot be traced or is no function of one tensor.
    """
    traced = trace(copy.deepcopy(model).eval(), example)
    operations = [read(traced, node) for node in traced.nodes if node is not traced.input]
    builder = Builder(traced, operations)
    for operation in operations:
        if operation.kind == "identity" and len(operation.inputs) == 1:
            builder.follow(operation)
        elif not builder.move(operation):
            recognise = RECOGNISED.get(operation.kind)
            reason = recognise(builder, operation) if recognise else "it has no integer form"
            if reason is not None:
                builder.keep_float(operation, reason)
    return builder.finish()
