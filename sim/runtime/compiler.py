"""Turns a network into a plan: what the accelerator runs, what the host does, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dybit.quant.config import QuantConfig
from dybit.quant.config_errors import ConfigError
from dybit.quant.layers import INPUT, AvgPool2d, Conv2d, Layer, Linear, QuantTensor, View
from dybit.quant.network import QuantNetwork
from dybit.sim.board_driver import IMAGES, Operation, Plan, PlanError
from dybit.sim.runtime import host, lowering
from dybit.sim.runtime.draft import Draft, Slot
from dybit.sim.runtime.engine_layer import EngineLayer, Hardware, check
from dybit.sim.runtime.inputs import packings
from dybit.sim.runtime.packing import pixel_bytes
from dybit.sim.runtime.placement import Constants
from dybit.sim.runtime.tiling import Tiling, choose, output_layout

__all__ = ["compile"]

Shape = tuple[int, ...]
SUMS = ".accumulators"
REAL = ".real"
FLATTEN_WASTE = 2
"""Times the passes of packed channels beyond which a linear layer's input is packed anew."""


def compile(
    network: QuantNetwork, config: QuantConfig | None = None, batch: int = 1, keep: bool = False
) -> Plan:
    """Plan how an accelerator runs a network.

    Parameters
    ----------
    network : QuantNetwork
    config : QuantConfig, optional
        Of the accelerator, which may have been built for other networks too; default: the
        network's own.
    batch : int
        Images run together: linear layers then read their weights once for all of them.
    keep : bool
        Give every tensor memory of its own, so that all can be read when a batch is through.

    Raises
    ------
    PlanError
        In one line, naming the layer, the value, its limit and what to do, if the network cannot
        run on it.
    """
    config = network.config if config is None else config
    if type(batch) is not int or batch < 1:
        raise PlanError(f"batch must be an integer of at least 1, not {batch!r}")
    try:
        config.accelerator.check_array(config.array)
    except ConfigError as error:
        raise PlanError(f"{config.name}: {error}".replace("\n", "; ")) from None
    compiler = _Compiler(network, Hardware(config.array, config.accelerator), batch, keep)
    return compiler.plan()


@dataclass(slots=True)
class _Tensor:
    """A tensor of the network: how it is read, and where it is by now."""

    tensor: QuantTensor | None
    shape: Shape
    on_host: bool
    slot: Slot | None


