"""What all layers of a quantised network share: a name, the tensors they read, and shapes.

Everything is NHWC. A network is in static single-assignment form: a layer makes one tensor, which
goes by the layer's name, and reads tensors by name; the network's input goes by `INPUT`. A tensor
is codes or, where no integer layer reads it, real numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, TypeAlias

from dybit.quant.tensor import NetworkError, QuantTensor

__all__ = ["INPUT", "Layer", "Pair", "Shape", "check_integers", "check_max_code", "window_counts"]

INPUT = "input"
"""Name of the network's input tensor."""

Pair: TypeAlias = tuple[int, int]
Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Layer(ABC):
    """One layer.

    Parameters
    ----------
    name : str
        Of the layer and of the tensor it makes.
    inputs : tuple of str
        Names of the tensors it reads.
    """

    name: str
    inputs: tuple[str, ...]

    @property
    @abstractmethod
    def reads(self) -> tuple[QuantTensor, ...] | None:
        """How it reads the codes of each input; None if real numbers will do."""

    @property
    @abstractmethod
    def makes(self) -> QuantTensor | None:
        """How its output is to be read; None for real numbers."""

    @abstractmethod
    def output_shape(self, *shapes: Shape) -> Shape:
        """Return the shape of the output of inputs of `shapes`, the batch left out."""

    def error(self, text: str) -> NetworkError:
        """Return an error that names the layer."""
        return NetworkError(f"{self.name}: {text}")

    def image(self, shape: Shape) -> Shape:
        """Return a shape that must be (H, W, C)."""
        if len(shape) != 3:
            raise self.error(f"input must have shape (H, W, C), not {shape}")
        return shape


def check_integers(layer: Layer, field: str, least: int, length: int | None = 2) -> None:
    """Refuse a field that is not a tuple of `length` integers of at least `least`."""
    value: Any = getattr(layer, field)
    integers = isinstance(value, tuple) and all(type(v) is int for v in value)
    if not integers or len(value) != (length or len(value)) or min(value, default=least) < least:
        count = "two integers" if length == 2 else "integers"
        raise layer.error(f"{field} must be {count} of at least {least}, not {value!r}")


def check_max_code(layer: Layer, max_code: int | None, output: QuantTensor | None) -> None:
    """Refuse a largest code that is none of the output, or stands for a negative value."""
    if output is None or max_code is None:
        return
    if max_code not in output.format.sorted_codes[output.format.values >= 0].tolist():
        raise layer.error(
            f"max_code must be the code of a value of {output.format} that is not negative, "
            f"not {max_code!r}"
        )


def window_counts(layer: Layer, shape: Shape, kernel: Pair, stride: Pair, padding: Pair) -> Pair:
    """Return how many windows fit down and across an input of `shape`, (H, W, C)."""
    layer.image(shape)
    down, across = (
        (shape[axis] + 2 * padding[axis] - kernel[axis]) // stride[axis] + 1 for axis in (0, 1)
    )
    if down < 1 or across < 1:
        raise layer.error(
            f"kernel must fit the padded input of {shape[0]} x {shape[1]}, not {kernel}"
        )
    return down, across
