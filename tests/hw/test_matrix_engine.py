"""The matrix engine against exact products: every accumulator and every code."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dybit.quant.formats import DyBit
from dybit.sim import engine as engine_driver
from dybit.sim.engine import MatrixEngine as EngineDriver
from dybit.sim.engine import Requantization
from tests.hw.array_vectors import array_config
from tests.hw.engine_vectors import driver, run_largest, run_product

ALL_MODES = "W8A8 W8A4 W4A8 W4A4 W2A4 W4A2 W2A2"
ESB: dict[str, Any] = {"family": "esb", "activations": "signed"}
ARRAYS = {
    "1x1-depth1": array_config(1, 1, "W8A8 W4A4", max_reduction=200, accumulator_depth=1),
    "3x2-depth5": array_config(3, 2, "W4A4 W2A2", max_reduction=200, accumulator_depth=5),
    "2x3-all": array_config(2, 3, ALL_MODES, max_reduction=300, accumulator_depth=32),
    "2x5-limits": array_config(
        2,
        5,
        "W8A4 W4A4",
        max_reduction=200,
        accumulator_depth=16,
        weight_exponent_limit=2,
        activation_exponent_limit=2,
    ),
    "8x8-W8A8-W4A4": array_config(8, 8, "W8A8 W4A4", max_reduction=300, accumulator_depth=64),
    "2x2-run-time": array_config(
        2, 2, "W8A8 W4A8 W4A4 W2A2", max_reduction=200, run_time_limits=[2, 3], multiplier="lut"
    ),
    "2x3-esb": array_config(2, 3, "W8A8 W8A4 W4A8 W4A4", max_reduction=200, esb_k4=2, **ESB),
    "3x2-esb": array_config(
        3, 2, "W8A8 W4A4", max_reduction=200, esb_k4=0, esb_k8=3, multiplier="lut", **ESB
    ),
}

pytestmark = pytest.mark.rtl


Engines = Callable[[str], EngineDriver]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Engines:
    """An array's compiled engine by the array's name; made once."""
    return cache(lambda name: driver(ARRAYS[name], "compiled", tmp_path_factory.mktemp(name)))


@pytest.mark.parametrize("name", [name for name in ARRAYS if name != "2x3-esb"])
def test_compiled(name: str, compiled: Engines, vectors: Callable[[str, int], None]) -> None:
    engine = compiled(name)
    rng = np.random.default_rng(17)
    compared = sum(run_product(engine, rng, pixels=60, most=90) for _ in range(25))
    vectors("matrix engine, compiled", compared)


@pytest.mark.parametrize("name", ["3x2-depth5", "2x3-all", "8x8-W8A8-W4A4", "3x2-esb"])
def test_largest_sums(name: str, compiled: Engines, vectors: Callable[[str, int], None]) -> None:
    engine = compiled(name)
    for mode in engine.array.modes:
        for signed in engine.array.signednesses:
            vectors("matrix engine, largest sums", run_largest(engine, mode, signed))


def test_sums_shorter_than_a_column(tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    array = array_config(3, 1, "W8A8 W4A4 W2A2", max_reduction=1, accumulator_depth=5)
    assert array.accumulator_bits < array.partial_sum_bits
    engine = driver(array, "compiled", tmp_path)
    for mode in array.modes:
        for signed in array.signednesses:
            vectors("matrix engine, short sums", run_largest(engine, mode, signed))


@pytest.mark.parametrize("name", ["1x1-depth1", "3x2-depth5"])
def test_in_amaranth(name: str, tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    engine = driver(ARRAYS[name], "amaranth", tmp_path)
    rng = np.random.default_rng(18)
    # A product each, for the engine is elaborated anew for every one.
    vectors("matrix engine, amaranth", run_product(engine, rng, 8, 20))


# Icarus, many times slower, goes without the engine of all modes, whose blocks it plays alone.
@pytest.mark.cocotb
@pytest.mark.parametrize(
    ("simulator", "name"),
    [
        *product(["verilator"], ["3x2-depth5", "2x3-all", "2x3-esb"]),
        *product(["icarus"], ["3x2-depth5", "2x3-esb"]),
    ],
    indirect=["simulator"],
)
def test_in_cocotb(
    name: str, simulator: str, tmp_path: Path, vectors: Callable[[str, int], None]
) -> None:
    engine = driver(ARRAYS[name], simulator, tmp_path)
    rng = np.random.default_rng(19)
    vectors(f"matrix engine, {simulator}", sum(run_product(engine, rng, 12, 40) for _ in range(2)))


def test_chunks_side_by_side(compiled: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    model = compiled("3x2-depth5").model
    monkeypatch.setattr(engine_driver, "CHUNK_CYCLES", 200)
    cycles: dict[int, list[int]] = {1: [], 2: [], 5: []}
    for instances, chunks in cycles.items():
        engine = EngineDriver(model, instances)
        rng = np.random.default_rng(20)
        for _ in range(8):
            run_product(engine, rng, 60, 40, chunks.append)
        assert len(chunks) > 20
        assert chunks == cycles[1]


def test_refuses_what_is_not_built(compiled: Engines) -> None:
    engine = compiled("3x2-depth5")
    codes = np.zeros((1, 1), np.uint8)
    nothing = np.zeros(1, np.int64)
    parameters = Requantization(DyBit(4), nothing, nothing, nothing)
    with pytest.raises(ValueError, match="mode must be one of W4A4, W2A2, not W8A8"):
        engine.matmul(codes, codes > 0, DyBit(8), codes, DyBit(8), parameters)
    with pytest.raises(ValueError, match="activation format must be"):
        engine.matmul(codes, codes > 0, DyBit(4, False, 2), codes, DyBit(4), parameters)
    with pytest.raises(ValueError, match="weight format must be"):
        engine.matmul(codes, codes > 0, DyBit(4), codes, DyBit(4, True, 1), parameters)
    parameters = Requantization(DyBit(8), nothing, nothing, nothing)
    with pytest.raises(ValueError, match="output format must be DyBit of 2 or 4 bits, not dybit8"):
        engine.matmul(codes, codes > 0, DyBit(4), codes, DyBit(4), parameters)
