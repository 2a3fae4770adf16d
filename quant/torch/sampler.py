"""A sample of an activation tensor, however many batches there are of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dybit.quant.tensor import NetworkError

__all__ = ["Sampler"]

SAMPLE = 1 << 16
"""Elements kept, to which formats and scales are fitted."""


class Sampler:
    """A uniform sample of all elements seen: those with the smallest of random keys."""

    def __init__(self, name: str, seed: int | tuple[int, ...], size: int = SAMPLE) -> None:
        self.name, self.size = name, size
        self.minimum, self.maximum = np.inf, -np.inf
        self.values: NDArray[np.float32] = np.empty(0, np.float32)
        self._keys: NDArray[np.float64] = np.empty(0)
        self._random = np.random.default_rng(seed)

    def add(self, x: Tensor) -> None:
        values = x.detach().float().cpu().numpy().reshape(-1)
        if not np.isfinite(values).all():
            raise NetworkError(
                f"{self.name}: activations must be finite on the calibration data; leave out the "
                "inputs that hold or give NaN or infinities"
            )
        self.minimum = min(self.minimum, float(values.min(initial=np.inf)))
        self.maximum = max(self.maximum, float(values.max(initial=-np.inf)))
        self.values = np.concatenate([self.values, values])
        self._keys = np.concatenate([self._keys, self._random.random(values.size)])
        if self.values.size > self.size:
            kept = np.argpartition(self._keys, self.size)[: self.size]
            self.values, self._keys = self.values[kept], self._keys[kept]
