"""A quantised network without a framework: what the golden model and the accelerator run.

On disk it is a folder of two files: ``network.toml`` (structure, formats, scales and the quant
config) and ``network.safetensors`` (the arrays). Equal networks give equal bytes. The TOML is
written last and holds a hash of the arrays, so a folder left by an interrupted save is refused.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
import tomli_w
from safetensors import SafetensorError

from dybit.quant import network_tables as tables
from dybit.quant.config import QuantConfig
from dybit.quant.formats import DyBit
from dybit.quant.layers import (
    AvgPool2d,
    ComputeLayer,
    Conv2d,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    NetworkError,
    QuantTensor,
)

__all__ = [
    "AvgPool2d",
    "ComputeLayer",
    "Conv2d",
    "Flatten",
    "Layer",
    "Linear",
    "MaxPool2d",
    "NetworkError",
    "QuantNetwork",
    "QuantTensor",
]

STRUCTURE = "network.toml"
ARRAYS = "network.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class QuantNetwork:
    """A chain of layers, checked as a whole.

    Parameters
    ----------
    name : str
    config : QuantConfig
        The config it was quantised for; the array it describes can run every layer.
    input : QuantTensor
        How images become codes.
    input_shape : tuple of int
        (H, W, C), or (inputs,) where the first layer is linear.
    layers : tuple of Layer
        In order; each reads what the one before it writes. Only the last may, and must, give
        raw accumulators.

    Raises
    ------
    NetworkError
        If layers do not fit each other or the config's formats.
    ConfigError
        If a layer could overflow its accumulator, or its mode is not built.
    """

    name: str
    config: QuantConfig
    input: QuantTensor
    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise NetworkError(f"layers of {self.name} must not be empty")
        names = [layer.name for layer in self.layers]
        for name in names:
            if names.count(name) > 1:
                raise NetworkError(f"layer names must differ, but {name} is used twice")
        tensor: QuantTensor | None = self.input
        for layer in self.layers:
            if tensor is None:
                raise NetworkError(f"{layer.name}: input must be codes, not raw accumulators")
            if layer.input != tensor:
                raise NetworkError(
                    f"{layer.name}: input must be {_text(tensor)}, what the layer before it "
                    f"gives, not {_text(layer.input)}"
                )
            tensor = layer.output
        if tensor is not None:
            raise NetworkError(f"{names[-1]}: output of the last layer must be raw accumulators")
        for _ in self.shapes():
            pass
        for layer in self.compute_layers:
            self._check(layer)

    @property
    def compute_layers(self) -> tuple[Conv2d | Linear, ...]:
        """The layers that run on the array."""
        return tuple(layer for layer in self.layers if isinstance(layer, Conv2d | Linear))

    def layer(self, name: str) -> Layer:
        """Return the layer called `name`."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        known = ", ".join(layer.name for layer in self.layers)
        raise NetworkError(f"layer must be one of {known}, not {name!r}")

    def shapes(self) -> Iterator[tuple[Layer, tuple[int, ...], tuple[int, ...]]]:
        """Yield each layer with the shapes, without the batch, of its input and output."""
        shape = self.input_shape
        for layer in self.layers:
            output = layer.output_shape(shape)
            yield layer, shape, output
            shape = output

    def save(self, directory: str | Path) -> None:
        """Write the network to `directory`, each file in one step, the structure last."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        arrays = safetensors.numpy.save(
            {
                f"{layer.name}.{name}": np.ascontiguousarray(getattr(layer, name))
                for layer in self.compute_layers
                for name in tables.ARRAYS
            }
        )
        structure = {
            "version": tables.VERSION,
            "name": self.name,
            "arrays": hashlib.sha256(arrays).hexdigest(),
            "input_shape": list(self.input_shape),
            "input": tables.tensor_table(self.input),
            "layers": [tables.layer_table(layer) for layer in self.layers],
            "config": self.config.to_dict(),
        }
        _replace(folder / ARRAYS, arrays)
        _replace(folder / STRUCTURE, tomli_w.dumps(structure).encode())

    @classmethod
    def load(cls, directory: str | Path) -> QuantNetwork:
        """Return the network in `directory`.

        Raises
        ------
        NetworkError
            If a file is missing or damaged, or they are not of one save.
        ConfigError
            As on construction.
        """
        path = Path(directory) / STRUCTURE
        try:
            structure = tomllib.loads(_read(path).decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise NetworkError(f"{path}: not TOML: {error}") from None
        content = _read(path.with_name(ARRAYS))
        if structure.get("arrays") != hashlib.sha256(content).hexdigest():
            raise NetworkError(f"{path}: arrays must be the SHA-256 of {ARRAYS}; save again")
        try:
            arrays = safetensors.numpy.load(content)
        except SafetensorError as error:
            raise NetworkError(f"{path.with_name(ARRAYS)}: {error}") from None
        try:
            name, shape, tensor, layers = tables.parse(structure, arrays)
            config = QuantConfig.from_dict(structure["config"], f"{path}: config")
            return cls(name, config, tensor, shape, layers)
        except NetworkError as error:
            raise NetworkError(f"{path}: {error}") from None

    def _check(self, layer: Conv2d | Linear) -> None:
        array, wanted = self.config.array, self.config.layer(layer.name)
        weights, activations = layer.weight_format, layer.input.format
        for operand, fmt, bits in (
            ("weights", weights, wanted.weight_bits),
            ("activations", activations, wanted.activation_bits),
        ):
            if not isinstance(fmt, DyBit) or fmt.bits != bits:
                raise NetworkError(
                    f"{layer.name}: {operand} must be DyBit of {bits} bits, as the config says, "
                    f"not {fmt}"
                )
            built = (
                array.weight_format(bits, fmt.exponent_limit)
                if operand == "weights"
                else array.activation_format(bits, fmt.signed, fmt.exponent_limit)
            )
            if fmt != built:
                raise NetworkError(
                    f"{layer.name}: {operand} must be {built}, as the array is built, not {fmt}"
                )
        if activations.signed not in array.signednesses:
            raise NetworkError(
                f"{layer.name}: activations must be {array.activations}, as the array is built, "
                f"not {activations}"
            )
        if layer.output is not None:
            fmt = layer.output.format
            if not isinstance(fmt, DyBit) or fmt.bits not in array.activation_widths:
                widths = " or ".join(map(str, array.activation_widths))
                raise NetworkError(
                    f"{layer.name}: output must be DyBit of {widths} bits, as the array is built, "
                    f"not {fmt}"
                )
        array.check_layer(
            layer.name,
            layer.mode,
            layer.input.format,
            layer.weight_format,
            layer.reduction,
            max(-int(layer.bias.min()), int(layer.bias.max())),
        )


def _text(tensor: QuantTensor) -> str:
    return f"{tensor.format} x {tensor.scale:.6g}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        raise NetworkError(f"{path}: {reason}; must be a file of a saved network") from None


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)
