"""Products on the matrix engine, on any player, against exact ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dybit.hw.matrix_engine import MatrixEngine
from dybit.hw.verilog import emit
from dybit.quant.array_config import ArrayConfig
from dybit.quant.formats import DyBit, NumberFormat, SignMagnitude
from dybit.quant.precision import PrecisionMode
from dybit.sim.engine import MatrixEngine as EngineDriver
from dybit.sim.engine import Requantization
from dybit.sim.library import Effort
from dybit.sim.player import player_ports
from dybit.sim.verilated import CompiledModel, Stimulus
from tests.hw.players import play
from tests.oracles import dybit_integers, esb_integers, nearest_code

__all__ = ["driver", "run_largest", "run_product"]


class Elsewhere(CompiledModel):
    """The engine's Verilog, played on another simulator than the compiled model."""

    def __init__(self, array: ArrayConfig, player: str, directory: Path) -> None:
        self.manifest = json.loads((directory / "design" / "manifest.json").read_text())
        self.inputs = player_ports(self.manifest, "input")
        self.outputs = player_ports(self.manifest, "output")
        self._array, self._player, self._directory = array, player, directory

    def play(self, stimulus: Stimulus | npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        words = stimulus.words if isinstance(stimulus, Stimulus) else stimulus
        inputs = {
            name: [
                int.from_bytes(row.tobytes(), "little")
                for row in words[:, port.offset : port.offset + port.words]
            ]
            for name, port in self.inputs.items()
        }
        outputs = play(MatrixEngine(self._array), "engine", inputs, self._player, self._directory)
        trace = np.zeros((len(words), sum(p.words for p in self.outputs.values())), np.uint32)
        for name, port in self.outputs.items():
            joined = b"".join(max(0, v).to_bytes(4 * port.words, "little") for v in outputs[name])
            trace[:, port.offset : port.offset + port.words] = np.frombuffer(joined, "<u4").reshape(
                len(words), -1
            )
        return trace


def oracle(fmt: NumberFormat) -> dict[int, int]:
    """Return the integer of every code, negative zero left out."""
    if isinstance(fmt, DyBit):
        return dict(dybit_integers(fmt.bits, fmt.signed, fmt.exponent_limit))
    return dict(esb_integers(fmt.bits, fmt.to_dict()["k"]))


def integers(fmt: NumberFormat) -> npt.NDArray[np.int64]:
    table = oracle(fmt)
    return np.array([table.get(code, 0) for code in range(1 << fmt.bits)])


def output_format(array: ArrayConfig, bits: int, signed: bool, limit: int) -> SignMagnitude:
    return (
        array.activation_format(bits, True) if array.family == "esb" else DyBit(bits, signed, limit)
    )


def run_product(
    engine: EngineDriver,
    rng: np.random.Generator,
    pixels: int,
    most: int,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Run one random product; return how many results were compared."""
    array = engine.array
    mode = array.modes[rng.integers(len(array.modes))]
    signed = bool(rng.choice(array.signednesses))
    a_fmt = array.activation_format(mode.activation_bits, signed, int(rng.integers(1, 9 - signed)))
    w_fmt = array.weight_format(mode.weight_bits, int(rng.integers(1, 8)))
    shape = (int(rng.integers(1, pixels + 1)), int(rng.integers(1, most + 1)))
    outputs = int(rng.integers(1, 4 * array.columns * mode.lanes))
    a = rng.integers(0, 1 << a_fmt.bits, shape, np.uint8)
    w = rng.integers(0, 1 << w_fmt.bits, (shape[1], outputs), np.uint8)
    keep = rng.random(shape) < 0.9
    out_signed = bool(rng.choice(array.signednesses))
    out_bits = int(rng.choice(array.activation_widths))
    limit = int(rng.integers(1, out_bits - out_signed + 1))
    out = output_format(array, out_bits, out_signed, limit)
    expected = (integers(a_fmt)[a] * keep) @ integers(w_fmt)[w]
    # Parameters that bring most results into the format's range, and some out of it.
    spread = max(1, int(np.abs(expected).max()))
    multiplier = rng.integers(1, 1 << 16, outputs)
    reach = spread * multiplier / max(oracle(out).values())
    shift = np.clip(np.round(np.log2(reach)) + rng.integers(-1, 2), 0, 63).astype(np.int64)
    requantization = Requantization(
        out,
        rng.integers(-spread, spread + 1, outputs),
        multiplier,
        shift,
        bool(rng.integers(2)),
        int(rng.integers(1, 1 << out.magnitude_bits)) if rng.integers(4) == 0 else None,
    )
    result = engine.matmul(a, keep, a_fmt, w, w_fmt, requantization, progress)
    np.testing.assert_array_equal(result.accumulators, expected)
    check_codes(result.codes, expected, requantization)
    return 2 * expected.size


def run_largest(engine: EngineDriver, mode: PrecisionMode, signed: bool) -> int:
    """Run the longest reduction of the largest operands, bias filling up what the lane has left."""
    array = engine.array
    a_fmt = array.activation_format(mode.activation_bits, signed)
    w_fmt = array.weight_format(mode.weight_bits)
    a = np.full((3, array.max_reduction), (1 << a_fmt.magnitude_bits) - 1, np.uint8)
    largest_weight = (1 << w_fmt.magnitude_bits) - 1
    w = np.full((array.max_reduction, 4), largest_weight, np.uint8)
    w[:, 1::2] |= 1 << w_fmt.magnitude_bits
    sums = integers(a_fmt)[a] @ integers(w_fmt)[w]
    bound = (1 << min(array.accumulator_lane_bits(mode), 48) - 1) - 1
    widest = array.activation_widths[-1]
    out = output_format(array, widest, True, widest - 1)
    shift = max(0, bound.bit_length() - 2 * out.magnitude_bits)
    bias = np.array([bound, -bound, -bound, bound]) - sums[0]
    bias[2:] = np.clip(bias[2:], -bound, bound)
    ones = np.ones(4, np.int64)
    requantization = Requantization(out, bias, ones, ones * shift)
    result = engine.matmul(a, np.ones_like(a) > 0, a_fmt, w, w_fmt, requantization)
    np.testing.assert_array_equal(result.accumulators, sums)
    check_codes(result.codes, sums, requantization)
    return 2 * sums.size


def check_codes(
    codes: npt.NDArray[np.uint8], sums: npt.NDArray[np.int64], parameters: Requantization
) -> None:
    fmt = parameters.format
    largest = (1 << fmt.magnitude_bits) - 1
    if parameters.max_code is not None:
        largest = min(largest, parameters.max_code)
    table = {
        code: value
        for code, value in oracle(fmt).items()
        if code % (1 << fmt.magnitude_bits) <= largest
    }
    memo: dict[tuple[int, int, int], int] = {}
    for row, got in zip(sums.tolist(), codes.tolist(), strict=True):
        for n, (total, code) in enumerate(zip(row, got, strict=True)):
            numerator = (total + int(parameters.bias[n])) * int(parameters.multiplier[n])
            if parameters.relu or not fmt.signed:
                numerator = max(0, numerator)
            key = (numerator, int(parameters.shift[n]), 0)
            if key not in memo:
                memo[key] = nearest_code(numerator, 1 << key[1], table)
            assert code == memo[key], f"{total} in channel {n} gave {code}, not {memo[key]}"


def driver(array: ArrayConfig, player: str, directory: Path) -> EngineDriver:
    engine = MatrixEngine(array)
    parameters: dict[str, Any] = array.model_dump()
    emit(engine, "engine", directory / "design", parameters=parameters, latency=engine.latency)
    if player == "compiled":
        return EngineDriver(CompiledModel(directory / "design", effort=Effort.LOW))
    return EngineDriver(Elsewhere(array, player, directory), instances=1)
