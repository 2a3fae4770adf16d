"""What the self-test must find: its words, products and signatures, computed without gateware."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dybit.hw.self_test_plan import Job, SelfTestPlan
from dybit.quant.formats import SignMagnitude
from dybit.sim import golden

__all__ = ["expected_signatures", "run_job", "signature", "words"]

_MASK = 0xFFFFFFFF
_POLYNOMIAL = 0x04C11DB7
_SUM_BITS, _CODE_BITS = 48, 8


def words(bits: int) -> Iterator[int]:
    """Yield the words of the source without end: xorshift32 side by side, 32 bits each."""
    states = [0x9E3779B9 * (index + 1) & _MASK or 1 for index in range(bits // 32)]
    while True:
        yield sum(state << 32 * index for index, state in enumerate(states))
        for index, state in enumerate(states):
            state ^= state << 13 & _MASK
            state ^= state >> 17
            states[index] = state ^ (state << 5 & _MASK)


def signature(results: NDArray[Any], bits: int) -> int:
    """Return the signature of rows of integers, each integer `bits` wide, the first lowest."""
    mask, register = (1 << bits) - 1, 0
    for row in results.tolist():
        word = sum((value & mask) << bits * index for index, value in enumerate(row))
        register = register << 1 ^ (_POLYNOMIAL if register >> 31 else 0)
        register = register & _MASK ^ _fold(word)
    return register


def _fold(word: int) -> int:
    """Return the exclusive or of a word's parts of 32 bits, each turned by 7 more than the last."""
    folded, turn = 0, 0
    while word:
        part = word & _MASK
        folded ^= (part << turn | part >> (32 - turn)) & _MASK
        word, turn = word >> 32, (turn + 7) % 32
    return folded


def expected_signatures(plan: SelfTestPlan) -> list[int]:
    """Return what each mode must give: the signature of its codes above that of its sums."""
    source = words(plan.word_bits)
    found = []
    for jobs in plan.jobs:
        results = [run_job(plan, job, source) for job in jobs]
        sums = signature(np.concatenate([sums for sums, _ in results]), _SUM_BITS)
        codes = signature(np.concatenate([codes for _, codes in results]), _CODE_BITS)
        found.append(codes << 32 | sums)
    return found


def run_job(
    plan: SelfTestPlan, job: Job, source: Iterator[int]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return sums and codes of a job, a row for each drain request, a column a column."""
    array = plan.array
    mode = array.modes[job.mode]
    sums = np.zeros((plan.pixels, array.columns * mode.lanes), np.int64)
    for _ in range(plan.passes):
        weights = _weights(plan, job, [next(source) for _ in range(array.rows)])
        activations = _activations(plan, job, [next(source) for _ in range(plan.pixels)])
        sums += golden.product(activations, weights)
    bias, multiplier, shift = _parameters(plan, job, [next(source) for _ in range(mode.lanes)])
    codes = golden.requantize(
        sums, bias, multiplier, shift, job.output_format, job.relu, job.max_code
    )
    return _drained(sums, mode.lanes), _drained(codes, mode.lanes)


def _drained(results: NDArray[Any], lanes: int) -> NDArray[Any]:
    """Return (pixels, columns x lanes) as it is drained: pixel by pixel, each lane in turn."""
    pixels = len(results)
    return results.reshape(pixels, -1, lanes).transpose(0, 2, 1).reshape(pixels * lanes, -1)


def _weights(plan: SelfTestPlan, job: Job, rows: list[int]) -> NDArray[np.int64]:
    """Return the integers of a tile, (inputs, outputs); the bottom row comes first."""
    mode = plan.array.modes[job.mode]
    bits = mode.weight_bits
    codes = [
        [
            _field(word, 8 * (column * plan.array.word_bytes + channel) + bits * lane, bits)
            for column in range(plan.array.columns)
            for lane in range(mode.lanes)
        ]
        for word in reversed(rows)
        for channel in range(mode.channels)
    ]
    return _integers(job.weight_format, codes)


def _activations(plan: SelfTestPlan, job: Job, vectors: list[int]) -> NDArray[np.int64]:
    """Return the integers of the vectors, (pixels, inputs); what is not kept is 0."""
    mode, channels = plan.array.modes[job.mode], plan.array.max_channels
    bits = mode.activation_bits
    places = [(row, lane) for row in range(plan.array.rows) for lane in range(mode.channels)]
    codes = [
        [_field(word, 8 * row + bits * lane, bits) for row, lane in places] for word in vectors
    ]
    keep = [
        [_field(word, plan.keep_start + 2 * (row * channels + lane), 2) > 0 for row, lane in places]
        for word in vectors
    ]
    integers: NDArray[np.int64] = _integers(job.activation_format, codes) * np.array(keep)
    return integers


def _parameters(
    plan: SelfTestPlan, job: Job, lanes: list[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return bias, multiplier and shift of each output, column by column."""
    channels = []
    for column in range(plan.array.columns):
        for word in lanes:
            turned = word >> 8 * column % plan.word_bits
            turned |= word << plan.word_bits - 8 * column % plan.word_bits
            bias = _field(turned, 18, job.bias_bits)
            if job.bias_bits and bias >> job.bias_bits - 1:
                bias -= 1 << job.bias_bits
            multiplier = 1 << 15 if job.is_power else _field(turned, 0, 16)
            channels.append((bias, multiplier, job.shift + _field(turned, 16, 2)))
    biases, multipliers, shifts = np.array(channels, np.int64).T
    return biases, multipliers, shifts


def _field(word: int, low: int, bits: int) -> int:
    return word >> low & (1 << bits) - 1


def _integers(fmt: SignMagnitude, codes: list[list[int]]) -> NDArray[np.int64]:
    integers: NDArray[np.int64] = fmt.integers(np.array(codes, np.uint8))
    return integers
