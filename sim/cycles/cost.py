"""What layers of a network take on an accelerator, for searches, estimates and sweeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dybit.quant.layer import INPUT
from dybit.quant.precision import PrecisionMode
from dybit.quant.workloads import LayerShape, Workload
from dybit.sim.cycles.layer_cycles import LayerCycles, layer_cycles
from dybit.sim.cycles.machine import Machine

__all__ = ["AcceleratorCost", "network_cycles"]


class AcceleratorCost:
    """Cycles of a layer alone on an accelerator, as `dybit.quant.search.CostModel` has it.

    Layers of one shape are gone through once.

    Parameters
    ----------
    machine : Machine
    batch : int
        Images run together; cycles are those of all of them.
    """

    def __init__(self, machine: Machine, batch: int = 1) -> None:
        self.machine, self.batch = machine, batch
        self._known: dict[tuple[object, ...], LayerCycles] = {}

    def __call__(self, layer: LayerShape, mode: PrecisionMode) -> int:
        """Return the cycles of a layer whose output is as wide as its input."""
        return self._alike(layer, mode, None).cycles

    def layer(
        self, layer: LayerShape, mode: PrecisionMode, output_bits: int | None = None
    ) -> LayerCycles:
        """Return what a layer takes, see `layer_cycles`; the host prepares the network's input.

        Raises
        ------
        PlanError
            If the accelerator has no room for it.
        """
        alike = self._alike(layer, mode, output_bits)
        return alike if alike.name == layer.name else replace(alike, name=layer.name)

    def _alike(
        self, layer: LayerShape, mode: PrecisionMode, output_bits: int | None
    ) -> LayerCycles:
        """Return what the first layer of this shape takes."""
        packed = layer.inputs == (INPUT,)
        shape = (layer.kind, layer.input_shape, layer.output_shape, layer.kernel, layer.stride)
        key = (*shape, layer.padding, layer.groups, mode, output_bits, packed)
        if key not in self._known:
            self._known[key] = layer_cycles(
                layer, mode, self.machine, output_bits, self.batch, packed
            )
        return self._known[key]


def network_cycles(
    workload: Workload, modes: Mapping[str, PrecisionMode], cost: AcceleratorCost
) -> list[LayerCycles]:
    """Return what the layers on the array take, each alone and one after the other.

    Parameters
    ----------
    workload : Workload
    modes : mapping of str to PrecisionMode
        Of every layer on the array.
    cost : AcceleratorCost

    Raises
    ------
    NetworkError
        If layers that read one tensor differ in its width.
    PlanError
        If the accelerator has no room for a layer.
    """
    widths = workload.widths(modes)
    return [
        # A tensor that nothing on the array reads comes as accumulators.
        cost.layer(layer, modes[layer.name], widths.get(layer.output, 0))
        for layer in workload.array_layers
    ]
