"""Turns a network into a plan: what the accelerator runs, what the host does, and where it lies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dybit.quant.config import QuantConfig
from dybit.quant.config_errors import ConfigError
from dybit.quant.layers import INPUT, AvgPool2d, Conv2d, Layer, Linear, QuantTensor, View
from dybit.quant.network import QuantNetwork
from dybit.sim.board_driver import (
    DESCRIPTOR_BYTES,
    IMAGES,
    Buffer,
    Download,
    Fields,
    Host,
    Operation,
    Plan,
    PlanError,
    Run,
    Step,
    Upload,
)
from dybit.sim.runtime import engine_layer, host
from dybit.sim.runtime.engine_layer import EngineLayer, Hardware
from dybit.sim.runtime.inputs import packings
from dybit.sim.runtime.packing import pixel_bytes
from dybit.sim.runtime.placement import Constants, Lifetime, aligned, place
from dybit.sim.runtime.tiling import Tiling, choose, output_layout, tiles

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


@dataclass(slots=True, eq=False)
class _Slot:
    """A buffer before it has an address."""

    shape: Shape
    pixels: int
    bits: int
    pixel_bytes: int
    life: Lifetime

    @property
    def buffer(self) -> Buffer:
        return Buffer(self.life.address, self.shape, self.pixels, self.bits, self.pixel_bytes)


@dataclass(slots=True)
class _Tensor:
    """A tensor of the network: how it is read, and where it is by now."""

    tensor: QuantTensor | None
    shape: Shape
    on_host: bool
    slot: _Slot | None


@dataclass(slots=True)
class _Job:
    """A layer in a run."""

    layer: EngineLayer
    tiling: Tiling
    blocks: int
    source: _Slot
    target: _Slot
    weights: int
    parameters: int
    barrier: bool


@dataclass(slots=True)
class _Transfer:
    """A step between host and memory."""

    kind: type[Upload] | type[Download]
    tensor: str
    slot: _Slot
    shape: Shape
    fold: Operation | None = None

    @property
    def buffer(self) -> Buffer:
        return replace(self.slot.buffer, shape=self.shape)


class _Compiler:
    def __init__(self, network: QuantNetwork, hardware: Hardware, batch: int, keep: bool) -> None:
        self.network = network
        self.hardware = hardware
        self.batch = batch
        self.keep = keep
        self.constants = Constants()
        self.tensors: dict[str, _Tensor] = {}
        self.slots: list[_Slot] = []
        self.kept: dict[str, _Slot] = {}
        self.steps: list[Host | _Transfer | list[_Job]] = []
        self.pending: list[_Job] = []
        # Buffers written in the pending run since its last barrier.
        self.unstored: list[_Slot] = []
        # Views that their readers take as larger kernels instead: the tensor viewed.
        self.flat: dict[str, str] = {}
        self.inputs: dict[tuple[str, str], _Slot] = {}
        self.moment = self.run_start = 0
        self.rows: list[dict[str, Any]] = []

    def plan(self) -> Plan:
        """Return the plan of the whole network."""
        network = self.network
        self.tensors[INPUT] = _Tensor(network.input, network.input_shape, True, None)
        self.steps.append(Host(INPUT, (IMAGES,), host.encoding(network.input)))
        for layer, _, shape in network.shapes():
            self._layer(layer, shape)
        self._flush()
        last = network.layers[-1].name
        size, lists = self._place()
        return Plan(
            name=network.name,
            parameters=self.hardware.accelerator.parameters(self.hardware.array),
            batch=self.batch,
            input_shape=network.input_shape,
            steps=list(self._placed(lists)),
            output=last,
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
        name = layer.inputs[0]
        source = self.tensors[self.flat.get(name, name)]
        lowered: EngineLayer
        if isinstance(layer, Conv2d):
            lowered = engine_layer.convolution(layer, source.shape, self.batch, self.hardware)
        elif name in self.flat:
            lowered = engine_layer.flattened(layer, source.shape, self.batch)
            name = self.flat[name]
        else:
            lowered = engine_layer.linear(layer, source.shape, self.batch)
        engine_layer.check(lowered, self.hardware)
        self._engine(lowered, name, layer.output, shape)
        if layer.output is None:
            self._download(layer.name + SUMS)
            self.steps.append(Host(layer.name, (layer.name + SUMS,), host.scaling(layer)))
            self.tensors[layer.name] = _Tensor(None, shape, True, None)

    def _average(self, layer: AvgPool2d, shape: Shape) -> None:
        source = self.tensors[layer.inputs[0]]
        lowered = None
        if source.slot is not None:
            lowered = engine_layer.average(layer, source.shape, self.batch, self.hardware)
        if lowered is not None:
            try:
                engine_layer.check(lowered, self.hardware)
                self._engine(lowered, layer.inputs[0], layer.output, shape)
            except PlanError:
                lowered = None  # the host can, whatever does not fit
        if lowered is None:
            self._host(layer, shape)

    def _engine(
        self, layer: EngineLayer, name: str, output: QuantTensor | None, shape: Shape
    ) -> None:
        """Add a layer to the pending run; nothing changes if it does not fit."""
        array = self.hardware.array
        layer, fold, tiling = self._packed(layer, name)
        source = self._source(layer, name, fold)
        blocks = source.pixel_bytes // array.rows
        layout = output_layout(layer, self.hardware)
        self.moment += 1
        if not self.pending:
            self.run_start = self.moment
        source.life.last = self.moment
        pixels = layer.images * layer.size[0] * layer.size[1]
        target = self._slot(shape, pixels, layer.output_bits(array), layout.pixel_bytes)
        blobs = layer.weight_blob(array), layer.parameter_blob(array)
        barrier = any(slot is source for slot in self.unstored)
        if barrier:
            self.unstored.clear()
        self.unstored.append(target)
        weights, parameters = (self.constants.add(blob) for blob in blobs)
        self.pending.append(
            _Job(layer, tiling, blocks, source, target, weights, parameters, barrier)
        )
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
        array = self.hardware.array
        if name != INPUT:
            slot = self.tensors[name].slot
            bits = layer.mode.activation_bits
            size = (
                pixel_bytes(layer.channels, bits, array.rows) if slot is None else slot.pixel_bytes
            )
            return layer, None, choose(layer, size // array.rows, self.hardware)
        ways, problem = [], None
        for way, fold in packings(layer):
            size = pixel_bytes(way.channels, way.mode.activation_bits, array.rows)
            try:
                ways.append((way, fold, choose(way, size // array.rows, self.hardware)))
            except PlanError as error:
                problem = problem or error
        if not ways:
            assert problem is not None
            raise problem
        return min(ways, key=lambda each: each[2].cycles)

    def _source(self, layer: EngineLayer, name: str, fold: Operation | None) -> _Slot:
        """Return the buffer a layer reads, after an upload if only the host has the tensor."""
        tensor = self.tensors[name]
        slot = tensor.slot if fold is None else self.inputs.get((name, str(fold)))
        if slot is not None:
            return slot
        bits = layer.mode.activation_bits
        size = pixel_bytes(layer.channels, bits, self.hardware.array.rows)
        pixels = layer.images * layer.height * layer.width
        shape = tensor.shape if fold is None else (*tensor.shape[:-1], layer.channels)
        self.moment += 1
        slot = self._slot(shape, pixels, bits, size)
        # The upload comes before the pending run begins.
        slot.life.first = self.run_start if self.pending else self.moment
        self.steps.append(_Transfer(Upload, name, slot, shape, fold))
        if fold is None:
            tensor.slot = slot
        else:
            self.inputs[name, str(fold)] = slot
        return slot

    def _slot(self, shape: Shape, pixels: int, bits: int, size: int) -> _Slot:
        life = Lifetime(pixels * size, self.moment, self.moment)
        slot = _Slot(shape, pixels, bits, size, life)
        self.slots.append(slot)
        return slot

    def _host(self, layer: Layer, shape: Shape) -> None:
        names = []
        for name in layer.inputs:
            self._download(name)
            tensor = self.tensors[name]
            if layer.reads is None and tensor.tensor is not None:
                if name + REAL not in self.tensors:
                    self.steps.append(Host(name + REAL, (name,), host.decoding(tensor.tensor)))
                    self.tensors[name + REAL] = _Tensor(None, tensor.shape, True, None)
                name += REAL
            names.append(name)
        operation = host.operation(layer, self.batch)
        self.steps.append(Host(layer.name, tuple(names), operation))
        self.tensors[layer.name] = _Tensor(layer.makes, shape, True, None)
        self.rows.append({"layer": layer.name, "on": "host", "mode": operation["kind"]})

    def _download(self, name: str) -> None:
        """See to it that the host has a tensor."""
        tensor = self.tensors[name]
        if tensor.on_host:
            return
        assert tensor.slot is not None
        self._flush()
        self.moment += 1
        tensor.slot.life.last = self.moment
        tensor.on_host = True
        self.steps.append(_Transfer(Download, name, tensor.slot, tensor.shape))

    def _flush(self) -> None:
        """End the pending run."""
        if self.pending:
            self.steps.append(self.pending)
        self.pending = []
        self.unstored.clear()

    def _is_kernel(self, view: View) -> bool:
        """Return whether all that reads a view can take it as a kernel over what is viewed."""
        name = view.inputs[0]
        tensor = self.tensors[name]
        readers = [layer for layer in self.network.layers if view.name in layer.inputs]
        elements = int(np.prod(tensor.shape))
        whole = (view.start, view.sizes, view.strides) == (0, (elements,), (1,))
        if tensor.slot is None or len(tensor.shape) != 3 or not whole or len(view.shape) != 1:
            return False
        array = self.hardware.array
        for reader in readers:
            if not isinstance(reader, Linear):
                return False
            lowered = engine_layer.flattened(reader, tensor.shape, self.batch)
            word = array.rows * lowered.mode.channels
            packed = -(-elements // word)
            blocks = tensor.slot.pixel_bytes // array.rows
            if tensor.shape[0] * tensor.shape[1] * blocks > FLATTEN_WASTE * packed:
                return False
            try:
                engine_layer.check(lowered, self.hardware)
                choose(lowered, blocks, self.hardware)
            except PlanError:
                return False
        self.flat[view.name] = name
        return True

    def _is_alias(self, view: View, shape: Shape) -> bool:
        """Return whether a view is the same pixels in another shape."""
        tensor = self.tensors[view.inputs[0]]
        elements = int(np.prod(tensor.shape))
        whole = (view.start, view.sizes, view.strides) == (0, (elements,), (1,))
        if tensor.slot is None or tensor.on_host or not whole or shape[-1] != tensor.shape[-1]:
            return False
        self.tensors[view.name] = replace(tensor, shape=shape)
        return True

    def _place(self) -> tuple[int, dict[int, int]]:
        """Give lists and buffers their addresses; return the size of it all, and the lists'."""
        lists: dict[int, int] = {}
        end = self.constants.size
        for step in self.steps:
            if isinstance(step, list):
                lists[id(step)] = end
                end += aligned(sum(job.tiling.count for job in step) * DESCRIPTOR_BYTES)
        if self.keep:
            for slot in self.slots:
                slot.life.first, slot.life.last = 0, self.moment
        return place([slot.life for slot in self.slots], end), lists

    def _placed(self, lists: dict[int, int]) -> Iterator[Step]:
        """Yield the steps with all addresses in place."""
        for step in self.steps:
            match step:
                case Host():
                    yield step
                case _Transfer() if step.kind is Upload:
                    yield Upload(step.tensor, step.buffer, step.fold)
                case _Transfer():
                    yield Download(step.tensor, step.buffer)
                case list():
                    yield self._run(step, lists[id(step)])

    def _run(self, jobs: list[_Job], address: int) -> Run:
        fields: list[Fields] = []
        names: list[str] = []
        for job in jobs:
            addresses = {
                "input": job.source.life.address,
                "output": job.target.life.address,
                "weights": job.weights,
                "parameters": job.parameters,
            }
            part = list(tiles(job.layer, job.tiling, job.blocks, addresses, self.hardware))
            part[0]["barrier"] = int(job.barrier)
            fields += part
            names += [job.layer.name] * len(part)
        fields[-1]["last"] = 1
        return Run(address, fields, names)
