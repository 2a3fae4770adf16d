"""The compiled matrix engine as a backend of the executor."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from dybit.quant.formats import SignMagnitude
from dybit.quant.layers import Conv2d, Linear
from dybit.sim import golden
from dybit.sim.engine import EngineResult, MatrixEngine, Requantization

__all__ = ["EngineBackend"]

CHUNK_ELEMENTS = 1 << 22
"""Elements of an im2col matrix held at a time, unless one image has more."""


class EngineBackend:
    """Computes convolution and linear layers on the engine, as products of im2col matrices.

    Groups of a convolution are products of their own, one after the other.

    Parameters
    ----------
    engine : MatrixEngine
    progress : callable, optional
        Called with the number of cycles simulated since the last call.

    Attributes
    ----------
    cycles : dict of str to int
        Clock cycles by layer name, over all images so far.
    """

    def __init__(self, engine: MatrixEngine, progress: Callable[[int], None] | None = None) -> None:
        self.engine = engine
        self.cycles: dict[str, int] = {}
        self._progress = progress

    def compute(
        self, layer: Conv2d | Linear, codes: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8] | None]:
        """Return accumulators without bias and, unless the layer's output is raw, codes."""
        parts = [self._groups(layer, *windows) for windows in _windows(layer, codes)]
        accumulators = np.concatenate([part[0] for part in parts])
        if layer.output is None:
            return accumulators, None
        return accumulators, np.concatenate([part[1] for part in parts])

    def _groups(
        self, layer: Conv2d | Linear, windows: NDArray[np.uint8], keep: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Compute one product for each group of channels."""
        groups = layer.groups if isinstance(layer, Conv2d) else 1
        # Rows of windows are (kernel positions, groups, channels of a group).
        cut = (*windows.shape[:-1], -1, groups, layer.weights.shape[-2])
        windows, keep = windows.reshape(cut), keep.reshape(cut)
        size = layer.outputs // groups
        parts = [
            self._product(
                layer,
                slice(group * size, (group + 1) * size),
                windows[..., group, :],
                keep[..., group, :],
            )
            for group in range(groups)
        ]
        shape = (*cut[:-3], layer.outputs)
        accumulators = np.concatenate([part.accumulators for part in parts], axis=1)
        codes = np.concatenate([part.codes for part in parts], axis=1)
        return accumulators.reshape(shape), codes.reshape(shape)

    def _product(
        self,
        layer: Conv2d | Linear,
        outputs: slice,
        windows: NDArray[np.uint8],
        keep: NDArray[np.bool_],
    ) -> EngineResult:
        activation_format, weight_format = layer.input.format, layer.weight_format
        # A raw layer drains through the re-quantiser all the same; nobody looks at its codes.
        output_format = activation_format if layer.output is None else layer.output.format
        # A network checks this when it is made: the array computes in nothing else.
        assert isinstance(activation_format, SignMagnitude)
        assert isinstance(weight_format, SignMagnitude)
        assert isinstance(output_format, SignMagnitude)
        result = self.engine.matmul(
            windows.reshape(-1, layer.reduction),
            keep.reshape(-1, layer.reduction),
            activation_format,
            layer.matrix[:, outputs],
            weight_format,
            Requantization(
                output_format,
                layer.bias[outputs],
                layer.multiplier[outputs],
                layer.shift[outputs],
                layer.relu,
                layer.max_code,
            ),
            self._progress,
        )
        self.cycles[layer.name] = self.cycles.get(layer.name, 0) + result.cycles
        return result


def _windows(
    layer: Conv2d | Linear, codes: NDArray[np.uint8]
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """Yield im2col matrices of some images at a time, with what of them is not padding."""
    if isinstance(layer, Linear):
        yield codes, np.ones(codes.shape, np.bool_)
        return
    height, width, _ = layer.output_shape(codes.shape[1:])
    step = max(1, CHUNK_ELEMENTS // (height * width * layer.reduction * layer.groups))
    for start in range(0, len(codes), step):
        part = codes[start : start + step]
        yield (
            golden.im2col(part, layer.kernel, layer.stride, layer.padding),
            golden.im2col(np.ones_like(part), layer.kernel, layer.stride, layer.padding) > 0,
        )
