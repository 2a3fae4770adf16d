"""What a search chooses among: a mode for each layer, its cycles, its error, and who must agree.

Every layer takes one of the array's modes. Layers that read one tensor have one activation width,
so the choice is a width for each group of tensors and, within it, a weight width for each layer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dybit.quant.precision import MODES, PrecisionMode
from dybit.quant.search.errors import SearchError
from dybit.quant.search.sensitivity import Sensitivity
from dybit.quant.workloads.layer_shape import LayerShape
from dybit.quant.workloads.workload import Workload

__all__ = ["BASELINE", "Choice", "CostModel", "Problem"]

BASELINE = MODES[0]
"""The mode that speed-ups are measured from: W8A8."""


class CostModel(Protocol):
    """What layers cost. A function, or a table's look-up."""

    def __call__(self, layer: LayerShape, mode: PrecisionMode) -> int:
        """Return the cycles of one input of a layer on the array, in any of the seven modes."""


Choice = NDArray[np.intp]
"""The place of each layer's mode among `Problem.modes`."""


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Layers, modes, and what each pair costs.

    Attributes
    ----------
    name : str
        Of the workload.
    layers : tuple of str
    modes : tuple of PrecisionMode
        Those of the array, widest first.
    cycles : ndarray of int64, shape (layers, modes)
    baselines : ndarray of int64, shape (layers,)
        Cycles of each layer at W8A8, whether the array is built for it or not.
    other_cycles : int
        Cycles of all other layers, whatever the choice.
    errors : ndarray of float64, shape (layers, modes)
        What each adds to the network's error, its sum.
    allowed : ndarray of bool, shape (layers, modes)
    groups : ndarray of intp, shape (layers,)
        The group of tensors that each layer reads.
    measure : str
        Name of the error.
    """

    name: str
    layers: tuple[str, ...]
    modes: tuple[PrecisionMode, ...]
    cycles: NDArray[np.int64]
    baselines: NDArray[np.int64]
    other_cycles: int
    errors: NDArray[np.float64]
    allowed: NDArray[np.bool_]
    groups: NDArray[np.intp]
    measure: str

    def __post_init__(self) -> None:
        shape = (len(self.layers), len(self.modes))
        for field in ("cycles", "errors", "allowed"):
            found = getattr(self, field).shape
            if found != shape:
                raise SearchError(f"{field} must have shape {shape}, not {found}")
        if not (np.isfinite(self.errors).all() and (self.errors >= 0).all()):
            raise SearchError("errors must be finite and not negative")
        if (self.cycles < 0).any() or self.other_cycles < 0 or self.baseline < 1:
            raise SearchError("cycles must be integers of at least 0, and 1 in all")
        for members in self.members:
            if not self.widths_of(members).size:
                names = ", ".join(self.layers[place] for place in members)
                raise SearchError(
                    f"layers {names} read one tensor and must have modes of one activation width "
                    "in common; pin fewer of them, or build the array for more modes"
                )

    @classmethod
    def build(
        cls,
        workload: Workload,
        modes: Sequence[PrecisionMode],
        cost: CostModel,
        sensitivity: Sensitivity,
        *,
        pins: Mapping[str, PrecisionMode] | None = None,
        other_cycles: int = 0,
    ) -> Problem:
        """Return the problem of a workload on an array.

        Parameters
        ----------
        workload : Workload
        modes : sequence of PrecisionMode
            Those the array may be built for.
        cost : CostModel
        sensitivity : Sensitivity
            Of the workload's layers, in modes that hold all of these.
        pins : mapping of str to PrecisionMode, optional
            Modes of layers that are not to be chosen.
        other_cycles : int
            Cycles of what does not run on the array.

        Raises
        ------
        SearchError
            If a pin names no layer or a mode that is not among `modes`, or layers that read one
            tensor are left without a common width.
        """
        layers = workload.array_layers
        if not layers:
            raise SearchError(f"{workload.name}: must have a convolution or linear layer")
        chosen = tuple(mode for mode in MODES if mode in set(modes))
        if not chosen:
            raise SearchError("modes must not be empty")
        names = tuple(layer.name for layer in layers)
        cycles = np.array([[int(cost(layer, mode)) for mode in chosen] for layer in layers])
        return cls(
            workload.name,
            names,
            chosen,
            cycles,
            np.array([int(cost(layer, BASELINE)) for layer in layers]),
            other_cycles,
            sensitivity.contributions(names, chosen),
            _allowed(names, chosen, pins or {}),
            _places(workload, names),
            sensitivity.measure,
        )

    @property
    def baseline(self) -> int:
        """Cycles of one input at W8A8."""
        return self.other_cycles + int(self.baselines.sum())

    @property
    def members(self) -> list[NDArray[np.intp]]:
        """The layers of each group."""
        return [np.flatnonzero(self.groups == group) for group in range(self.groups.max() + 1)]

    @property
    def widths(self) -> NDArray[np.int64]:
        """Activation width of each mode."""
        return np.array([mode.activation_bits for mode in self.modes])

    def widths_of(self, members: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return the activation widths that all of some layers can have, widest first."""
        widths = sorted({mode.activation_bits for mode in self.modes}, reverse=True)
        return np.array(
            [
                bits
                for bits in widths
                if (self.allowed[members] & (self.widths == bits)).any(axis=1).all()
            ],
            dtype=np.int64,
        )

    def total_cycles(self, choice: Choice) -> int:
        """Return the cycles of one input."""
        rows = np.arange(len(self.layers))
        return self.other_cycles + int(self.cycles[rows, choice].sum())

    def speed_up(self, choice: Choice) -> float:
        """Return W8A8's cycles over these."""
        return self.baseline / max(1, self.total_cycles(choice))

    def error(self, choice: Choice) -> float:
        """Return the network's error."""
        return float(self.errors[np.arange(len(self.layers)), choice].sum())

    def check(self, choice: Choice) -> None:
        """Raise `SearchError` if layers that read one tensor differ, or a mode is not allowed."""
        for place, mode in enumerate(choice):
            if not self.allowed[place, mode]:
                raise SearchError(
                    f"{self.layers[place]}: {self.modes[mode].name} must be an allowed mode"
                )
        for members in self.members:
            if len(set(self.widths[choice[members]])) > 1:
                names = ", ".join(self.layers[place] for place in members)
                raise SearchError(f"{names}: must have one activation width; they read one tensor")

    def by_name(self, choice: Choice) -> dict[str, PrecisionMode]:
        """Return the mode of each layer."""
        return {name: self.modes[mode] for name, mode in zip(self.layers, choice, strict=True)}

    def best(self, costs: NDArray[np.float64] | NDArray[np.int64]) -> Choice:
        """Return the choice of least total of `costs`, (layers, modes), nothing else asked.

        Groups do not depend on each other then, and each takes the width that suits it best, the
        widest of equals.
        """
        masked = np.where(self.allowed, costs, np.inf)
        choice = np.zeros(len(self.layers), np.intp)
        for members in self.members:
            totals = []
            for bits in self.widths_of(members):
                part = np.where(self.widths == bits, masked[members], np.inf)
                totals.append((part.min(axis=1).sum(), part.argmin(axis=1)))
            choice[members] = min(totals, key=lambda each: each[0])[1]
        return choice

    @property
    def most_exact(self) -> Choice:
        """The choice of least error."""
        return self.best(self.errors)

    @property
    def fastest(self) -> Choice:
        """The choice of fewest cycles; of layers that cost the same in two modes, the exacter."""
        # No error outweighs a cycle: together they stay below one.
        total = self.errors.max(axis=1).sum()
        return self.best(self.cycles + self.errors / (2 * total if total else 1.0))

    def digest(self) -> str:
        """Return a hash of all that a solution depends on."""
        text = hashlib.sha256()
        modes = [mode.name for mode in self.modes]
        parts = (self.layers, modes, self.other_cycles, self.measure)
        text.update(repr(parts).encode())
        for array in (self.baselines, self.cycles, self.errors, self.allowed, self.groups):
            text.update(np.ascontiguousarray(array).tobytes())
        return text.hexdigest()


def _allowed(
    names: Sequence[str],
    modes: Sequence[PrecisionMode],
    pins: Mapping[str, PrecisionMode],
) -> NDArray[np.bool_]:
    allowed = np.ones((len(names), len(modes)), np.bool_)
    for name, pinned in pins.items():
        if name not in names:
            raise SearchError(f"pin {name}: no such layer; must be one of {', '.join(names)}")
        if pinned not in modes:
            built = ", ".join(mode.name for mode in modes)
            raise SearchError(f"pin {name}: {pinned.name} is not allowed; must be one of {built}")
        allowed[names.index(name)] &= [mode == pinned for mode in modes]
    return allowed


def _places(workload: Workload, names: Sequence[str]) -> NDArray[np.intp]:
    """Number the groups that layers read, from 0 in the order they are met."""
    reading = {name: g for g, group in enumerate(workload.groups) for name in group.readers}
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(reading[name], len(numbers)) for name in names], np.intp)
