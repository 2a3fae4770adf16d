# amaranth: UnusedElaboratable=no
"""The tests of the encoder as a stream, run on every mutant."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from unittest.mock import patch

from dybit.hw.encoder import Encoder
from tests.formal.driven_model import DrivenModel
from tests.formal.mutants import Mutants
from tests.hw import streams, test_encoder
from tests.hw.encoder_vectors import FORMATS, Output

__all__ = ["EncoderTests"]

Test = Callable[[], object]


def _tests() -> list[Test]:
    """Return those tests of `tests.hw.test_encoder` that are of an encoder of every width.

    What they are parametrised with stands here again.
    """
    stream = test_encoder.TestStream()
    stalls = [(1.0, 1.0), (0.3, 1.0), (1.0, 0.3), (0.5, 0.5)]
    free = [Output(2, True, 1), Output(4, True, 3), Output(4, False, 4)]
    return [
        *(partial(stream.test_stalls, FORMATS, *pace) for pace in stalls),
        partial(stream.test_back_pressure_fills_the_pipeline_and_loses_nothing, FORMATS),
        partial(stream.test_latency, FORMATS),
        *(partial(stream.test_reset_in_flight, FORMATS, n) for n in range(1, 2 * Encoder.LATENCY)),
        *(partial(test_encoder.test_clamp_and_relu, output) for output in test_encoder.CLAMPED),
        *(partial(test_encoder.test_a_limit_above_the_magnitude_bits_is_none, o) for o in free),
        *(partial(test_encoder.test_thresholds, output, lambda *_: None) for output in FORMATS),
    ]


class EncoderTests:
    """Tests in Amaranth's simulator, with the compiled mutants in its place."""

    def __init__(self, mutants: Mutants) -> None:
        self._model = DrivenModel(mutants)
        assert not self.finds(0), "the design itself must pass"

    def finds(self, mutant: int) -> bool:
        """Return whether a test fails."""
        self._model.mutant = mutant
        with patch.object(streams, "_simulate", self._model.simulate):
            try:
                for test in _tests():
                    test()
            except AssertionError:
                return True
        return False
