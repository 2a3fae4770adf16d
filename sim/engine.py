"""Runs matrix products on the compiled matrix engine and returns everything it computed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dybit.quant.array_config import ArrayConfig
from dybit.quant.formats import DyBit, NumberFormat, SignMagnitude
from dybit.quant.precision import PrecisionMode
from dybit.sim.schedule import Schedule, plan
from dybit.sim.toolchain import usable_cores
from dybit.sim.verilated import CompiledModel, Stimulus

__all__ = ["EngineResult", "MatrixEngine", "Requantization"]

CHUNK_CYCLES = 1 << 15
"""Cycles of a chunk, roughly: a product of more is cut into chunks, which may run side by side."""


@dataclass(frozen=True, slots=True)
class Requantization:
    """Parameters that turn accumulators of N output channels into codes.

    Attributes
    ----------
    format : SignMagnitude
    bias, multiplier, shift : ndarray of shape (N,)
        ``x = (accumulator + bias) * multiplier / 2^shift`` in integers of `format`.
    relu : bool
    max_code : int, optional
        Largest magnitude code; the format's own by default.
    """

    format: SignMagnitude
    bias: NDArray[np.int64]
    multiplier: NDArray[np.integer[Any]]
    shift: NDArray[np.integer[Any]]
    relu: bool = False
    max_code: int | None = None


@dataclass(frozen=True, slots=True)
class EngineResult:
    """What came out of the engine.

    Attributes
    ----------
    accumulators : ndarray of int64, shape (M, N)
        Sums before the bias.
    codes : ndarray of uint8, shape (M, N)
    cycles : int
        Clock cycles from the first weight row to the last code.
    """

    accumulators: NDArray[np.int64]
    codes: NDArray[np.uint8]
    cycles: int


class MatrixEngine:
    """A compiled ``MatrixEngine``.

    Parameters
    ----------
    model : CompiledModel
        Its manifest's parameters are those of an `ArrayConfig`.
    instances : int, optional
        Instances of the model to run in threads; default: one for each core this process may use,
        or one alone when the model writes a trace. Results do not depend on it, nor do cycles.
    """

    def __init__(self, model: CompiledModel, instances: int | None = None) -> None:
        if instances is None:
            instances = 1 if model.traced else usable_cores()
        self.model = model
        self.array = ArrayConfig.model_validate(model.manifest["parameters"])
        self.latency: dict[str, int] = model.manifest["latency"]
        self._models: SimpleQueue[CompiledModel] = SimpleQueue()
        for instance in [model, *(model.twin() for _ in range(instances - 1))]:
            instance.reset()
            self._models.put(instance)

    def matmul(
        self,
        activations: NDArray[np.uint8],
        keep: NDArray[np.bool_],
        activation_format: SignMagnitude,
        weights: NDArray[np.uint8],
        weight_format: SignMagnitude,
        requantization: Requantization,
        progress: Callable[[int], None] | None = None,
    ) -> EngineResult:
        """Multiply codes and re-quantise the sums.

        Parameters
        ----------
        activations : ndarray of uint8, shape (M, K)
        keep : ndarray of bool, shape (M, K)
            Activations that are False enter as the value 0, whatever their code.
        activation_format, weight_format : SignMagnitude
            Must be formats of the array this engine was built as.
        weights : ndarray of uint8, shape (K, N)
        requantization : Requantization
            Its format must have the width of an activation of this array.
        progress : callable, optional
            Called with the number of cycles simulated since the last call.

        Raises
        ------
        ValueError
            If a format is not one the engine was built for.
        """
        mode = self._mode(activation_format, weight_format)
        self._check_output(requantization.format)
        pixels, reduction = activations.shape
        outputs = weights.shape[1]
        words, keeps = self._pack_activations(mode, activations, keep)
        rows = self._pack_weights(mode, weights)
        job = _Job(mode, activation_format, weight_format, words, keeps, rows, requantization)

        accumulators = np.empty((pixels, outputs), np.int64)
        codes = np.empty((pixels, outputs), np.uint8)
        cycles = 0
        block = self._pixels_in_a_chunk(mode, reduction, outputs)

        def run(first: int) -> int:
            size = min(block, pixels - first)
            schedule = plan(self.array, self.latency, mode, size, reduction, outputs)
            stimulus = self._stimulus(job, first, schedule)
            model = self._models.get()
            try:
                trace = model.play(stimulus)
            finally:
                self._models.put(model)
            self._collect(mode, schedule, trace, accumulators[first:], codes[first:])
            return schedule.cycles

        with ThreadPoolExecutor(self._models.qsize()) as pool:
            for chunk_cycles in pool.map(run, range(0, pixels, block)):
                cycles += chunk_cycles
                if progress is not None:
                    progress(chunk_cycles)
        return EngineResult(accumulators, codes, cycles)

    def _mode(
        self, activation_format: SignMagnitude, weight_format: SignMagnitude
    ) -> PrecisionMode:
        mode = PrecisionMode(weight_format.bits, activation_format.bits)
        if mode not in self.array.modes:
            built = ", ".join(built.name for built in self.array.modes)
            raise ValueError(f"mode must be one of {built}, not {mode.name}")
        expected = self.array.decoded_activation_format(activation_format)
        if activation_format.signed not in self.array.signednesses or expected != activation_format:
            raise ValueError(f"activation format must be built in, not {activation_format}")
        expected = self.array.decoded_weight_format(weight_format)
        if expected != weight_format:
            raise ValueError(f"weight format must be {expected}, not {weight_format}")
        return mode

    def _check_output(self, output_format: NumberFormat) -> None:
        if not self.array.encodes(output_format):
            raise ValueError(f"output format must be {self.array.encoded}, not {output_format}")

    def _pixels_in_a_chunk(self, mode: PrecisionMode, reduction: int, outputs: int) -> int:
        half = max(1, self.array.accumulator_depth // 2)
        cycles = plan(self.array, self.latency, mode, half, reduction, outputs).cycles
        return half * max(1, CHUNK_CYCLES // cycles)

    def _pack_activations(
        self, mode: PrecisionMode, activations: NDArray[np.uint8], keep: NDArray[np.bool_]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return words and keep masks, (M, k tiles, R) each."""
        pixels, reduction = activations.shape
        tile = self.array.rows * mode.channels
        shape = (pixels, -(-reduction // tile), self.array.rows, mode.channels)
        padded = np.zeros((pixels, shape[1] * tile), np.uint8)
        padded[:, :reduction] = np.where(keep, activations, 0)
        kept = np.zeros((pixels, shape[1] * tile), np.uint8)
        kept[:, :reduction] = keep
        return (
            _pack(padded.reshape(shape), mode.activation_bits),
            _pack(kept.reshape(shape), 1),
        )

    def _pack_weights(self, mode: PrecisionMode, weights: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return bytes (k tiles, n tiles, R, C, word bytes)."""
        reduction, outputs = weights.shape
        k_tile = self.array.rows * mode.channels
        n_tile = self.array.columns * mode.lanes
        k_tiles, n_tiles = -(-reduction // k_tile), -(-outputs // n_tile)
        padded = np.zeros((k_tiles * k_tile, n_tiles * n_tile), np.uint8)
        padded[:reduction, :outputs] = weights
        shape = (k_tiles, self.array.rows, mode.channels, n_tiles, self.array.columns, mode.lanes)
        packed = _pack(padded.reshape(shape), mode.weight_bits)
        rows = np.zeros(
            (k_tiles, n_tiles, self.array.rows, self.array.columns, self.array.word_bytes), np.uint8
        )
        rows[..., : mode.channels] = packed.transpose(0, 3, 1, 4, 2)
        return rows

    def _stimulus(self, job: _Job, first: int, schedule: Schedule) -> Stimulus:
        """Return the stimulus of one chunk, whose pixels begin at `first`."""
        array, mode = self.array, job.mode
        cycles = schedule.cycles
        ports = _Ports(
            activations=np.zeros((cycles, array.rows), np.uint8),
            keep=np.zeros((cycles, array.rows), np.uint8),
            activations_valid=np.zeros(cycles, np.uint8),
            swap=np.zeros(cycles, np.uint8),
            tag=np.zeros(cycles, np.uint32),
            weights=np.zeros((cycles, array.columns, array.word_bytes), np.uint8),
            weights_valid=np.zeros(cycles, np.uint8),
            parameters_valid=np.zeros(cycles, np.uint8),
            parameters_lane=np.zeros(cycles, np.uint8),
            drain_valid=np.zeros(cycles, np.uint8),
            drain_address=np.zeros(cycles, np.uint32),
            drain_lane=np.zeros(cycles, np.uint8),
        )
        self._stream(ports, job, first, schedule)
        self._drain(ports, mode, schedule)
        stimulus = self._set(ports, job, cycles)
        table = self._channel_parameters(mode, job.requantization)
        starts = np.array([group.parameters for group in schedule.groups])
        at = (starts[:, None] + np.arange(mode.lanes)).ravel()
        parameters = table[[group.n_tile for group in schedule.groups]]
        parameters = parameters.reshape(-1, 3, array.columns)
        for row, (name, bits) in enumerate((("bias", 48), ("multiplier", 16), ("shift", 6))):
            stimulus.set_lanes(f"parameters__{name}", parameters[:, row], bits, at)
        return stimulus

    def _stream(self, ports: _Ports, job: _Job, first: int, schedule: Schedule) -> None:
        """Set what loads weights and what multiplies vectors with them, all passes at once."""
        passes = [
            (
                *(step.load, step.start, step.k_tile, step.n_tile),
                *(group.pixels, group.first_pixel, group.address),
            )
            for group in schedule.groups
            for step in group.passes
        ]
        load, start, k_tile, n_tile, pixels, first_pixel, address = np.array(passes).T
        rows = load[:, None] + np.arange(self.array.rows)
        ports.weights_valid[rows] = 1
        ports.weights[rows] = job.rows[k_tile, n_tile, ::-1]
        number, vector = _counted(pixels)
        at = start[number] + vector
        source = first + first_pixel[number] + vector, k_tile[number]
        ports.activations_valid[at] = 1
        ports.activations[at] = job.words[source]
        ports.keep[at] = job.keep[source]
        ports.swap[start] = 1
        # The tag: the accumulator's address, and above it the flag of the first pass.
        flag = (k_tile == 0) << self._address_bits
        ports.tag[at] = (address[number] + vector) | flag[number]

    def _drain(self, ports: _Ports, mode: PrecisionMode, schedule: Schedule) -> None:
        """Set what asks for results, pixel by pixel, and for the parameters before them."""
        groups = [(x.parameters, x.drain, x.address, x.pixels) for x in schedule.groups]
        parameters, drain, address, pixels = np.array(groups).T
        lanes = parameters[:, None] + np.arange(mode.lanes)
        ports.parameters_valid[lanes] = 1
        ports.parameters_lane[lanes] = np.arange(mode.lanes)
        number, request = _counted(pixels * mode.lanes)
        at = drain[number] + request
        ports.drain_valid[at] = 1
        ports.drain_address[at] = address[number] + request // mode.lanes
        ports.drain_lane[at] = request % mode.lanes

    @property
    def _address_bits(self) -> int:
        return (max(2, self.array.accumulator_depth) - 1).bit_length()

    def _channel_parameters(
        self, mode: PrecisionMode, requantization: Requantization
    ) -> NDArray[np.int64]:
        """Return bias, multiplier and shift as (n tiles, lanes, 3, C)."""
        outputs = len(requantization.bias)
        tile = self.array.columns * mode.lanes
        table = np.zeros((3, -(-outputs // tile) * tile), np.int64)
        for row, values in enumerate(
            (requantization.bias, requantization.multiplier, requantization.shift)
        ):
            table[row, :outputs] = values
        return table.reshape(3, -1, self.array.columns, mode.lanes).transpose(1, 3, 0, 2)

    def _set(self, ports: _Ports, job: _Job, cycles: int) -> Stimulus:
        mode = self.array.modes.index(job.mode)
        stimulus = self.model.stimulus(cycles)
        constant = {
            "activations__mode": mode,
            "activations__signed": job.activation_format.signed,
            "activations__exponent_limit": _limit(job.activation_format),
            "weights__mode": mode,
            "weights__exponent_limit": _limit(job.weight_format),
            "drain__mode": mode,
            "drain__format": _format_word(job.requantization),
        }
        for name, value in constant.items():
            stimulus.set(name, int(value))
        stimulus.set("activations__valid", ports.activations_valid)
        stimulus.set_lanes("activations__word", ports.activations, 8)
        stimulus.set_lanes("activations__keep", ports.keep, self.array.max_channels)
        stimulus.set("activations__swap", ports.swap)
        stimulus.set("activations__tag", ports.tag)
        stimulus.set("weights__valid", ports.weights_valid)
        stimulus.set_lanes("weights__word", ports.weights.reshape(cycles, -1), 8)
        stimulus.set("parameters__valid", ports.parameters_valid)
        stimulus.set("parameters__lane", ports.parameters_lane)
        stimulus.set("drain__valid", ports.drain_valid)
        stimulus.set("drain__address", ports.drain_address)
        stimulus.set("drain__lane", ports.drain_lane)
        return stimulus

    def _collect(
        self,
        mode: PrecisionMode,
        schedule: Schedule,
        trace: NDArray[np.uint32],
        accumulators: NDArray[np.int64],
        codes: NDArray[np.uint8],
    ) -> None:
        """Put the trace's results where they belong; the schedule gives their order."""
        for port, bits, target in (("accumulators", 48, accumulators), ("codes", 8, codes)):
            valid = self.model.read(trace, f"{port}__valid").astype(bool)
            signed = port == "accumulators"
            values = self.model.read_lanes(trace[valid], f"{port}__data", bits, signed=signed)
            requested = sum(group.pixels for group in schedule.groups) * mode.lanes
            if len(values) != requested:
                raise RuntimeError(f"{port} gave {len(values)} results, not {requested}")
            at = 0
            for group in schedule.groups:
                size = group.pixels * mode.lanes
                tile = values[at : at + size].reshape(group.pixels, mode.lanes, -1)
                at += size
                # Output channel: column by column, each with its lanes.
                channels = tile.transpose(0, 2, 1).reshape(group.pixels, -1)
                wide = channels.shape[1]
                columns = target[group.first_pixel :][: group.pixels, group.n_tile * wide :]
                columns[:, :wide] = channels[:, : columns.shape[1]]


@dataclass(frozen=True, slots=True)
class _Job:
    mode: PrecisionMode
    activation_format: SignMagnitude
    weight_format: SignMagnitude
    words: NDArray[np.uint8]
    keep: NDArray[np.uint8]
    rows: NDArray[np.uint8]
    requantization: Requantization


@dataclass(frozen=True, slots=True)
class _Ports:
    """What the ports are given, one entry a cycle."""

    activations: NDArray[np.uint8]
    keep: NDArray[np.uint8]
    activations_valid: NDArray[np.uint8]
    swap: NDArray[np.uint8]
    tag: NDArray[np.uint32]
    weights: NDArray[np.uint8]
    weights_valid: NDArray[np.uint8]
    parameters_valid: NDArray[np.uint8]
    parameters_lane: NDArray[np.uint8]
    drain_valid: NDArray[np.uint8]
    drain_address: NDArray[np.uint32]
    drain_lane: NDArray[np.uint8]


def _counted(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each of ``counts[i]`` things the i that it belongs to and its number there."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)


def _pack(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Pack the last axis into one byte, element 0 in the least significant bits."""
    packed = np.zeros(codes.shape[:-1], np.uint8)
    for index in range(codes.shape[-1]):
        packed |= codes[..., index] << np.uint8(bits * index)
    return packed


def _format_word(requantization: Requantization) -> int:
    """Return the engine's output format: width, signed, exponent limit, ReLU, largest code."""
    fmt = requantization.format
    largest = (1 << fmt.magnitude_bits) - 1
    if requantization.max_code is not None:
        largest = min(largest, requantization.max_code)
    width = {2: 0, 4: 1, 8: 2}[fmt.bits]
    return width | fmt.signed << 2 | _limit(fmt) << 3 | requantization.relu << 7 | largest << 8


def _limit(fmt: NumberFormat) -> int:
    """Return the exponent limit for a port; formats without one do not look at it."""
    return fmt.exponent_limit if isinstance(fmt, DyBit) else 0
