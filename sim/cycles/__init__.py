"""The cycle model: what the accelerator takes for layers and networks, to the cycle.

Tested against the counters of the RTL, see docs/cycles.md.
"""

from __future__ import annotations

from dybit.sim.cycles.cost import AcceleratorCost, network_cycles
from dybit.sim.cycles.counts import Counts, count
from dybit.sim.cycles.layer_cycles import LayerCycles, engine_layer, layer_cycles
from dybit.sim.cycles.machine import Machine, Memory

__all__ = [
    "AcceleratorCost",
    "Counts",
    "LayerCycles",
    "Machine",
    "Memory",
    "count",
    "engine_layer",
    "layer_cycles",
    "network_cycles",
]
