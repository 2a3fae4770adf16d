"""The last step of quantisation: the graph in integers, free of torch."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dybit.quant import layers
from dybit.quant.boxes import find_box
from dybit.quant.layers import INPUT, Layer
from dybit.quant.network import QuantNetwork
from dybit.quant.tensor import NetworkError, QuantTensor, fixed_point
from dybit.quant.torch.convert_float import float_form
from dybit.quant.torch.layerwise import check_calibrated
from dybit.quant.torch.modules import (
    ActivationQuantizer,
    ComputeStage,
    ConvStage,
    LinearStage,
    PreparedModel,
    Shape,
    Stage,
)
from dybit.quant.torch.stages import (
    AddStage,
    AvgPoolStage,
    ConcatStage,
    ConstantStage,
    FlattenStage,
    FloatStage,
    MatMulStage,
    MaxPoolStage,
    MoveStage,
    PassingStage,
    ScaledStage,
)

__all__ = ["convert"]


def convert(prepared: PreparedModel, name: str | None = None) -> QuantNetwork:
    """Return the integer network that a calibrated model simulates.

    Images are kept channels last; weights of linear layers after a flattening are permuted from
    the order (C, H, W) to (H, W, C). What stays float becomes `Float` layers.

    Parameters
    ----------
    prepared : PreparedModel
    name : str, optional
        Of the network; the config's by default.

    Raises
    ------
    NetworkError
        If the model is not calibrated, or in formats that the config's array does not decode, a
        scale does not fit multiplier and shift, or a layer that stays float has no form outside
        torch.
    ConfigError
        If a layer could overflow its accumulator.
    """
    check_calibrated(prepared)
    _check_decoded(prepared)
    converter = _Converter(prepared)
    for stage in cast("list[Stage]", list(prepared.stages)):
        converter.add(stage)
    shape = prepared.input_shape
    return QuantNetwork(
        prepared.config.name if name is None else name,
        prepared.config,
        None if prepared.image.settings is None else prepared.image.tensor,
        (*shape[1:], shape[0]) if len(shape) == 3 else shape,
        tuple(converter.layers),
    )


def _check_decoded(prepared: PreparedModel) -> None:
    """Refuse operands of formats that the array was not built for."""
    array = prepared.config.array
    widths = {bits for mode in array.modes for bits in (mode.weight_bits, mode.activation_bits)}
    for stage in prepared.compute_stages:
        weights, tensor = stage.weight_format, stage.source.tensor
        assert weights is not None
        assert tensor is not None
        for operand, fmt, decoded in (
            ("weights", weights, array.decoded_weight_format),
            ("activations", tensor.format, array.decoded_activation_format),
        ):
            if fmt.bits not in widths or decoded(fmt) != fmt:
                raise NetworkError(
                    f"{stage.name}: {operand} must be of a format that the array decodes, not "
                    f"{fmt}; calibrate without formats of your own, or build the array for it"
                )


class _Converter:
    """The layers so far."""

    def __init__(self, prepared: PreparedModel) -> None:
        self.prepared = prepared
        self.layers: list[Layer] = []
        # Of each tensor of torch: its name in the network, and whether channels are last there.
        self._names = {INPUT: INPUT}
        self._images = {INPUT: len(prepared.input_shape) == 3}
        self._shapes = {INPUT: prepared.input_shape}
        self._quantizers: dict[str, ActivationQuantizer | None] = {
            INPUT: None if prepared.image.settings is None else prepared.image
        }
        self._turned: dict[str, str] = {}
        # Of what was flattened channels last: the shape before, channels first.
        self._flattened: dict[str, Shape] = {}

    def add(self, stage: Stage) -> None:
        """Append the layers of a stage."""
        name = stage.name
        self._names[name], self._images[name] = name, stage.image
        self._shapes[name] = stage.shape
        self._quantizers[name] = (
            stage.passed if isinstance(stage, PassingStage) else stage.quantizer
        )
        match stage:
            case ComputeStage():
                self._compute(stage)
            case MoveStage():
                self._move(stage)
            case MaxPoolStage():
                fields: dict[str, Any] = {"kernel": stage.kernel, "stride": stage.stride}
                fields |= {"padding": stage.padding, "input": self._tensor(name)}
                self._append(layers.MaxPool2d, stage, True, **fields)
            case ConcatStage():
                last = {1: 2, 2: 0, 3: 1}  # of axes of an image with its batch
                axis = last[stage.axis] if stage.image else stage.axis - 1
                self._append(layers.Concat, stage, stage.image, input=self._tensor(name), axis=axis)
            case AvgPoolStage():
                self._average(stage)
            case AddStage() | MatMulStage():
                self._join(stage)
            case ConstantStage():
                value = stage.value.detach()[0].cpu().numpy().astype(np.float64)
                fields = {"arrays": {"value": value}, "output": self._tensor(name)}
                self._append(layers.Float, stage, False, operation="constant", **fields)
            case FloatStage():
                self._float(stage)

    def _append(self, kind: type[Layer], stage: Stage, image: bool, **fields: Any) -> None:
        inputs = tuple(self._read(name, image) for name in stage.inputs)
        self.layers.append(kind(name=stage.name, inputs=inputs, **fields))

    def _tensor(self, name: str) -> QuantTensor | None:
        quantizer = self._quantizers[name]
        return None if quantizer is None else quantizer.tensor

    def _read(self, name: str, image: bool) -> str:
        """Return the name of a tensor with its channels last or as in torch."""
        shape = self._shapes[name]
        if len(shape) != 3 or self._images[name] == image:
            return self._names[name]
        if name not in self._turned:
            turned = f"{name}.channels_{'last' if image else 'first'}"
            places = np.arange(np.prod(shape)).reshape(shape)
            self._turned[name] = self._view(turned, name, places, image)
        return self._turned[name]

    def _view(self, view: str, name: str, places: NDArray[np.int64], image: bool) -> str:
        """Return the name of what takes these elements of a tensor of torch, appending it."""
        shape = self._shapes[name]
        order, kept = np.arange(np.prod(shape)), shape
        if len(shape) == 3 and self._images[name]:
            # Where each element of torch lies with channels last.
            kept = (shape[1], shape[2], shape[0])
            order = order.reshape(kept).transpose(2, 0, 1).reshape(-1)
        found = order[places]
        if image and places.ndim == 3:
            found = found.transpose(1, 2, 0)
        box = find_box(found)
        if box is None:
            raise NetworkError(
                f"{view}: its moves have no form outside torch, as no box of elements describes "
                "them; replace them, or keep to the fake-quantised model"
            )
        whole = (0, (order.size,), (1,))
        if found.shape == kept and (box.start, box.sizes, box.strides) == whole:
            return self._names[name]
        self.layers.append(
            layers.View(
                name=view,
                inputs=(self._names[name],),
                input=self._tensor(name),
                shape=found.shape,
                start=box.start,
                sizes=box.sizes,
                strides=box.strides,
            )
        )
        return view

    def _move(self, stage: MoveStage) -> None:
        (source,) = stage.inputs
        places = stage.places()
        assert places is not None  # the graph holds no other
        if isinstance(stage, FlattenStage) and self._images[source]:
            readers = self.prepared.readers(stage)
            if readers and all(isinstance(reader, LinearStage) for reader in readers):
                # The weights are permuted instead.
                self._flattened[stage.name] = stage.source
                shape = (*stage.source[1:], stage.source[0])
                order = np.arange(places.size).reshape(shape).transpose(2, 0, 1)
                places = np.argsort(order.reshape(-1))
        self._names[stage.name] = self._view(stage.name, source, places, stage.image)

    def _compute(self, stage: ComputeStage) -> None:
        fmt, scale = stage.weight_format, stage.weight_scale
        assert fmt is not None
        assert scale is not None
        # As `fake_quantize` divides, so that the codes are those of the float model.
        weight = stage.weight.detach()
        codes = fmt.encode((weight / stage.per_output(scale).to(weight)).cpu().numpy())
        unit = stage.accumulator_scale().cpu().numpy()
        output = self._tensor(stage.name)
        multiplier, shift = np.zeros(len(codes), np.uint16), np.zeros(len(codes), np.uint8)
        if output is not None:
            multiplier, shift = fixed_point(unit / output.unit, stage.name)
        fields: dict[str, Any] = {
            "weight_format": fmt,
            "weight_scale": scale.cpu().numpy(),
            "bias": _integers(stage.integer_bias(), stage.name),
            "multiplier": multiplier,
            "shift": shift,
            "input": stage.source.tensor,
            **_activation(stage, output),
        }
        if isinstance(stage, ConvStage):
            weights = np.ascontiguousarray(codes.transpose(2, 3, 1, 0))
            window = {"stride": stage.stride, "padding": stage.padding, "groups": stage.groups}
            self._append(layers.Conv2d, stage, True, weights=weights, **window, **fields)
        else:
            flattened = self._flattened.get(stage.inputs[0])
            if flattened is not None:
                codes = codes.reshape(-1, *flattened).transpose(0, 2, 3, 1).reshape(len(codes), -1)
            weights = np.ascontiguousarray(codes.T)
            self._append(layers.Linear, stage, False, weights=weights, **fields)
        self._activate(stage, output)

    def _join(self, stage: AddStage | MatMulStage) -> None:
        output = self._tensor(stage.name)
        operands = tuple(self._tensor(name) for name in stage.inputs)
        fields: dict[str, Any] = {"operands": operands, **_activation(stage, output)}
        if isinstance(stage, MatMulStage):
            self._append(layers.MatMul, stage, False, **fields)
        elif output is not None:
            self._append(layers.Add, stage, stage.image, **fields)
        else:
            self._append(layers.Float, stage, stage.image, operation="add")
        self._activate(stage, output)

    def _activate(self, stage: ComputeStage | ScaledStage, output: QuantTensor | None) -> None:
        """Append the activation function of a layer whose accumulators are the result."""
        if output is not None or not stage.relu:
            return
        name = f"{stage.name}.relu"
        high = float("inf") if stage.ceiling is None else stage.ceiling
        self.layers.append(
            layers.Float(
                name=name,
                inputs=(stage.name,),
                operation="clamp",
                parameters={"low": 0.0, "high": float(high)},
            )
        )
        self._names[stage.name] = name

    def _average(self, stage: AvgPoolStage) -> None:
        output = self._tensor(stage.name)
        window = {"kernel": stage.kernel, "stride": stage.stride}
        if output is None:
            fields: dict[str, Any] = {"operation": "avg_pool2d", "parameters": window}
            self._append(layers.Float, stage, True, **fields)
        else:
            source = self._tensor(stage.inputs[0])
            self._append(layers.AvgPool2d, stage, True, input=source, output=output, **window)

    def _float(self, stage: FloatStage) -> None:
        form = float_form(stage, [self._shapes[name] for name in stage.inputs])
        image = stage.image if form.image is None else form.image
        arrays = form.arrays
        if form.image is None and image:
            arrays = {name: np.moveaxis(array, 0, -1) for name, array in arrays.items()}
        self._append(
            layers.Float,
            stage,
            image,
            operation=form.operation,
            parameters=form.parameters,
            arrays=arrays,
            output=self._tensor(stage.name),
        )


def _activation(stage: ComputeStage | ScaledStage, output: QuantTensor | None) -> dict[str, Any]:
    """Return how a layer ends."""
    max_code = None
    if output is not None and stage.ceiling is not None:
        # In float32, as the float model cuts.
        ceiling = np.float32(stage.ceiling) / np.float32(output.scale)
        max_code = int(output.format.encode(ceiling))
    return {
        "output": output,
        "relu": stage.relu and output is not None,
        "max_code": max_code,
    }


def _integers(bias: Tensor, name: str) -> NDArray[np.int64]:
    largest = float(bias.detach().abs().max())
    if not largest < 2**47:
        raise NetworkError(f"{name}: bias must be below 2^47 accumulator units, not {largest:.6g}")
    return bias.detach().cpu().numpy().astype(np.int64)
