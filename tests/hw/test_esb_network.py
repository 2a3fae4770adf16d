"""A network of ESB on the generated array: every accumulator and code is the golden model's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dybit.scripts.simulate import simulate_network
from dybit.scripts.verilog import emit_array
from tests.networks import esb_network

pytestmark = pytest.mark.rtl


def test_agrees_with_the_golden_model(tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    # Grids without a zero, in 4 and in 8 bits: the convolution has padding.
    network = esb_network(2, 6, rows=3, columns=2, multiplier="lut")
    images = np.random.default_rng(6).normal(0, 2, (4, *network.input_shape)).astype(np.float32)
    emit_array(network.config.array, tmp_path)
    simulation = simulate_network(network, tmp_path, images)
    assert simulation.first_mismatch is None
    assert {layer.mode for layer in simulation.layers} == {"W4A4", "W8A8"}
    # What is compared must not be all one code.
    for name in ("first", "second"):
        assert len(np.unique(simulation.rtl.layers[name].codes)) > 30
    vectors("network of ESB", simulation.total("compared"))
