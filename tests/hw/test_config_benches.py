"""Every block as a quant config has it built: what ``make sim CONFIG=...`` runs.

That plays each bench on every simulator. Without a config one simulator a bench shows that the
bench runs: the blocks' own tests play the same vectors on all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from dybit.hw.matrix_engine import array_encoder
from dybit.hw.operand import activation_operand, weight_operand
from dybit.hw.requantizer import Requantizer
from dybit.quant.array_config import ArrayConfig
from dybit.quant.config import QuantConfig
from tests.hw import (
    accumulator_vectors,
    element_vectors,
    engine_vectors,
    esb_decoder_vectors,
    mp_decoder_vectors,
    multiplier_vectors,
    systolic_vectors,
)
from tests.hw.cocotb_runner import ROOT, run_bench
from tests.hw.encoder_vectors import array_outputs
from tests.hw.players import COCOTB_PLAYERS, PLAYERS

RTL_CONFIGS = [QuantConfig.load(ROOT / "configs" / "sim.toml")]

ONE_PLAYER = {
    "test_decoder": "amaranth",
    "test_multiplier": "compiled",
    "test_element": "verilator",
    "test_array": "compiled",
    "test_accumulators": "amaranth",
    "test_requantizer": "verilator",
    "test_engine": "compiled",
}

Vectors = Callable[[str, int], None]

pytestmark = pytest.mark.rtl


@pytest.fixture
def array(rtl_config: QuantConfig) -> ArrayConfig:
    return rtl_config.array


@pytest.fixture
def player(request: pytest.FixtureRequest, debian_tool: Callable[[str], str]) -> str:
    name: str = request.param
    if name == "icarus":
        debian_tool("iverilog")
    return name


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    players: tuple[str, ...] = (ONE_PLAYER[metafunc.function.__name__],)
    if metafunc.config.getoption("--quant-config") is not None:
        in_cocotb = metafunc.definition.get_closest_marker("cocotb")
        players = COCOTB_PLAYERS if in_cocotb else PLAYERS
    metafunc.parametrize("player", players, indirect=True)


def test_decoder(array: ArrayConfig, player: str, tmp_path: Path, vectors: Vectors) -> None:
    weights = [weight_operand(array, byte) for byte in range(array.word_bytes)]
    decoders = esb_decoder_vectors if array.family == "esb" else mp_decoder_vectors
    for spec in dict.fromkeys([activation_operand(array), *weights]):
        decoders.run(spec, player, tmp_path, vectors)


def test_multiplier(array: ArrayConfig, player: str, tmp_path: Path, vectors: Vectors) -> None:
    if player == "compiled":
        multiplier_vectors.every_pair(array, tmp_path, vectors)
    else:
        multiplier_vectors.run(array, player, 3000, tmp_path, vectors)


def test_element(array: ArrayConfig, player: str, tmp_path: Path, vectors: Vectors) -> None:
    element_vectors.run(array, player, 200, tmp_path, vectors)


def test_array(array: ArrayConfig, player: str, tmp_path: Path, vectors: Vectors) -> None:
    tiles = {"amaranth": 30, "compiled": 300}.get(player, 60)
    systolic_vectors.run(array, player, tiles, tmp_path, vectors)


def test_accumulators(array: ArrayConfig, player: str, tmp_path: Path, vectors: Vectors) -> None:
    accumulator_vectors.run(array, player, 2000, tmp_path, vectors)


@pytest.mark.cocotb
def test_requantizer(array: ArrayConfig, player: str, tmp_path: Path, vectors: Vectors) -> None:
    bits = array.requantizer_bits
    parameters = {
        "accumulator_bits": bits,
        "sum_bits": bits,
        "formats": [asdict(output) for output in array_outputs(array)],
        "latency": Requantizer.LATENCY,
    }
    count = run_bench(
        Requantizer(bits, bits, array_encoder(array)),
        f"requantizer_{bits}",
        "requantizer_tests",
        tmp_path,
        simulator=player,
        parameters=parameters,
    )
    vectors(f"requantizer with its encoder, {player}", count)


def test_engine(array: ArrayConfig, player: str, tmp_path: Path, vectors: Vectors) -> None:
    engine = engine_vectors.driver(array, player, tmp_path)
    rng = np.random.default_rng(23)
    pixels, most, runs = {"amaranth": (60, 60, 1), "compiled": (60, 90, 25)}.get(
        player, (60, 60, 2)
    )
    most = min(most, array.max_reduction)
    compared = sum(engine_vectors.run_product(engine, rng, pixels, most) for _ in range(runs))
    vectors(f"matrix engine, {player}", compared)
