"""The networks for the digits, untrained, on the golden device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from dybit.quant.config import QuantConfig
from dybit.scripts.digits import DigitsNet, images
from dybit.scripts.digits_networks import MobileDigits, ResidualDigits
from dybit.scripts.quantize import quantize_model
from dybit.sim import executor
from dybit.sim.runtime import GoldenDevice, compile
from tests.accelerators import manifest

CONFIG = {
    "name": "digits",
    "array": {
        "rows": 8,
        "columns": 8,
        "modes": ["W8A8", "W4A8", "W4A4"],
        "max_reduction": 1152,
        "accumulator_depth": 64,
    },
    "default": {"weight_bits": 4, "activation_bits": 8},
    "accelerator": {"activation_words": 256, "output_words": 256, "depthwise_kernel": 3},
}


@pytest.mark.parametrize("build", [DigitsNet, ResidualDigits, MobileDigits])
def test_every_tensor_of_a_network(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(1)
    x, _ = images()
    _, network = quantize_model(build().eval(), QuantConfig.from_dict(CONFIG), x[:4])
    plan = compile(network, batch=2, keep=True)
    pictures = np.ascontiguousarray(x[10:13].transpose(0, 2, 3, 1))
    trace = executor.run(network, pictures)
    result = GoldenDevice(manifest(plan)).run(plan, pictures, tensors=list(plan.tensors))
    assert np.array_equal(result.outputs, trace.logits)
    for name, found in result.tensors.items():
        layer, _, kind = name.partition(".accumulators")
        step = trace.layers[layer]
        assert np.array_equal(found, step.accumulators if kind or layer != name else step.codes)
    # Leaner memory, the same results.
    lean = compile(network, batch=2)
    assert lean.size < plan.size
    again = GoldenDevice(manifest(lean)).run(lean, pictures)
    assert np.array_equal(again.outputs, trace.logits)
