"""The latencies a search goes by are those of the engine itself."""

from __future__ import annotations

import gc
import warnings

import pytest
from amaranth.hdl import UnusedElaboratable

from dybit.hw.matrix_engine import MatrixEngine
from dybit.scripts.engine_cost import engine_cost
from tests.hw.array_vectors import array_config


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 2), (1, 9), (8, 5)])
@pytest.mark.parametrize("modes", ["W8A8", "W8A8 W4A4 W2A2", "W4A2"])
def test_latencies_are_those_of_the_engine(rows: int, columns: int, modes: str) -> None:
    array = array_config(rows, columns, modes)
    cost = engine_cost(array)
    with warnings.catch_warnings():
        # Nobody elaborates this engine; Amaranth says so when it is freed, which is now.
        warnings.simplefilter("ignore", UnusedElaboratable)
        latency = MatrixEngine(array).latency
        gc.collect()
    assert cost.latency == latency
    assert cost.array == array
