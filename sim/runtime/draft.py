"""A plan in the making: steps in order, and buffers that have no address yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from dybit.sim.board_driver import (
    DESCRIPTOR_BYTES,
    Buffer,
    Download,
    Fields,
    Host,
    Operation,
    Run,
    Step,
    Upload,
)
from dybit.sim.runtime.engine_layer import EngineLayer, Hardware
from dybit.sim.runtime.placement import Lifetime, aligned, place
from dybit.sim.runtime.tiles import tiles
from dybit.sim.runtime.tiling import Tiling

__all__ = ["Draft", "Job", "Slot"]

Shape = tuple[int, ...]


@dataclass(slots=True, eq=False)
class Slot:
    """A buffer before it has an address.

    Attributes
    ----------
    shape, pixels, bits, pixel_bytes
        As in `Buffer`.
    life : Lifetime
        In moments of the plan.
    """

    shape: Shape
    pixels: int
    bits: int
    pixel_bytes: int
    life: Lifetime

    @property
    def buffer(self) -> Buffer:
        """The buffer, with the address it has by now."""
        return Buffer(self.life.address, self.shape, self.pixels, self.bits, self.pixel_bytes)


@dataclass(slots=True)
class Job:
    """A layer in a run.

    Attributes
    ----------
    layer : EngineLayer
    tiling : Tiling
    blocks : int
        Words of R bytes in a pixel of its input.
    source, target : Slot
    weights, parameters : int
        Addresses.
    barrier : bool
        Whether it reads what a layer of the same run writes and none has waited for.
    """

    layer: EngineLayer
    tiling: Tiling
    blocks: int
    source: Slot
    target: Slot
    weights: int
    parameters: int
    barrier: bool


@dataclass(slots=True)
class _Transfer:
    """A step between host and memory."""

    kind: type[Upload] | type[Download]
    tensor: str
    slot: Slot
    shape: Shape
    fold: Operation | None = None

    @property
    def step(self) -> Step:
        buffer = replace(self.slot.buffer, shape=self.shape)
        if self.kind is Upload:
            return Upload(self.tensor, buffer, self.fold)
        return Download(self.tensor, buffer)


class Draft:
    """Steps are added in the order they will be taken.

    Layers gather in a pending run, which ends where the host needs what it makes. Steps added
    meanwhile come before it. Every layer and transfer is a moment; a buffer lives from the first
    one that writes it to the last that reads it.
    """

    def __init__(self) -> None:
        self._steps: list[Host | _Transfer | list[Job]] = []
        self._pending: list[Job] = []
        # Buffers written in the pending run since its last barrier.
        self._unstored: list[Slot] = []
        self._slots: list[Slot] = []
        self._moment = self._run_start = 0

    def slot(self, shape: Shape, pixels: int, bits: int, pixel_bytes: int) -> Slot:
        """Return a buffer whose life begins with the next step that writes it."""
        life = Lifetime(pixels * pixel_bytes, self._moment + 1, self._moment + 1)
        slot = Slot(shape, pixels, bits, pixel_bytes, life)
        self._slots.append(slot)
        return slot

    def host(self, tensor: str, inputs: tuple[str, ...], operation: Operation) -> None:
        """Add a step of the host; it must have the inputs."""
        self._steps.append(Host(tensor, inputs, operation))

    def upload(self, tensor: str, slot: Slot, shape: Shape, fold: Operation | None) -> None:
        """Add a transfer into memory."""
        self._moment += 1
        # It comes before the pending run begins.
        slot.life.first = self._run_start if self._pending else self._moment
        slot.life.last = self._moment
        self._steps.append(_Transfer(Upload, tensor, slot, shape, fold))

    def download(self, tensor: str, slot: Slot, shape: Shape) -> None:
        """Add a transfer out of memory; what was to run runs before it."""
        self.flush()
        self._moment += 1
        slot.life.last = self._moment
        self._steps.append(_Transfer(Download, tensor, slot, shape))

    def job(
        self,
        layer: EngineLayer,
        tiling: Tiling,
        blocks: int,
        source: Slot,
        target: Slot,
        addresses: tuple[int, int],
    ) -> None:
        """Add a layer to the pending run; `addresses` are those of weights and parameters."""
        self._moment += 1
        if not self._pending:
            self._run_start = self._moment
        source.life.last = target.life.first = target.life.last = self._moment
        barrier = any(slot is source for slot in self._unstored)
        if barrier:
            self._unstored.clear()
        self._unstored.append(target)
        self._pending.append(Job(layer, tiling, blocks, source, target, *addresses, barrier))

    def flush(self) -> None:
        """End the pending run."""
        if self._pending:
            self._steps.append(self._pending)
        self._pending = []
        self._unstored.clear()

    def place(self, start: int, keep: bool, hardware: Hardware) -> tuple[list[Step], int]:
        """Give lists and buffers addresses from `start` on; return the steps and where all ends.

        Parameters
        ----------
        keep : bool
            Let no two buffers share memory.
        """
        self.flush()
        lists = {}
        for step in self._steps:
            if isinstance(step, list):
                lists[id(step)] = start
                start += aligned(sum(job.tiling.count for job in step) * DESCRIPTOR_BYTES)
        if keep:
            for slot in self._slots:
                slot.life.first, slot.life.last = 0, self._moment
        end = place([slot.life for slot in self._slots], start)
        return list(self._placed(lists, hardware)), end

    def _placed(self, lists: dict[int, int], hardware: Hardware) -> Iterator[Step]:
        for step in self._steps:
            if isinstance(step, list):
                yield _run(step, lists[id(step)], hardware)
            else:
                yield step if isinstance(step, Host) else step.step


def _run(jobs: list[Job], address: int, hardware: Hardware) -> Run:
    fields: list[Fields] = []
    names: list[str] = []
    for job in jobs:
        addresses = {
            "input": job.source.life.address,
            "output": job.target.life.address,
            "weights": job.weights,
            "parameters": job.parameters,
        }
        part = list(tiles(job.layer, job.tiling, job.blocks, addresses, hardware))
        part[0]["barrier"] = int(job.barrier)
        fields += part
        names += [job.layer.name] * len(part)
    fields[-1]["last"] = 1
    return Run(address, fields, names)
