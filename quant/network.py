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
from dybit.quant.layer import Shape
from dybit.quant.layers import (
    INPUT,
    Add,
    AvgPool2d,
    ComputeLayer,
    Concat,
    Conv2d,
    Float,
    Layer,
    Linear,
    MatMul,
    MaxPool2d,
    NetworkError,
    QuantTensor,
    View,
)

__all__ = [
    "INPUT",
    "Add",
    "AvgPool2d",
    "ComputeLayer",
    "Concat",
    "Conv2d",
    "Float",
    "Layer",
    "Linear",
    "MatMul",
    "MaxPool2d",
    "NetworkError",
    "QuantNetwork",
    "QuantTensor",
    "View",
]

STRUCTURE = "network.toml"
ARRAYS = "network.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class QuantNetwork:
    """A graph of layers, checked as a whole.

    Parameters
    ----------
    name : str
    config : QuantConfig
        The config it was quantised for; the array it describes can run every layer.
    input : QuantTensor, optional
        How images become codes; None where only float layers read them.
    input_shape : tuple of int
        (H, W, C), or whatever the first layers read.
    layers : tuple of Layer
        In an order in which each reads the input or what a layer before it makes. All outputs
        but the last are read; the last is real numbers, raw accumulators or a float layer's.

    Raises
    ------
    NetworkError
        If layers do not fit each other or the config's formats.
    ConfigError
        If a layer could overflow its accumulator, or its mode is not built.
    """

    name: str
    config: QuantConfig
    input: QuantTensor | None
    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise NetworkError(f"layers of {self.name} must not be empty")
        tensors: dict[str, QuantTensor | None] = {INPUT: self.input}
        unread = {INPUT}
        for layer in self.layers:
            if layer.name in tensors:
                raise NetworkError(f"layer names must differ, but {layer.name} is used twice")
            for name in layer.inputs:
                if name not in tensors:
                    raise layer.error(f"inputs must be made by layers before it, not {name!r}")
            if layer.reads is not None:
                self._fit(layer, layer.reads, tensors)
            unread -= set(layer.inputs)
            unread.add(layer.name)
            tensors[layer.name] = layer.makes
        last = self.layers[-1]
        for name in [name for name in tensors if name in unread and name != last.name]:
            raise NetworkError(f"{name}: output must be read by a layer")
        if last.makes is not None:
            raise last.error("output of the last layer must be real numbers, not codes")
        for _ in self.shapes():
            pass
        for layer in self.layers:
            if isinstance(layer, ComputeLayer):
                self._check(layer)
            self._check_output(layer)

    @staticmethod
    def _fit(
        layer: Layer,
        reads: tuple[QuantTensor, ...],
        tensors: dict[str, QuantTensor | None],
    ) -> None:
        if len(reads) != len(layer.inputs):
            raise layer.error(f"inputs must be {len(reads)} names, not {len(layer.inputs)}")
        for name, read in zip(layer.inputs, reads, strict=True):
            made = tensors[name]
            if made != read:
                raise layer.error(
                    f"input must be {_text(made)}, what {name} gives, not {_text(read)}"
                )

    @property
    def compute_layers(self) -> tuple[Conv2d | Linear, ...]:
        """The layers that run on the array."""
        return tuple(layer for layer in self.layers if isinstance(layer, Conv2d | Linear))

    @property
    def float_layers(self) -> tuple[Float, ...]:
        """The layers that stay in floating point."""
        return tuple(layer for layer in self.layers if isinstance(layer, Float))

    def layer(self, name: str) -> Layer:
        """Return the layer called `name`."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        known = ", ".join(layer.name for layer in self.layers)
        raise NetworkError(f"layer must be one of {known}, not {name!r}")

    def shapes(self) -> Iterator[tuple[Layer, tuple[Shape, ...], Shape]]:
        """Yield each layer with the shapes, without the batch, of its inputs and output."""
        known = {INPUT: self.input_shape}
        for layer in self.layers:
            shapes = tuple(known[name] for name in layer.inputs)
            known[layer.name] = layer.output_shape(*shapes)
            yield layer, shapes, known[layer.name]

    def save(self, directory: str | Path) -> None:
        """Write the network to `directory`, each file in one step, the structure last."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        arrays = safetensors.numpy.save(
            {
                f"{layer.name}.{name}": np.ascontiguousarray(array)
                for layer in self.layers
                for name, array in tables.layer_arrays(layer).items()
            }
        )
        structure = {
            "version": tables.VERSION,
            "name": self.name,
            "arrays": hashlib.sha256(arrays).hexdigest(),
            "input_shape": list(self.input_shape),
            **({} if self.input is None else {"input": tables.tensor_table(self.input)}),
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
            If a file is missing, damaged or of another version, or they are not of one save.
        ConfigError
            As on construction.
        """
        path = Path(directory) / STRUCTURE
        try:
            structure = tomllib.loads(_read(path).decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise NetworkError(f"{path}: not TOML: {error}") from None
        tables.check_version(structure, str(path))
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

    def _check(self, layer: ComputeLayer) -> None:
        array, wanted = self.config.array, self.config.layer(layer.name)
        weights, activations = layer.weight_format, layer.input.format
        for operand, fmt, bits, decoded in (
            ("weights", weights, wanted.weight_bits, array.decoded_weight_format),
            ("activations", activations, wanted.activation_bits, array.decoded_activation_format),
        ):
            if (fmt.FAMILY, fmt.bits) != (array.family, bits):
                raise NetworkError(
                    f"{layer.name}: {operand} must be {array.family_name} of {bits} bits, "
                    f"as the config says, not {fmt}"
                )
            built = decoded(fmt)
            if fmt != built:
                raise NetworkError(
                    f"{layer.name}: {operand} must be {built}, as the array is built, not {fmt}"
                )
        if activations.signed not in array.signednesses:
            raise NetworkError(
                f"{layer.name}: activations must be {array.activations}, as the array is built, "
                f"not {activations}"
            )
        array.check_layer(
            layer.name,
            layer.mode,
            layer.input.format,
            layer.weight_format,
            layer.reduction,
            max(-int(layer.bias.min()), int(layer.bias.max())),
        )

    def _check_output(self, layer: Layer) -> None:
        if layer.makes is None:
            return
        fmt, array = layer.makes.format, self.config.array
        if not array.encodes(fmt):
            raise layer.error(f"output must be {array.encoded}, as the array is built, not {fmt}")


def _text(tensor: QuantTensor | None) -> str:
    return "real numbers" if tensor is None else f"{tensor.format} x {tensor.scale:.6g}"


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
