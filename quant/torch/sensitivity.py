"""How much each layer of a torch model errs in each mode, by any of the measures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dybit.quant.precision import PrecisionMode
from dybit.quant.search.cache import Cache, digest
from dybit.quant.search.sensitivity import Measure, Sensitivity, mac_shares, rmse
from dybit.quant.torch.modules import ComputeStage, PreparedModel
from dybit.quant.torch.observation import fingerprint
from dybit.quant.torch.operands import Operand, Operands
from dybit.quant.torch.workload import workload_of

__all__ = ["fisher", "operand_rmse", "output_error"]

_Progress = Callable[[], None]


def operand_rmse(
    prepared: PreparedModel,
    operands: Operands,
    modes: tuple[PrecisionMode, ...],
    *,
    pooled: bool = False,
    progress: _Progress | None = None,
) -> Sensitivity:
    """Return the error of weights and inputs, as `dybit.quant.search.rmse` defines it.

    Parameters
    ----------
    prepared : PreparedModel
    operands : Operands
        Of this model.
    modes : tuple of PrecisionMode
    pooled : bool
        As in `rmse`.
    progress : callable, optional
        Called after each layer.
    """
    weights, activations = {}, {}
    for stage in prepared.compute_stages:
        for mode in modes:
            w, a = (stage.name, mode.weight_bits), (stage.name, mode.activation_bits)
            weights[w] = operands.weights[w].errors
            activations[a] = operands.activations[a].errors
        if progress is not None:
            progress()
    return rmse(workload_of(prepared), modes, weights, activations, pooled)


def output_error(
    prepared: PreparedModel,
    operands: Operands,
    modes: tuple[PrecisionMode, ...],
    inputs: Tensor,
    *,
    cache: Cache | None = None,
    progress: _Progress | None = None,
) -> Sensitivity:
    r"""Return how far each layer's sums get from the float model's, it alone being rounded.

    A layer's error is :math:`\sqrt{\sum (\hat y - y)^2 / \sum y^2}` over its outputs y before the
    activation function; the network's the mean weighted by multiply-accumulates.

    Parameters
    ----------
    prepared, operands, modes, progress
        As in `operand_rmse`.
    inputs : Tensor
        Run as one batch.
    cache : Cache, optional
    """
    kept = Cache(None) if cache is None else cache
    errors: dict[str, dict[PrecisionMode, float]] = {}

    def measure(stage: Any, arguments: tuple[Tensor]) -> None:
        (x,) = arguments
        w = {bits: operands.weights[stage.name, bits] for bits in {m.weight_bits for m in modes}}
        a = {
            bits: operands.activations[stage.name, bits]
            for bits in {m.activation_bits for m in modes}
        }
        key = ("output", digest(x.numpy(), stage.weight.detach().numpy()))
        errors[stage.name] = {
            mode: kept.get(
                (*key, w[mode.weight_bits].key, a[mode.activation_bits].key),
                partial(_relative, stage, x, w[mode.weight_bits], a[mode.activation_bits]),
            )
            for mode in modes
        }
        if progress is not None:
            progress()

    prepared.forget()
    handles = [stage.register_forward_pre_hook(measure) for stage in prepared.compute_stages]
    try:
        with torch.no_grad():
            prepared(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return Sensitivity(Measure.OUTPUT, errors, mac_shares(workload_of(prepared)))


def _relative(stage: ComputeStage, x: Tensor, weight: Operand, activation: Operand) -> float:
    exact = stage._sums(x, stage.weight, stage.bias).double()
    rounded = stage._sums(activation.round(x), weight.round(stage.weight), stage.bias).double()
    power = float(exact.square().sum())
    error = float((rounded - exact).square().sum())
    return (error / power) ** 0.5 if power else 0.0


def fisher(
    prepared: PreparedModel,
    operands: Operands,
    modes: tuple[PrecisionMode, ...],
    inputs: Tensor,
    labels: Tensor | None = None,
    *,
    cache: Cache | None = None,
    progress: _Progress | None = None,
) -> Sensitivity:
    r"""Return the loss that rounding adds, to second order, by the empirical Fisher information.

    The Hessian's diagonal is taken for the mean over inputs of squared gradients of the
    cross-entropy, :math:`F = E[g^2]`; a layer's error is :math:`\frac12 \sum F \delta^2` over its
    weights and over its input, δ being what rounding changes. Gradients are those of one input at
    a time; of a layer's input as that layer reads it, whoever else does. The network's error is
    the sum.

    Parameters
    ----------
    prepared, operands, modes
        As in `operand_rmse`.
    inputs : Tensor
        Each one a pass forward and back.
    labels : Tensor, optional
        Classes; the float model's own answers by default.
    cache : Cache, optional
    progress : callable, optional
        Called after each input.
    """
    kept = Cache(None) if cache is None else cache
    prepared.forget()
    tables = {"weights": operands.weights, "activations": operands.activations}
    keys = [operand.key for table in tables.values() for operand in table.values()]
    model = digest(fingerprint(prepared, inputs), keys)
    losses: Counter[tuple[str, str, int]] = Counter()
    for index, x in enumerate(inputs):
        label = None if labels is None else int(labels[index])
        key = ("fisher", model, digest(x.numpy()), label)
        found = kept.get(key, partial(_losses, prepared, tables, x[None], label))
        for operand, name, bits, loss in found:
            losses[operand, name, bits] += loss / len(inputs)
        if progress is not None:
            progress()
    errors = {
        stage.name: {
            mode: losses["weights", stage.name, mode.weight_bits]
            + losses["activations", stage.name, mode.activation_bits]
            for mode in modes
        }
        for stage in prepared.compute_stages
    }
    return Sensitivity(Measure.FISHER, errors, dict.fromkeys(errors, 1.0))


def _losses(
    prepared: PreparedModel,
    tables: Mapping[str, Mapping[tuple[str, int], Operand]],
    x: Tensor,
    label: int | None,
) -> list[tuple[str, str, int, float]]:
    """Return what rounding each operand, at each width, adds to the loss of one input."""
    edges: dict[str, Tensor] = {}

    def note(stage: Any, arguments: tuple[Tensor]) -> tuple[Tensor]:
        # A tensor of its own, so that its gradient is this layer's alone.
        edge = arguments[0].clone()
        edges[stage.name] = edge if edge.requires_grad else edge.requires_grad_()
        return (edges[stage.name],)

    handles = [stage.register_forward_pre_hook(note) for stage in prepared.compute_stages]
    try:
        with torch.enable_grad():
            answer = prepared(x).flatten(1)
    finally:
        for handle in handles:
            handle.remove()
    wanted = answer.argmax(1) if label is None else torch.tensor([label])
    stages = prepared.compute_stages
    read: list[tuple[tuple[str, str], Tensor]]
    read = [(("weights", s.name), s.weight) for s in stages]
    read += [(("activations", s.name), edges[s.name]) for s in stages]
    gradients = torch.autograd.grad(
        functional.cross_entropy(answer, wanted), [tensor for _, tensor in read], allow_unused=True
    )
    found = []
    for ((operand, name), tensor), gradient in zip(read, gradients, strict=True):
        for (layer, bits), rounded in tables[operand].items():
            if layer == name:
                exact = tensor.detach()
                loss = 0.0
                if gradient is not None:
                    change = (rounded.round(exact) - exact).mul_(gradient).square_()
                    loss = float(change.sum(dtype=torch.float64)) / 2
                found.append((operand, name, bits, loss))
    return found
