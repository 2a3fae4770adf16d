"""Every input of the emitted encoder in every output format, compiled by Verilator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from dybit.hw.encoder import Encoder
from dybit.hw.verilog import emit
from dybit.sim.verilated import CompiledModel
from tests.hw.encoder_vectors import FORMATS, Output
from tests.hw.encoders import encoder_of
from tests.oracles import nearest_codes

SAMPLE = 1 << 18
"""Most numbers of one format; the largest ESB format has 2^21."""


def every_number(
    model: CompiledModel, magnitude_bits: int, output: Output, vectors: Callable[[str, int], None]
) -> None:
    # Sign, integer bits, half and sticky: the payload below the output format.
    bits = magnitude_bits + 3
    words = np.arange(1 << bits)
    if words.size > SAMPLE:
        words = np.random.default_rng(3).choice(words, SAMPLE, replace=False)
    stimulus = model.stimulus(words.size + Encoder.LATENCY)
    stimulus.set("i__valid", 1, at=slice(0, words.size))
    stimulus.set("i__payload", words | output.word << bits, at=slice(0, words.size))
    stimulus.set("o__ready", 1)
    model.reset()
    trace = model.play(stimulus)[Encoder.LATENCY :]

    magnitude = words >> 1 & (1 << magnitude_bits) - 1
    half, sticky = words >> bits - 2 & 1, words >> bits - 1 & 1
    quarters = magnitude * 4 + half * 2 + sticky
    signed_quarters = np.where(words & 1, -quarters, quarters)
    assert model.read(trace, "o__valid").all()
    np.testing.assert_array_equal(
        model.read(trace, "o__payload"), nearest_codes(signed_quarters, output.integers)
    )
    vectors("encoder, exhaustive", words.size)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CompiledModel]:
    directory = tmp_path_factory.mktemp("encoder")
    emit(Encoder(), "encoder", directory)
    with CompiledModel(directory) as model:
        yield model


@pytest.mark.rtl
@pytest.mark.parametrize("output", FORMATS, ids=str)
def test_every_number(
    output: Output, model: CompiledModel, vectors: Callable[[str, int], None]
) -> None:
    every_number(model, 15, output, vectors)


@pytest.mark.rtl
@pytest.mark.parametrize(("k4", "k8"), [(0, 3), (1, 4), (2, 6)])
def test_every_number_in_esb(
    k4: int, k8: int, tmp_path: Path, vectors: Callable[[str, int], None]
) -> None:
    built = [Output(4, True, 0, k=k4), Output(8, True, 0, k=k8)]
    dut = encoder_of(built)
    emit(dut, "encoder", tmp_path)
    with CompiledModel(tmp_path) as model:
        for output in built:
            every_number(model, dut.magnitude_bits, output, vectors)
