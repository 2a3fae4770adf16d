"""The engine's backend: what it hands to the engine, and how it puts results together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dybit.sim import engine_backend, golden
from dybit.sim.engine_backend import EngineBackend
from dybit.sim.executor import compare, run
from tests.networks import graph_network, random_network

NETWORK = random_network()
IMAGES = np.random.default_rng(2).uniform(0, 2, (5, *NETWORK.input_shape))


class ModelEngine:
    """The engine's arithmetic by the golden model, and a note of what it was handed."""

    def __init__(self) -> None:
        self.pixels: list[int] = []
        self.padding: list[int] = []

    def matmul(
        self, a: NDArray[np.uint8], keep: NDArray[np.bool_], a_fmt: Any, w: Any, w_fmt: Any, q: Any,
        progress: Any,
    ) -> SimpleNamespace:  # fmt: skip
        self.pixels.append(len(a))
        self.padding.append(np.count_nonzero(~keep))
        integers = np.where(keep, a_fmt.integers(a), 0)
        accumulators = integers @ w_fmt.integers(w)
        codes = golden.requantize(
            accumulators, q.bias, q.multiplier, q.shift, q.format, q.relu, q.max_code
        )
        progress(10)
        return SimpleNamespace(accumulators=accumulators, codes=codes, cycles=10)


@pytest.mark.parametrize("chunk", [1, 6 * 4 * 12 * 2, 1 << 22])
def test_agrees_with_the_golden_backend_in_any_chunks(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_backend, "CHUNK_ELEMENTS", chunk)
    engine, cycles = ModelEngine(), []
    backend = EngineBackend(engine, cycles.append)
    compared, differing = compare(run(NETWORK, IMAGES), run(NETWORK, IMAGES, backend=backend))
    assert compared > 0
    assert differing == 0
    first = {1: [24] * 5, 576: [48, 48, 24], 1 << 22: [120]}[chunk]
    assert engine.pixels[: len(first)] == first
    # Above the first and below the last of 6 rows lie 4 windows' 2 x 2 elements each.
    assert sum(engine.padding) == 5 * 2 * 4 * 2 * 2
    assert backend.cycles["first"] == 10 * len(first)
    assert backend.cycles["head"] == 10
    assert sum(backend.cycles.values()) == sum(cycles)


def test_cycles_add_up_over_runs() -> None:
    backend = EngineBackend(ModelEngine(), lambda cycles: None)
    run(NETWORK, IMAGES, backend=backend)
    run(NETWORK, IMAGES, backend=backend)
    assert backend.cycles == {"first": 20, "second": 20, "head": 20}


def test_groups_are_products_of_their_own() -> None:
    network, engine = graph_network(), ModelEngine()
    images = np.random.default_rng(5).normal(size=(3, *network.input_shape))
    backend = EngineBackend(engine, lambda cycles: None)
    compared, differing = compare(run(network, images), run(network, images, backend=backend))
    assert compared > 0
    assert differing == 0
    # Two groups of the first layer, six of the second; then linear layers of 4 tokens and of one.
    assert engine.pixels == [48] * 2 + [48] * 6 + [48, 12, 12, 3]
    assert backend.cycles["grouped"] == 20
    assert backend.cycles["depthwise"] == 60
