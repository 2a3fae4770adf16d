"""What the accelerator's counters read after a run, and where its cycles went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dybit.sim.board_driver import Fields
from dybit.sim.cycles.kernel import Table, columns_of, constants, replay, tile_table
from dybit.sim.cycles.machine import Machine

__all__ = ["Counts", "count", "count_table"]

_READS = ("input", "weight", "parameter", "descriptor")


@dataclass(frozen=True, slots=True)
class Counts:
    """Cycles and traffic of a run; the first eight are the accelerator's own counters.

    Attributes
    ----------
    cycles : int
        From the start to the last result in memory.
    vectors, depthwise : int
        Vectors issued to the array and to the depthwise unit, a cycle each: the compute cycles.
    stall_weights, stall_activations, stall_results : int
        Cycles in which a pass was at hand and waited for weights, for input, or for half the
        accumulators to be read out.
    read_beats, write_beats : int
        Beats of 16 bytes on the bus.
    tiles, passes : int
        Descriptors, and passes of a tile of weights over a tile's pixels.
    weight_load : int
        Cycles in which rows of weights entered the array or the unit, most of them hidden.
    fill : int
        Cycles before the first vector.
    drain : int
        Cycles after the last vector.
    input_beats, weight_beats, parameter_beats, descriptor_beats : int
        What the beats read were.
    """

    cycles: int
    vectors: int
    depthwise: int
    stall_weights: int
    stall_activations: int
    stall_results: int
    read_beats: int
    write_beats: int
    tiles: int
    passes: int
    weight_load: int
    fill: int
    drain: int
    input_beats: int
    weight_beats: int
    parameter_beats: int
    descriptor_beats: int

    @property
    def compute(self) -> int:
        """Cycles in which a vector was issued."""
        return self.vectors + self.depthwise


def count(
    fields: Sequence[Fields], machine: Machine, base: int = 0, list_address: int = 0
) -> Counts:
    """Return what a list of descriptors takes.

    Parameters
    ----------
    fields : sequence of dict of str to int
        Of legal descriptors, such as a `Run` of a plan holds.
    machine : Machine
    base : int
        Where the addresses in `fields` count from.
    list_address : int
        Of the list.
    """
    table = tile_table(*columns_of(fields), machine, base, list_address)
    return count_table(table, constants(machine))


def count_table(table: Table, constants: Table) -> Counts:
    """Return what the tiles of a `tile_table` take, on the machine of `kernel.constants`."""
    total = replay(table, constants)
    reads = {f"{kind}_beats": total[f"{kind}_beats"] for kind in _READS}
    return Counts(
        cycles=total["cycles"],
        vectors=total["vectors"],
        depthwise=total["depthwise"],
        stall_weights=total["wait_weights"],
        stall_activations=total["wait_input"],
        stall_results=total["wait_results"],
        read_beats=sum(reads.values()),
        write_beats=total["output_beats"],
        tiles=len(table),
        passes=total["passes"],
        weight_load=total["weight_rows"],
        fill=total["begin"] - 1,
        drain=total["cycles"] - total["end"],
        **reads,
    )
