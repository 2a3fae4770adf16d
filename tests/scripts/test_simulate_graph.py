"""A network that is no chain on the RTL: convolutions and linear layers there, the rest beside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dybit.scripts.simulate import simulate_network
from dybit.scripts.verilog import emit_array
from tests.networks import graph_network


@pytest.mark.rtl
def test_a_graph_runs_on_the_rtl(tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    network = graph_network()
    emit_array(network.config.array, tmp_path)
    images = np.random.default_rng(6).normal(size=(3, *network.input_shape)).astype(np.float32)
    simulation = simulate_network(network, tmp_path, images)
    assert simulation.first_mismatch is None
    names = ["grouped", "depthwise", "point", "narrowed", "hidden", "head"]
    assert [layer.name for layer in simulation.layers] == names
    # Accumulators of all, codes of the four whose output is not raw.
    sizes = [16 * 6, 16 * 6, 16 * 6, 4 * 6, 4 * 6, 3]
    assert [layer.compared for layer in simulation.layers] == [
        3 * size * (1 if name in ("hidden", "head") else 2)
        for name, size in zip(names, sizes, strict=True)
    ]
    assert np.array_equal(simulation.rtl.logits, simulation.golden.logits)
    vectors("graph network", simulation.total("compared"))
