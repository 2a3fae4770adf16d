"""The last step of quantisation: integers, and how well they agree with the model they are of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dybit.quant import layers
from dybit.quant.layers import Layer
from dybit.quant.network import QuantNetwork
from dybit.quant.tensor import NetworkError, QuantTensor, fixed_point
from dybit.quant.torch.modules import (
    AvgPoolStage,
    ComputeStage,
    ConvStage,
    FlattenStage,
    MaxPoolStage,
    PreparedModel,
    Stage,
)

__all__ = ["Agreement", "agreement", "convert"]


def convert(prepared: PreparedModel, name: str | None = None) -> QuantNetwork:
    """Return the integer network that a calibrated model simulates.

    Linear weights after a flattening are permuted from the order (C, H, W) to (H, W, C).

    Parameters
    ----------
    prepared : PreparedModel
    name : str, optional
        Of the network; the config's by default.

    Raises
    ------
    NetworkError
        If the model is not calibrated, or a scale does not fit multiplier and shift.
    ConfigError
        If a layer could overflow its accumulator.
    """
    tensor = prepared.image.tensor
    if tensor is None:
        raise NetworkError("model must be calibrated before it is converted")
    image, flattened, before = tensor, None, layers.INPUT
    converted: list[Layer] = []
    for stage in cast("list[Stage]", list(prepared.stages)):
        output = tensor if stage.quantizer is None else stage.quantizer.tensor
        if isinstance(stage, FlattenStage):
            size = math.prod(stage.shape)
            box: dict[str, Any] = {"shape": (size,), "start": 0, "sizes": (size,), "strides": (1,)}
            converted.append(layers.View(name=stage.name, inputs=(before,), input=tensor, **box))
            flattened = stage.shape
        elif isinstance(stage, ComputeStage):
            converted.append(_compute(stage, before, tensor, flattened))
            flattened = None
        else:
            converted.append(_pool(stage, before, tensor, output))
        before, tensor = stage.name, cast(QuantTensor, output)
    shape = prepared.input_shape
    return QuantNetwork(
        prepared.config.name if name is None else name,
        prepared.config,
        image,
        (*shape[1:], shape[0]),
        tuple(converted),
    )


def _pool(stage: Stage, before: str, tensor: QuantTensor, output: QuantTensor | None) -> Layer:
    if isinstance(stage, MaxPoolStage):
        return layers.MaxPool2d(
            name=stage.name,
            inputs=(before,),
            kernel=stage.kernel,
            stride=stage.stride,
            padding=stage.padding,
            input=tensor,
        )
    assert isinstance(stage, AvgPoolStage)
    assert output is not None
    return layers.AvgPool2d(
        name=stage.name,
        inputs=(before,),
        kernel=stage.kernel,
        stride=stage.stride,
        input=tensor,
        output=output,
    )


def _compute(
    stage: ComputeStage, before: str, tensor: QuantTensor, flattened: tuple[int, ...] | None
) -> layers.Conv2d | layers.Linear:
    fmt, scale = stage.weight_format, stage.weight_scale
    assert fmt is not None
    assert scale is not None
    # As `fake_quantize` divides, so that the codes are those of the float model.
    weight = stage.weight.detach()
    codes = fmt.encode((weight / stage.per_output(scale).to(weight)).cpu().numpy())
    unit = stage.accumulator_scale().cpu().numpy()
    output = None if stage.quantizer is None else stage.quantizer.tensor
    multiplier, shift = np.zeros(len(codes), np.uint16), np.zeros(len(codes), np.uint8)
    if output is not None:
        multiplier, shift = fixed_point(unit / output.unit, stage.name)
    max_code = None
    if output is not None and stage.ceiling is not None:
        ceiling = torch.tensor(stage.ceiling, dtype=weight.dtype) / output.scale
        max_code = int(output.format.encode(ceiling.numpy()))
    fields: dict[str, Any] = {
        "name": stage.name,
        "inputs": (before,),
        "weight_format": fmt,
        "weight_scale": scale.cpu().numpy(),
        "bias": _integers(stage.integer_bias(), stage.name),
        "multiplier": multiplier,
        "shift": shift,
        "input": tensor,
        "output": output,
        "relu": stage.relu,
        "max_code": max_code,
    }
    if isinstance(stage, ConvStage):
        weights = np.ascontiguousarray(codes.transpose(2, 3, 1, 0))
        return layers.Conv2d(weights=weights, stride=stage.stride, padding=stage.padding, **fields)
    if flattened is not None:
        codes = codes.reshape(-1, *flattened).transpose(0, 2, 3, 1).reshape(len(codes), -1)
    return layers.Linear(weights=np.ascontiguousarray(codes.T), **fields)


def _integers(bias: Tensor, name: str) -> NDArray[np.int64]:
    largest = float(bias.detach().abs().max())
    if not largest < 2**47:
        raise NetworkError(f"{name}: bias must be below 2^47 accumulator units, not {largest:.6g}")
    return bias.detach().cpu().numpy().astype(np.int64)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a fake-quantised model and an integer run of its network agree.

    Parameters
    ----------
    codes : float
        Fraction of equal codes, over all layers.
    layers : dict of str to float
        The same by layer, the images' own codes as "input".
    predictions : float
        Fraction of inputs with the same largest logit.
    """

    codes: float
    layers: dict[str, float]
    predictions: float


class _Layer(Protocol):
    @property
    def codes(self) -> NDArray[np.uint8] | None: ...


class _Trace(Protocol):
    """What `dybit.sim.executor.run` returns; this package may not import it."""

    @property
    def input(self) -> NDArray[np.uint8]: ...
    @property
    def layers(self) -> Mapping[str, _Layer]: ...
    @property
    def predictions(self) -> NDArray[np.intp]: ...


def agreement(prepared: PreparedModel, inputs: Tensor, trace: _Trace) -> Agreement:
    """Compare a calibrated model with a run of its network on the same inputs.

    Parameters
    ----------
    prepared : PreparedModel
    inputs : Tensor
        (N, C, H, W), or (N, inputs).
    trace : Trace
        From running the converted network on `inputs`, as NHWC.
    """
    equal: dict[str, tuple[int, int]] = {}
    tensor = prepared.image.tensor
    output = inputs
    with torch.no_grad():
        for stage, output in prepared.steps(inputs):
            if stage is not None and stage.quantizer is not None:
                tensor = stage.quantizer.tensor
            if tensor is None:
                raise NetworkError("model must be calibrated before it is compared")
            name = "input" if stage is None else stage.name
            theirs = trace.input if stage is None else trace.layers[name].codes
            if theirs is None or isinstance(stage, FlattenStage):
                continue
            mine = output.movedim(1, -1).cpu().numpy()
            codes = tensor.format.encode(mine / mine.dtype.type(tensor.scale))
            equal[name] = (int(np.count_nonzero(codes == theirs)), codes.size)
    best = output.argmax(1).cpu().numpy()
    return Agreement(
        sum(same for same, _ in equal.values()) / sum(size for _, size in equal.values()),
        {name: same / size for name, (same, size) in equal.items()},
        float(np.mean(best == trace.predictions)),
    )
