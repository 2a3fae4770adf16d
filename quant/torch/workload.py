"""A traced model as a workload: the shapes that cycle model and search need."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn

from dybit.quant.array_config import ArrayConfig
from dybit.quant.config import QuantConfig
from dybit.quant.layer import INPUT
from dybit.quant.precision import MODES
from dybit.quant.torch.modules import (
    ComputeStage,
    ConvStage,
    LinearStage,
    PreparedModel,
    Shape,
    Stage,
)
from dybit.quant.torch.prepare import prepare
from dybit.quant.torch.stages import (
    AddStage,
    AvgPoolStage,
    ConcatStage,
    MatMulStage,
    MaxPoolStage,
    MoveStage,
    ScaledStage,
)
from dybit.quant.workloads.layer_shape import Image, LayerKind, LayerShape
from dybit.quant.workloads.workload import Workload

__all__ = ["traced_workload", "workload_of"]

BIAS = 1
"""Batch norm is folded: every output channel of a stage has a bias and nothing else."""


def traced_workload(model: nn.Module, example_input: Tensor, name: str = "model") -> Workload:
    """Return the workload of a model that no config has been made for yet.

    Parameters
    ----------
    model, example_input
        As in `prepare`.
    name : str
    """
    return workload_of(prepare(model, _any_config(), example_input), name)


def workload_of(prepared: PreparedModel, name: str | None = None) -> Workload:
    """Return the workload of a prepared model, its stages as layers.

    Parameters
    ----------
    prepared : PreparedModel
    name : str, optional
        The config's by default.
    """
    shapes: dict[str, Shape] = {INPUT: prepared.input_shape}
    images = {INPUT: len(prepared.input_shape) == 3}

    def image(tensor: str) -> Image:
        return _image(shapes[tensor], images[tensor])

    layers = []
    for stage in cast("list[Stage]", list(prepared.stages)):
        shapes[stage.name], images[stage.name] = stage.shape, stage.image
        # A constant reads nothing.
        source = stage.inputs[0] if stage.inputs else stage.name
        kind = _kind(stage)
        layers.append(
            LayerShape(
                name=stage.name,
                kind=kind,
                inputs=stage.inputs,
                input_shape=image(source),
                output_shape=image(stage.name),
                relu=isinstance(stage, ComputeStage | ScaledStage) and stage.relu,
                **_fields(stage),
            )
        )
    return Workload(prepared.config.name if name is None else name, image(INPUT), tuple(layers))


def _kind(stage: Stage) -> LayerKind:
    if isinstance(stage, ConvStage):
        return LayerKind.of_convolution(stage.weight.shape[1] * stage.groups, stage.groups)
    return next((kind for cls, kind in _KINDS.items() if isinstance(stage, cls)), LayerKind.FLOAT)


def _fields(stage: Stage) -> dict[str, Any]:
    fields = next((read for cls, read in _FIELDS.items() if isinstance(stage, cls)), None)
    return {} if fields is None else fields(stage)


_KINDS: dict[type[Stage], LayerKind] = {
    LinearStage: LayerKind.LINEAR,
    MatMulStage: LayerKind.MATMUL,
    AddStage: LayerKind.ADD,
    ConcatStage: LayerKind.CONCAT,
    MaxPoolStage: LayerKind.MAX_POOL,
    AvgPoolStage: LayerKind.AVG_POOL,
    MoveStage: LayerKind.VIEW,
}

_FIELDS: dict[type[Stage], Callable[[Any], dict[str, Any]]] = {
    ConvStage: lambda stage: {
        "kernel": (stage.weight.shape[2], stage.weight.shape[3]),
        "stride": stage.stride,
        "padding": (*stage.padding, *stage.padding),
        "groups": stage.groups,
        "channel_parameters": BIAS,
    },
    LinearStage: lambda stage: {"channel_parameters": BIAS},
    MaxPoolStage: lambda stage: {
        "kernel": stage.kernel,
        "stride": stage.stride,
        "padding": (*stage.padding, *stage.padding),
    },
    AvgPoolStage: lambda stage: {"kernel": stage.kernel, "stride": stage.stride},
}


def _image(shape: Shape, channels_first: bool) -> Image:
    if len(shape) == 3 and channels_first:
        return shape[1], shape[2], shape[0]
    return math.prod(shape[:-1]), 1, shape[-1] if shape else 1


def _any_config() -> QuantConfig:
    array = ArrayConfig(
        rows=1, columns=1, max_reduction=1 << 20, accumulator_depth=1, modes=MODES[:1]
    )
    return QuantConfig.from_dict(
        {
            "name": "workload",
            "array": array.model_dump(),
            "default": {"weight_bits": 8, "activation_bits": 8},
        }
    )
