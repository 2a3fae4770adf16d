"""How well a fake-quantised model and a run of its integer network agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dybit.quant.layer import INPUT
from dybit.quant.tensor import NetworkError, QuantTensor
from dybit.quant.torch.modules import PreparedModel, Stage
from dybit.quant.torch.stages import MoveStage, PassingStage

__all__ = ["Agreement", "StageAgreement", "agreement", "stage_agreement"]


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


@dataclass(frozen=True, slots=True)
class StageAgreement:
    """How far one layer agrees when both are given the same input.

    Parameters
    ----------
    differing : float
        Fraction of codes that differ.
    farthest : int
        Most values that lie between two codes that should be one, the upper one included.
    """

    differing: float
    farthest: int


class _Layer(Protocol):
    @property
    def codes(self) -> NDArray[np.uint8] | None: ...


class _Trace(Protocol):
    """What `dybit.sim.executor.run` returns; this package may not import it."""

    @property
    def input(self) -> NDArray[np.uint8] | None: ...
    @property
    def layers(self) -> Mapping[str, _Layer]: ...
    @property
    def predictions(self) -> NDArray[np.intp]: ...


def agreement(prepared: PreparedModel, inputs: Tensor, trace: _Trace) -> Agreement:
    """Compare a calibrated model with a run of its network on the same inputs.

    Differences of a layer are those of its own rounding and of what came before it; for the
    former alone see `stage_agreement`.

    Parameters
    ----------
    prepared : PreparedModel
    inputs : Tensor
        Batch first, (N, C, H, W) for instance.
    trace : Trace
        From running the converted network on `inputs`, images as NHWC.
    """
    equal: dict[str, tuple[int, int]] = {}
    output = inputs
    with torch.no_grad():
        for stage, output in prepared.steps(inputs):
            tensor = _tensor(prepared, stage)
            if tensor is None or isinstance(stage, MoveStage):
                continue
            theirs = _codes(prepared, trace, stage)
            same = _encode(tensor, output, theirs.shape) == theirs
            equal[INPUT if stage is None else stage.name] = (int(same.sum()), same.size)
    last = cast(Stage, prepared.stages[-1])
    best = output.argmax(1 if last.image else -1).cpu().numpy()
    return Agreement(
        sum(same for same, _ in equal.values()) / sum(size for _, size in equal.values()),
        {name: same / size for name, (same, size) in equal.items()},
        float(np.mean(best == trace.predictions)),
    )


def stage_agreement(
    prepared: PreparedModel, inputs: Tensor, trace: _Trace
) -> dict[str, StageAgreement]:
    """Compare each layer whose output is codes with the run, both given the run's own inputs.

    Parameters
    ----------
    prepared : PreparedModel
        Calibrated.
    inputs : Tensor
        Batch first.
    trace : Trace
        From running the converted network on `inputs`.
    """
    result: dict[str, StageAgreement] = {}
    values: dict[str, Tensor] = {}
    tensor = _tensor(prepared, None)
    values[INPUT] = inputs
    if tensor is not None:
        values[INPUT] = _decode(tensor, _codes(prepared, trace, None), inputs)
    with torch.no_grad():
        for stage in cast("list[Stage]", list(prepared.stages)):
            made = stage(*(values[name] for name in stage.inputs))
            tensor = _tensor(prepared, stage)
            if tensor is None or isinstance(stage, PassingStage):
                values[stage.name] = made
                continue
            theirs = _codes(prepared, trace, stage)
            mine = _encode(tensor, made, theirs.shape)
            distance = np.abs(_ranks(tensor, mine) - _ranks(tensor, theirs))
            result[stage.name] = StageAgreement(float(np.mean(distance > 0)), int(distance.max()))
            values[stage.name] = _decode(tensor, theirs, inputs)
    return result


def _tensor(prepared: PreparedModel, stage: Stage | None) -> QuantTensor | None:
    """Return how the output of a stage, or of None the input, is read; None if it is real."""
    if stage is None:
        quantizer = None if prepared.image.settings is None else prepared.image
    else:
        quantizer = stage.passed if isinstance(stage, PassingStage) else stage.quantizer
    if quantizer is None:
        return None
    if quantizer.tensor is None:
        raise NetworkError(
            f"{quantizer.name}: must be calibrated before it is compared; call calibrate"
        )
    return quantizer.tensor


def _codes(prepared: PreparedModel, trace: _Trace, stage: Stage | None) -> NDArray[np.uint8]:
    """Return the codes of a run with the axes of torch."""
    codes = trace.input if stage is None else trace.layers[stage.name].codes
    if codes is None:
        name = INPUT if stage is None else stage.name
        raise NetworkError(f"{name}: trace must hold its codes; run the network of this model")
    image = len(prepared.input_shape) == 3 if stage is None else stage.image
    return np.moveaxis(codes, -1, 1) if image else codes


def _encode(tensor: QuantTensor, values: Tensor, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    real = values.cpu().numpy()
    codes = tensor.format.encode(real / real.dtype.type(tensor.scale))
    return np.broadcast_to(codes, shape)  # a constant is one item of a batch


def _decode(tensor: QuantTensor, codes: NDArray[np.uint8], like: Tensor) -> Tensor:
    return (
        torch.from_numpy(np.ascontiguousarray(tensor.format.decode(codes))).to(like) * tensor.scale
    )


def _ranks(tensor: QuantTensor, codes: NDArray[np.uint8]) -> NDArray[np.intp]:
    fmt = tensor.format
    return np.searchsorted(fmt.integers(fmt.sorted_codes), fmt.integers(codes))
