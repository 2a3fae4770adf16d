"""Workloads layer by layer, sizes following from what comes before."""

from __future__ import annotations

from typing import Any

from dybit.quant.layer import INPUT
from dybit.quant.workloads.layer_shape import Image, LayerKind, LayerShape
from dybit.quant.workloads.workload import Workload

__all__ = ["Sketch"]

BATCH_NORM = 2
"""Parameters of batch norm for each channel."""


class Sketch:
    """A workload being drawn; every method appends a layer and returns the name of its tensor.

    Parameters
    ----------
    name : str
    input_shape : Image
    """

    def __init__(self, name: str, input_shape: Image) -> None:
        self.name, self.input_shape = name, input_shape
        self._layers: list[LayerShape] = []
        self._shapes = {INPUT: input_shape}

    def conv(
        self,
        name: str,
        source: str,
        outputs: int,
        kernel: int,
        stride: int = 1,
        padding: int | None = None,
        *,
        groups: int = 1,
        relu: bool = True,
        bias: bool = False,
    ) -> str:
        """Append a square convolution; padding is half the kernel by default.

        Without a bias it has a batch norm.
        """
        height, width, channels = self._shapes[source]
        pad = kernel // 2 if padding is None else padding
        down, across = ((size + 2 * pad - kernel) // stride + 1 for size in (height, width))
        return self._append(
            name,
            LayerKind.of_convolution(channels, groups),
            (source,),
            (down, across, outputs),
            kernel=(kernel, kernel),
            stride=(stride, stride),
            padding=(pad,) * 4,
            groups=groups,
            channel_parameters=1 if bias else BATCH_NORM,
            relu=relu,
        )

    def linear(self, name: str, source: str, outputs: int, *, relu: bool = False) -> str:
        """Append a linear layer with a bias."""
        height, width, _ = self._shapes[source]
        shape = (height, width, outputs)
        return self._append(
            name, LayerKind.LINEAR, (source,), shape, channel_parameters=1, relu=relu
        )

    def max_pool(self, name: str, source: str, kernel: int, stride: int, padding: int = 0) -> str:
        """Append a square max-pooling."""
        height, width, channels = self._shapes[source]
        down, across = ((size + 2 * padding - kernel) // stride + 1 for size in (height, width))
        return self._append(
            name,
            LayerKind.MAX_POOL,
            (source,),
            (down, across, channels),
            kernel=(kernel, kernel),
            stride=(stride, stride),
            padding=(padding,) * 4,
        )

    def mean(self, name: str, source: str) -> str:
        """Append the mean of all pixels."""
        height, width, channels = self._shapes[source]
        window = (height, width)
        return self._append(
            name, LayerKind.AVG_POOL, (source,), (1, 1, channels), kernel=window, stride=window
        )

    def add(self, name: str, first: str, second: str, *, relu: bool) -> str:
        """Append a sum of two tensors."""
        return self._append(name, LayerKind.ADD, (first, second), self._shapes[first], relu=relu)

    def flatten(self, name: str, source: str) -> str:
        """Append a view of an image as one vector."""
        height, width, channels = self._shapes[source]
        return self._append(name, LayerKind.VIEW, (source,), (1, 1, height * width * channels))

    def finish(self) -> Workload:
        """Return the workload."""
        return Workload(self.name, self.input_shape, tuple(self._layers))

    def _append(
        self, name: str, kind: LayerKind, inputs: tuple[str, ...], shape: Image, **fields: Any
    ) -> str:
        layer = LayerShape(
            name=name,
            kind=kind,
            inputs=inputs,
            input_shape=self._shapes[inputs[0]],
            output_shape=shape,
            **fields,
        )
        self._layers.append(layer)
        self._shapes[name] = shape
        return name
