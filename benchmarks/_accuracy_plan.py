"""What the accuracy benchmark compares: fixed before it is run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

__all__ = ["FULL", "METHODS", "TARGETS", "Method", "Plan", "Unit"]

VERSION = 1
"""Of what a method does; raised when results of before no longer count."""


@dataclass(frozen=True, slots=True)
class Method:
    """One way to quantise a network.

    Parameters
    ----------
    weight_bits, activation_bits : int
    trained : bool
        Whether the network is trained with its rounding, or calibrated only.
    family : str
        One of `FamilyFormats`; ``esb-aligned``, whose scales follow the standard deviation as the
        ESB paper has them; or ``brevitas-int``, ``brevitas-e2m1``.
    """

    weight_bits: int
    activation_bits: int
    trained: bool
    family: str

    @property
    def setting(self) -> str:
        """Widths and kind, such as ``W4A4 PTQ``."""
        kind = "QAT" if self.trained else "PTQ"
        return f"W{self.weight_bits}A{self.activation_bits} {kind}"

    @property
    def name(self) -> str:
        """Fit for a file name."""
        return f"{self.setting.lower().replace(' ', '-')}-{self.family}"


@dataclass(frozen=True, slots=True)
class Unit:
    """One float network: what a process takes on at a time."""

    network: str
    fold: int
    seed: int

    def folder(self, parent: Path) -> Path:
        """Return where its results are kept."""
        return parent / self.network / f"fold{self.fold}-seed{self.seed}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole of a run.

    Parameters
    ----------
    networks : tuple of str
    folds : int
        Of the cross-validation, the first so many are run.
    seeds : tuple of int
        Of initial weights, the order of images and what is drawn to augment them.
    methods : tuple of Method
    epochs, training_epochs : int
        Of the float network, and of training with the rounding.
    rounding_steps : int
        Of adaptive rounding, for each layer.
    """

    networks: tuple[str, ...]
    folds: int
    seeds: tuple[int, ...]
    methods: tuple[Method, ...]
    epochs: int
    training_epochs: int
    rounding_steps: int

    def units(self) -> Iterator[Unit]:
        """Yield the float networks to train, seed after seed, slow networks first."""
        for seed in self.seeds:
            for network in self.networks:
                yield from (Unit(network, fold, seed) for fold in range(self.folds))

    def cache(self, parent: Path) -> Path:
        """Return the folder of the results that this recipe gives."""
        recipe = [VERSION, self.epochs, self.training_epochs, self.rounding_steps]
        return parent / hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:8]

    def to_dict(self) -> dict[str, object]:
        """Return the plan as plain values."""
        return asdict(self)


FAMILIES = ("dybit", "esb", "int", "minifloat")
SETTINGS = ((8, 8, False), (4, 4, False), (4, 4, True), (2, 4, True), (2, 2, True))
_BREVITAS = ("brevitas-int", "brevitas-e2m1") if find_spec("brevitas") else ()

METHODS = (
    *(Method(*setting, family) for setting in SETTINGS for family in FAMILIES),
    *(Method(*setting, "dybit-plain") for setting in SETTINGS[:3]),
    Method(4, 4, True, "esb-aligned"),
    *(Method(4, 4, trained, family) for trained in (False, True) for family in _BREVITAS),
)

FULL = Plan(
    networks=("mobilenet", "resnet20", "cnn"),
    folds=5,
    seeds=(0, 1, 2),
    methods=METHODS,
    epochs=20,
    training_epochs=8,
    rounding_steps=150,
)
"""Five folds over all images, three seeds."""

TARGETS = {"W8A8 PTQ": 0.2, "W4A4 PTQ": 1.0, "W4A4 QAT": 0.4}
"""Most points of accuracy that DyBit may lose on average."""
