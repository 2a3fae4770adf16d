"""Cross-layer equalisation: channels of alike size, the function of the network unchanged.

A tensor has one scale for all its channels, so a channel far smaller than the others is left with
few values. Between two layers with nothing but a positively homogeneous function (ReLU, pooling)
in between, channel i may be divided by s_i in the first and multiplied by it in the second
(Nagel et al., arXiv 1906.04721, section 4.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dybit.quant.torch.modules import ComputeStage, PreparedModel, Stage
from dybit.quant.torch.stages import AvgPoolStage, FlattenStage, MaxPoolStage

__all__ = ["Equalized", "equalization_factors", "equalize"]

PASSES = 20
"""Most sweeps over the network: a change of one pair asks for another of its neighbours."""


@dataclass(frozen=True, slots=True)
class Equalized:
    """What `equalize` did.

    Members
    -------
    pairs : list of (str, str)
        Layers that were equalised, and the layer that reads each.
    left : dict of str to str
        The other layers, by name, each with the reason.
    """

    pairs: list[tuple[str, str]]
    left: dict[str, str]


def equalization_factors(first: Tensor, second: Tensor) -> Tensor:
    """Return the powers of two nearest to what makes both ranges of each channel equal.

    A power of two leaves every product and sum of the float network as it was, bit for bit.

    Parameters
    ----------
    first, second : Tensor
        Range of each channel in the layer that makes it and in the one that reads it; a channel
        that is zero in either keeps its size.
    """
    ratio = first.double() / second.double()
    usable = (first > 0) & (second > 0)
    exponent = torch.where(usable, ratio, torch.ones_like(ratio)).log2() / 2
    return exponent.round().exp2().to(first.dtype)


def equalize(prepared: PreparedModel) -> Equalized:
    """Equalise every pair of layers where that leaves the float model as it is.

    ReLU6 is not homogeneous: its ceiling is one number for all channels, so such layers are left.

    Parameters
    ----------
    prepared : PreparedModel
        Changed in place, before calibration; a calibration it has is forgotten.
    """
    prepared.forget()
    pairs: list[tuple[ComputeStage, ComputeStage]] = []
    left: dict[str, str] = {}
    for stage in prepared.compute_stages:
        found = _partner(prepared, stage)
        if isinstance(found, str):
            left[stage.name] = found
        else:
            pairs.append((stage, found))
    with torch.no_grad():
        for _ in range(PASSES):
            # Not `any`, which would stop at the first pair that changes.
            if not sum([_equalize_pair(*pair) for pair in pairs]):
                break
    return Equalized([(first.name, second.name) for first, second in pairs], left)


def _equalize_pair(first: ComputeStage, second: ComputeStage) -> bool:
    """Equalise two layers; return whether anything changed."""
    weight = _by_input(second, len(first.weight))
    factors = equalization_factors(
        first.weight.abs().flatten(1).amax(1), weight.abs().flatten(2).amax(2).flatten()
    )
    first.weight.div_(first.per_output(factors))
    first.bias.div_(factors)
    # A view of the weight: changed where it lies.
    weight.mul_(factors.view(*weight.shape[:2], *[1] * (weight.ndim - 2)))
    return bool((factors != 1).any())


def _by_input(stage: ComputeStage, channels: int) -> Tensor:
    """Return a view of the weight that begins with groups and the input channels of a group."""
    weight = stage.weight.detach()
    if weight.ndim == 2:  # linear: each channel was flattened to so many positions
        return weight.view(1, len(weight), channels, -1).transpose(1, 2)
    groups = channels // weight.shape[1]
    return weight.view(groups, len(weight) // groups, *weight.shape[1:]).transpose(1, 2)


def _partner(prepared: PreparedModel, stage: ComputeStage) -> ComputeStage | str:
    """Return the one layer that reads the output of `stage`, or why it is left as it is."""
    if stage.ceiling is not None:
        return f"its ceiling of {stage.ceiling:g} is the same for all channels"
    reader: Stage = stage
    while True:
        readers = prepared.readers(reader)
        if not readers:
            return "its output is the model's"
        if len(readers) > 1:
            return f"{' and '.join(other.name for other in readers)} read it"
        (reader,) = readers
        if isinstance(reader, ComputeStage):
            return reader
        if not isinstance(reader, MaxPoolStage | AvgPoolStage | FlattenStage):
            return f"{reader.name} reads it"
