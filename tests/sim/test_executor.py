"""The executor: layers in order, against real arithmetic on what the codes stand for."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dybit.quant.network import ComputeLayer, Conv2d, Linear
from dybit.sim.executor import GoldenBackend, Trace, compare, run
from tests.networks import random_network

NETWORK = random_network()


def images(count: int, dtype: type[np.floating] = np.float32) -> NDArray[np.floating]:
    rng = np.random.default_rng(4)
    return rng.normal(0.4, 0.5, (count, *NETWORK.input_shape)).astype(dtype)


def test_accumulators_are_sums_of_real_products() -> None:
    """Each layer's accumulator, scaled, is the dot product of decoded codes and weights."""
    trace = run(NETWORK, images(3))
    head = NETWORK.layer("head")
    assert isinstance(head, Linear)
    codes = trace.layers["flat"].codes
    weights = head.weight_format.decode(head.weights) * head.weight_scale
    got = trace.layers["head"].accumulators
    want = head.input.format.decode(codes) * head.input.scale @ weights
    np.testing.assert_allclose(got * head.accumulator_scale, want, rtol=1e-12)
    np.testing.assert_allclose(trace.logits, want + head.bias * head.accumulator_scale, rtol=1e-12)
    assert trace.predictions.tolist() == trace.logits.argmax(1).tolist()


def test_layers_follow_each_other() -> None:
    """Every layer's output is the nearest code of the real result of its input's codes."""
    trace = run(NETWORK, images(4))
    x, tensor = trace.input, NETWORK.input
    assert np.array_equal(x, tensor.format.encode(images(4) / np.float32(tensor.scale)))
    for layer, (in_shape,), out_shape in NETWORK.shapes():
        assert x.shape == (4, *in_shape)
        step = trace.layers[layer.name]
        assert step.layer is layer
        if layer.makes is None:
            break
        real = layer.reads[0].format.decode(x) * layer.reads[0].scale
        if isinstance(layer, ComputeLayer):
            real = (step.accumulators + layer.bias) * layer.accumulator_scale
        elif layer.name == "max":
            real = real.reshape(4, 3, 2, 2, 2, 6).max(axis=(2, 4))
        elif layer.name == "mean":
            real = real.mean(axis=1, keepdims=True)
        else:
            real = real.reshape(4, -1)
        if getattr(layer, "relu", False):
            real = np.maximum(real, 0)
        want = layer.makes.format.encode(real / layer.makes.scale)
        # The multiplier has 16 bits: what lies next to a threshold may fall on its other side.
        assert np.mean(step.codes == want) > 0.999
        assert step.codes.shape == (4, *out_shape)
        x = step.codes


def test_backend_computes_every_layer_of_the_array() -> None:
    class Noting(GoldenBackend):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def compute(self, layer: Conv2d | Linear, codes: NDArray[np.uint8]):
            self.seen.append(layer.name)
            accumulators, output = super().compute(layer, codes)
            if layer.name == "second":
                accumulators = accumulators.copy()
                accumulators[0, 0, 0, 0] += 1
            return accumulators, output

    backend, ticks = Noting(), []
    trace = run(NETWORK, images(2), lambda: ticks.append(1), backend)
    assert backend.seen == ["first", "second", "head"]
    assert len(ticks) == len(NETWORK.layers)
    golden = run(NETWORK, images(2))
    counted = sum(
        part.size
        for step in golden.layers.values()
        for part in (step.accumulators, step.codes)
        if part is not None
    )
    assert compare(golden, golden) == (counted, 0)
    assert compare(golden, trace) == (counted, 1)


def test_batches_are_independent() -> None:
    whole = run(NETWORK, images(5, np.float64))
    parts = [run(NETWORK, image[None]) for image in images(5, np.float64)]
    assert np.array_equal(whole.logits, np.concatenate([part.logits for part in parts]))
    assert isinstance(whole, Trace)


def test_run_refuses() -> None:
    with pytest.raises(TypeError, match="images must be float32 or float64, not uint8"):
        run(NETWORK, np.zeros((1, 6, 8, 2), np.uint8))
    with pytest.raises(ValueError, match=r"shape \(N, 6, 8, 2\), not \(1, 2, 6, 8\)"):
        run(NETWORK, np.zeros((1, 2, 6, 8)))
    with pytest.raises(ValueError, match="NaN"):
        run(NETWORK, np.full((1, 6, 8, 2), np.nan))