class _Compiler:
    def __init__(self, network: QuantNetwork, hardware: Hardware, batch: int, keep: bool) -> None:
        self.network = network
        self.hardware = hardware
        self.batch = batch
        self.keep = keep
        self.constants = Constants()
        self.draft = Draft()
        self.tensors: dict[str, _Tensor] = {}
        self.kept: dict[str, Slot] = {}
        # Views that their readers take as larger kernels instead: the tensor viewed.
        self.flat: dict[str, str] = {}
        # Buffers of the network's input, by the windows it is made into.
        self.inputs: dict[str, Slot] = {}
        self.rows: list[dict[str, Any]] = []

    def plan(self) -> Plan:
        """Return the plan of the whole network."""
        network, hardware = self.network, self.hardware
        self.tensors[INPUT] = _Tensor(network.input, network.input_shape, True, None)
        self.draft.host(INPUT, (IMAGES,), host.encoding(network.input))
        for layer, _, shape in network.shapes():
            self._layer(layer, shape)
        steps, size = self.draft.place(self.constants.size, self.keep, hardware)
        return Plan(
            name=network.name,
            parameters=hardware.accelerator.parameters(hardware.array),
            batch=self.batch,
            input_shape=network.input_shape,
            steps=steps,
            output=network.layers[-1].name,
            tensors={name: slot.buffer for name, slot in self.kept.items()} if self.keep else {},
            size=size,
            layers=self.rows,
            constants=self.constants.content,
        )

    def _layer(self, layer: Layer, shape: Shape) -> None:
        match layer:
            case Conv2d() | Linear():
                self._compute(layer, shape)
            case AvgPool2d():
                self._average(layer, shape)
            case View() if self._is_kernel(layer) or self._is_alias(layer, shape):
                pass
            case _:
                self._host(layer, shape)

    def _compute(self, layer: Conv2d | Linear, shape: Shape) -> None:
        name = self.flat.get(layer.inputs[0], layer.inputs[0])
        source = self.tensors[name]
        lowered: EngineLayer
        if isinstance(layer, Conv2d):
            lowered = lowering.convolution(layer, source.shape, self.batch, self.hardware)
        elif layer.inputs[0] in self.flat:
            lowered = lowering.flattened(layer, source.shape, self.batch)
        else:
            lowered = lowering.linear(layer, source.shape, self.batch)
        check(lowered, self.hardware)
        self._engine(lowered, name, layer.output, shape)
        if layer.output is None:
            self._download(layer.name + SUMS)
            self.draft.host(layer.name, (layer.name + SUMS,), host.scaling(layer))
            self.tensors[layer.name] = _Tensor(None, shape, True, None)

    def _average(self, layer: AvgPool2d, shape: Shape) -> None:
        source = self.tensors[layer.inputs[0]]
        lowered = None
        if source.slot is not None:
            lowered = lowering.average(layer, source.shape, self.batch, self.hardware)
        if lowered is not None:
            try:
                check(lowered, self.hardware)
                self._engine(lowered, layer.inputs[0], layer.output, shape)
            except PlanError:
                lowered = None  # the host can, whatever does not fit
        if lowered is None:
            self._host(layer, shape)

    def _engine(
        self, layer: EngineLayer, name: str, output: QuantTensor | None, shape: Shape
    ) -> None:
        """Add a layer to the run; nothing changes if it does not fit."""
        array = self.hardware.array
        layer, fold, tiling = self._packed(layer, name)
        source = self._source(layer, name, fold)
        pixels = layer.images * layer.size[0] * layer.size[1]
        layout = output_layout(layer, self.hardware)
        target = self.draft.slot(shape, pixels, layer.output_bits(array), layout.pixel_bytes)
        blobs = layer.weight_blob(array), layer.parameter_blob(array)
        addresses = self.constants.add(blobs[0]), self.constants.add(blobs[1])
        blocks = source.pixel_bytes // array.rows
        self.draft.job(layer, tiling, blocks, source, target, addresses)
        made = layer.name if output is not None else layer.name + SUMS
        self.tensors[made] = _Tensor(output, shape, False, target)
        self.kept[made] = target
        self.rows.append(
            {
                "layer": layer.name,
                "on": "depthwise" if layer.depthwise else "array",
                "mode": layer.mode.name,
                "tiles": tiling.count,
                "tile": f"{tiling.height} x {tiling.width}",
                "cycles": tiling.cycles,
                "constant_bytes": sum(blob.size for blob in blobs),
                "input_bytes": source.buffer.size,
                "output_bytes": target.buffer.size,
            }
        )

    def _packed(
        self, layer: EngineLayer, name: str
    ) -> tuple[EngineLayer, Operation | None, Tiling]:
        """Return the layer with its input prepared as takes the fewest cycles, and its tiles."""
        rows, slot = self.hardware.array.rows, self.tensors[name].slot
        ways = list(packings(layer)) if name == INPUT else [(layer, None)]
        found, problem = [], None
        for way, fold in ways:
            size = pixel_bytes(way.channels, way.mode.activation_bits, rows)
            if slot is not None and fold is None:
                size = slot.pixel_bytes
            try:
                found.append((way, fold, choose(way, size // rows, self.hardware)))
            except PlanError as error:
                problem = problem or error
        if not found:
            assert problem is not None
            raise problem
        return min(found, key=lambda each: each[2].cycles)

    def _source(self, layer: EngineLayer, name: str, fold: Operation | None) -> Slot:
        """Return the buffer a layer reads, after an upload if only the host has the tensor."""
        tensor = self.tensors[name]
        slot = tensor.slot if fold is None else self.inputs.get(str(fold))
        if slot is not None:
            return slot
        bits = layer.mode.activation_bits
        size = pixel_bytes(layer.channels, bits, self.hardware.array.rows)
        shape = tensor.shape if fold is None else (*tensor.shape[:-1], layer.channels)
        slot = self.draft.slot(shape, layer.images * layer.height * layer.width, bits, size)
        self.draft.upload(name, slot, shape, fold)
        if fold is None:
            tensor.slot = slot
        else:
            self.inputs[str(fold)] = slot
        return slot

    def _host(self, layer: Layer, shape: Shape) -> None:
        names = []
        for name in layer.inputs:
            self._download(name)
            tensor = self.tensors[name]
            if layer.reads is None and tensor.tensor is not None:
                if name + REAL not in self.tensors:
                    self.draft.host(name + REAL, (name,), host.decoding(tensor.tensor))
                    self.tensors[name + REAL] = _Tensor(None, tensor.shape, True, None)
                name += REAL
            names.append(name)
        operation = host.operation(layer, self.batch)
        self.draft.host(layer.name, tuple(names), operation)
        self.tensors[layer.name] = _Tensor(layer.makes, shape, True, None)
        self.rows.append({"layer": layer.name, "on": "host", "mode": operation["kind"]})

    def _download(self, name: str) -> None:
        """See to it that the host has a tensor."""
        tensor = self.tensors[name]
        if not tensor.on_host:
            assert tensor.slot is not None
            self.draft.download(name, tensor.slot, tensor.shape)
            tensor.on_host = True

    def _is_kernel(self, view: View) -> bool:
        """Return whether all that reads a view can take it as a kernel over what is viewed."""
        name = view.inputs[0]
        tensor = self.tensors[name]
        if tensor.slot is None or len(tensor.shape) != 3 or not _is_flat(view, tensor.shape):
            return False
        rows = self.hardware.array.rows
        blocks = tensor.slot.pixel_bytes // rows
        for reader in self.network.layers:
            if view.name not in reader.inputs:
                continue
            if not isinstance(reader, Linear) or len(view.shape) != 1:
                return False
            lowered = lowering.flattened(reader, tensor.shape, self.batch)
            packed = -(-view.shape[0] // (rows * lowered.mode.channels))
            if tensor.shape[0] * tensor.shape[1] * blocks > FLATTEN_WASTE * packed:
                return False
            try:
                check(lowered, self.hardware)
                choose(lowered, blocks, self.hardware)
            except PlanError:
                return False
        self.flat[view.name] = name
        return True

    def _is_alias(self, view: View, shape: Shape) -> bool:
        """Return whether a view is the same pixels in another shape."""
        tensor = self.tensors[view.inputs[0]]
        if tensor.slot is None or tensor.on_host or shape[-1] != tensor.shape[-1]:
            return False
        if not _is_flat(view, tensor.shape):
            return False
        self.tensors[view.name] = replace(tensor, shape=shape)
        return True


def _is_flat(view: View, shape: Shape) -> bool:
    """Return whether a view is all elements of what it views, in their order."""
    return (view.start, view.sizes, view.strides) == (0, (int(np.prod(shape)),), (1,))
