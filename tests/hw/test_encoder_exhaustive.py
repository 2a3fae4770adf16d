"""Every input of the emitted encoder in every output format, compiled by Verilator."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from dybit.hw.encoder import Encoder
from dybit.hw.verilog import emit
from dybit.sim.verilated import CompiledModel
from tests.hw.encoder_vectors import FORMATS, Output
from tests.oracles import nearest_codes

NUMBER_BITS = 18
"""Sign, 15 integer bits, half and sticky: the payload below the output format."""


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
    words = np.arange(2**NUMBER_BITS)
    stimulus = model.stimulus(words.size + Encoder.LATENCY)
    stimulus.set("i__valid", 1, at=slice(0, words.size))
    stimulus.set("i__payload", words | output.word << NUMBER_BITS, at=slice(0, words.size))
    stimulus.set("o__ready", 1)
    model.reset()
    trace = model.play(stimulus)[Encoder.LATENCY :]

    half, sticky = words >> 16 & 1, words >> 17 & 1
    quarters = (words >> 1 & 0x7FFF) * 4 + half * 2 + sticky
    signed_quarters = np.where(words & 1, -quarters, quarters)
    assert model.read(trace, "o__valid").all()
    np.testing.assert_array_equal(
        model.read(trace, "o__payload"), nearest_codes(signed_quarters, output.integers)
    )
    vectors("encoder, exhaustive", words.size)
