"""Tensors of trained networks: weights with their batch norms folded in, and what layers read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dybit.scripts import digits

IMAGES = 128
LAYERS = {"conv1": "norm1", "conv2": "norm2", "conv3": "norm3", "head": None}
"""Layers with weights, and the batch norm that follows each."""


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor, and the axis of its channels where they have scales of their own."""

    name: str
    values: NDArray[np.float32]
    axis: int | None = None

    @property
    def signed(self) -> bool:
        return bool((self.values < 0).any())


def layer_inputs(
    model: torch.nn.Module, images: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """Return what each layer with weights reads."""
    inputs: dict[str, NDArray[np.float32]] = {}
    hooks = [
        getattr(model, name).register_forward_pre_hook(
            lambda _, given, name=name: inputs.update({name: given[0].detach().numpy()})
        )
        for name in LAYERS
    ]
    with torch.no_grad():
        model(torch.from_numpy(images))
    for hook in hooks:
        hook.remove()
    return inputs


def tensors(model: torch.nn.Module) -> list[Tensor]:
    """Return weights and layer inputs of a digits CNN, on test images for the inputs."""
    found = []
    for name, norm in LAYERS.items():
        layer = getattr(model, name)
        folded = layer if norm is None else fuse_conv_bn_eval(layer, getattr(model, norm))
        found.append(Tensor(f"{name} weights", folded.weight.detach().numpy(), 0))
    inputs = layer_inputs(model, digits.load().test_x[:IMAGES])
    # Not the image: it has 17 grey levels, which every uniform grid of 5 bits holds.
    return found + [Tensor(f"{name} input", x) for name, x in inputs.items() if name != "conv1"]
