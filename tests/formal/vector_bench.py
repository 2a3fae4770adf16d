"""Vectors of the simulation suite, played on every mutant at compiled speed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from dybit.sim.verilated import CompiledModel, Stimulus
from tests.formal.mutants import SELECT

__all__ = ["Rows", "VectorBench", "stimulus_of"]

Rows = npt.NDArray[np.uint32]
Wrong = Callable[[npt.NDArray[np.intp], Rows], bool]

_FIRST = 500
"""Cycles of the first piece, in which most mutants are found; each next one is as long as all
before it."""


class VectorBench:
    """One run of vectors after a reset.

    Parameters
    ----------
    model
        The design with its mutants.
    stimulus
        What goes in.
    wrong
        What the suite compares: from the numbers of cycles and the outputs in them, as rows of
        words, to whether any is not as it must be.
    """

    def __init__(self, model: CompiledModel, stimulus: Stimulus, wrong: Wrong) -> None:
        self._model = model
        self._words = stimulus.words
        self._wrong = wrong
        select = model.inputs[SELECT]
        self._select = slice(select.offset, select.offset + 1)
        self._reference = self._play_whole()
        cycles = np.arange(len(self._words))
        assert not wrong(cycles, self._reference), "the design itself must pass"

    def finds(self, mutant: int) -> bool:
        """Return whether a comparison fails; only where the mutant shows something else it can."""
        words = self._words.copy()
        words[:, self._select] = mutant
        with self._fresh(mutant) as model:
            start = 0
            while start < len(words):
                end = min(max(_FIRST, 2 * start), len(words))
                trace = model.play(words[start:end])
                rows = np.flatnonzero((trace != self._reference[start:end]).any(axis=1))
                if len(rows) and self._wrong(rows + start, trace[rows]):
                    return True
                start = end
        return False

    def _play_whole(self) -> Rows:
        with self._fresh(0) as model:
            return model.play(self._words)

    def _fresh(self, mutant: int) -> CompiledModel:
        """Return the mutant after a reset."""
        model = self._model.twin()
        reset = model.stimulus(1)
        reset.set("rst", 1)
        reset.set(SELECT, mutant)
        model.play(reset)
        return model


def stimulus_of(model: CompiledModel, inputs: Mapping[str, Any]) -> Stimulus:
    """Return the vectors of ports, one value a cycle, or words where a port is wide."""
    stimulus = model.stimulus(len(next(iter(inputs.values()))))
    for port, values in inputs.items():
        words = model.inputs[port].words
        joined = b"".join(int(value).to_bytes(4 * words, "little") for value in values)
        stimulus.set(port, np.frombuffer(joined, "<u4").reshape(len(values), words))
    return stimulus
