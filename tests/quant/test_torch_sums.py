"""Sums inside a model round as the integers of a network do."""

from __future__ import annotations

import numpy as np
import torch

from dybit.quant.formats import DyBit
from dybit.quant.network import Add, QuantTensor
from dybit.quant.torch.modules import ActivationQuantizer
from dybit.quant.torch.stages import AddStage
from dybit.sim.joins import add


def sum_in_both(tensors: list[QuantTensor]) -> tuple[AddStage, Add]:
    """The sum of two tensors as a third: what the model has for it, and what the network has."""
    stage = AddStage("sum")
    quantizers = [ActivationQuantizer(name) for name in "abc"]
    for quantizer, tensor in zip(quantizers, tensors, strict=True):
        quantizer.tensor = tensor
    stage.sources, stage.quantizer = (quantizers[0], quantizers[1]), quantizers[2]
    layer = Add(name="sum", inputs=("a", "b"), operands=(tensors[0], tensors[1]), output=tensors[2])
    return stage, layer


def test_the_model_scales_sums_as_integers_do() -> None:
    """A scale so small that its multiplier has few bits: 10.6 is 11."""
    fmt = DyBit(8, True, 7)
    tensors = [QuantTensor(fmt, scale) for scale in (1.0, 10.6 / 2**15, 1.0)]
    stage, layer = sum_in_both(tensors)
    operands = 0, 1536
    values = [torch.tensor([n * t.unit]) for n, t in zip(operands, tensors, strict=False)]
    # 11 x 1536 / 2^15 is above a half, 10.6 x 1536 / 2^15 below.
    assert float(stage(*values)) == fmt.unit
    codes = [fmt.encode(np.array([n * fmt.unit])) for n in operands]
    scale = layer.multipliers, layer.shift
    assert fmt.integers(add((codes[0], codes[1]), (fmt, fmt), *scale, fmt)) == 1


def test_sums_are_exact_where_no_gradient_is_asked_for() -> None:
    """Half of all sums lie midway between two values, at scales no float holds exactly."""
    fmt = DyBit(8, True, 1)
    tensors = [QuantTensor(fmt, scale) for scale in (0.1, 0.1, 0.2)]
    stage, layer = sum_in_both(tensors)
    pair = np.meshgrid(fmt.sorted_codes, fmt.sorted_codes)
    want = add((pair[0], pair[1]), (fmt, fmt), layer.multipliers, layer.shift, fmt)
    with torch.no_grad():
        values = [torch.from_numpy(fmt.decode(codes)).float() * 0.1 for codes in pair]
        found = stage(*values).numpy()
    assert np.array_equal(fmt.encode(found / np.float32(0.2)), want)
