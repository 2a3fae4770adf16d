"""What the cycles of a layer depend on besides the layer: the accelerator, and its memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dybit.quant.accelerator_config import AcceleratorConfig
from dybit.quant.array_config import ArrayConfig
from dybit.sim.runtime.engine_layer import Hardware

__all__ = ["BUS_BYTES", "Machine", "Memory"]

BUS_BYTES = 16
"""Bytes of a beat."""

MOST_BEAT_CYCLES = 1 << 12
MOST_LATENCY = (1 << 20) - 1


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory behind the bus.

    Parameters
    ----------
    latency : int
        Cycles from a read's address to its first beat, and from a write's last beat to its
        response.
    beat_cycles : float
        Cycles from a beat to the next, at least 1: ``16 bytes x clock / bandwidth``.
    """

    latency: int = 40
    beat_cycles: float = 1.0

    def __post_init__(self) -> None:
        if type(self.latency) is not int or not 0 <= self.latency <= MOST_LATENCY:
            raise ValueError(
                f"latency must be an integer from 0 to {MOST_LATENCY}, not {self.latency!r}"
            )
        if not 1 <= self.beat_cycles <= MOST_BEAT_CYCLES:
            raise ValueError(
                f"beat_cycles must be 1 to {MOST_BEAT_CYCLES}, not {self.beat_cycles!r}"
            )

    @classmethod
    def of_bandwidth(cls, bandwidth: float, clock: float, latency: int = 40) -> Memory:
        """Return a memory of so many bytes a second, at a clock in hertz.

        The bus takes 16 bytes a cycle at most, however fast the memory is.
        """
        if bandwidth <= 0 or clock <= 0:
            raise ValueError(f"bandwidth and clock must be positive, not {bandwidth}, {clock}")
        return cls(latency, max(1.0, BUS_BYTES * clock / bandwidth))


@dataclass(frozen=True, slots=True)
class Machine:
    """An accelerator, built or not, and its memory.

    Parameters
    ----------
    array : ArrayConfig
    accelerator : AcceleratorConfig
    latency : dict of str to int
        Of the parts, as the manifest of an accelerator gives them.
    memory : Memory
    """

    array: ArrayConfig
    accelerator: AcceleratorConfig
    latency: Mapping[str, int]
    memory: Memory = field(default_factory=Memory)

    @classmethod
    def of_manifest(cls, manifest: Mapping[str, Any], memory: Memory | None = None) -> Machine:
        """Return what a manifest describes."""
        parameters = dict(manifest["parameters"])
        accelerator = AcceleratorConfig.model_validate(parameters.pop("accelerator"))
        array = ArrayConfig.model_validate(parameters)
        return cls(array, accelerator, manifest["latency"], memory or Memory())

    @property
    def hardware(self) -> Hardware:
        """What tiles are made for."""
        return Hardware(self.array, self.accelerator)
