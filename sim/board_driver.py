"""Drives the accelerator: one file to copy to a board, on NumPy alone.

It reads the design's ``manifest.json`` and a plan saved by ``dybit.sim.runtime``, and imports
nothing of the project. Everything that is the same on every device is here: plans, packed
tensors, the steps of the host, and `Device`, from which the golden model and the simulated
hardware derive too.

Python 3.10 and NumPy 1.21 will do, as PYNQ has them.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ERRORS",
    "IMAGES",
    "BoardDevice",
    "Buffer",
    "Device",
    "Download",
    "EngineError",
    "Host",
    "Mapping32",
    "Plan",
    "PlanError",
    "RegisterDevice",
    "Report",
    "ReservedMemory",
    "Result",
    "Run",
    "UioInterrupt",
    "Upload",
    "encode_descriptor",
    "load_manifest",
    "pack",
    "unpack",
]

Array = NDArray[Any]
Fields = dict[str, int]
Operation = dict[str, Any]

IMAGES = "images"
"""What `Device.run` is given, as steps name it."""

ERRORS = (
    "no error",
    "illegal descriptor",
    "a list without its end",
    "SLVERR on a read",
    "DECERR on a read",
    "SLVERR on a write",
    "DECERR on a write",
)
"""What the codes of the ERROR register mean."""

ADDRESSES = ("input_address", "weights_address", "parameters_address", "output_address")
"""Fields of a descriptor that a plan counts from its own beginning."""

ALIGNMENT = 4096
DESCRIPTOR_BYTES = 128
REGISTER_BYTES = 4096
MAGIC, HARDWARE_VERSION = 0x44594254, 1
PLAN_FILE, IMAGE_FILE = "plan.json", "image.bin"
VERSION = 1


class PlanError(ValueError):
    """A network or plan that the hardware at hand cannot run; the message is one line."""


class EngineError(RuntimeError):
    """The accelerator ended a run with an error.

    Attributes
    ----------
    report : Report
    """

    def __init__(self, report: Report) -> None:
        super().__init__(
            f"{ERRORS[report.error]} (error {report.error}, detail {report.detail}) "
            f"at descriptor {report.descriptor}"
        )
        self.report = report


# Tensors in memory


def pack(codes: Array, bits: int, pixel_bytes: int) -> NDArray[np.uint8]:
    """Return codes (pixels, channels) as memory holds them, (pixels, pixel_bytes).

    Channels are packed at their own width, the first in the least significant bits; bytes that
    are left over are 0.
    """
    in_byte = 8 // bits
    padded = np.zeros((len(codes), pixel_bytes * in_byte), np.uint8)
    padded[:, : codes.shape[1]] = codes
    packed = np.zeros((len(codes), pixel_bytes), np.uint8)
    for place in range(in_byte):
        packed |= padded[:, place::in_byte] << np.uint8(bits * place)
    return packed


def unpack(memory: Array, bits: int, channels: int) -> Array:
    """Return what `pack` was given; 32 and 64 bits are accumulators, which come as int64."""
    if bits > 8:
        sums = np.ascontiguousarray(memory).view(f"<i{bits // 8}")
        return sums[:, :channels].astype(np.int64)
    in_byte, mask = 8 // bits, np.uint8((1 << bits) - 1)
    codes = np.empty((len(memory), memory.shape[1] * in_byte), np.uint8)
    for place in range(in_byte):
        codes[:, place::in_byte] = memory >> np.uint8(bits * place) & mask
    return codes[:, :channels]


def encode_descriptor(fields: Mapping[str, int], table: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the bytes of a descriptor.

    Parameters
    ----------
    fields : dict of str to int
    table : list of dict
        The manifest's ``descriptor``: name, word, low and bits of every field.
    """
    value = 0
    for entry in table:
        number = fields[entry["name"]]
        if not 0 <= number < 1 << entry["bits"]:
            raise PlanError(f"{entry['name']} must fit {entry['bits']} bits, not {number}")
        value |= number << (32 * entry["word"] + entry["low"])
    return value.to_bytes(DESCRIPTOR_BYTES, "little")


# Plans


@dataclass(frozen=True)
class Buffer:
    """A tensor in memory: pixels of all images of a batch, one after the other.

    Attributes
    ----------
    address : int
        Counted from the plan's first byte.
    shape : tuple of int
        Of one image; the last axis is the channels.
    pixels : int
        Of all images of a batch.
    bits : int
        Width of a code, or of an accumulator: 32 or 64.
    pixel_bytes : int
    """

    address: int
    shape: tuple[int, ...]
    pixels: int
    bits: int
    pixel_bytes: int

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return self.pixels * self.pixel_bytes


@dataclass(frozen=True)
class Upload:
    """Puts a tensor into a buffer.

    Attributes
    ----------
    fold : dict, optional
        Kernel, stride and padding of the windows whose pixels become the channels of one.
    """

    tensor: str
    buffer: Buffer
    fold: Operation | None = None


@dataclass(frozen=True)
class Run:
    """Has the accelerator work through a list of tiles.

    Attributes
    ----------
    address : int
        Of the list, counted from the plan's first byte.
    tiles : list of dict
        Fields of the descriptors.
    layers : list of str
        The layer of each tile.
    """

    address: int
    tiles: list[Fields]
    layers: list[str]


@dataclass(frozen=True)
class Download:
    """Fetches a tensor from its buffer."""

    tensor: str
    buffer: Buffer


@dataclass(frozen=True)
class Host:
    """Computes a tensor from others, here.

    Attributes
    ----------
    operation : dict
        Its kind and what that kind takes.
    """

    tensor: str
    inputs: tuple[str, ...]
    operation: Operation


Step = Upload | Run | Download | Host
STEPS: dict[str, type[Any]] = {"upload": Upload, "run": Run, "download": Download, "host": Host}


@dataclass(frozen=True)
class Plan:
    """A network as the accelerator runs it: constants in memory, and steps.

    Attributes
    ----------
    name : str
    parameters : dict
        What the hardware is built with, as its manifest says it.
    batch : int
        Images run together.
    input_shape : tuple of int
        Of an image.
    steps : list of Upload, Run, Download and Host
    output : str
        The tensor that is the result.
    tensors : dict of str to Buffer
        Where tensors lie after a batch, if nothing else takes their place.
    size : int
        Bytes of memory it takes.
    layers : list of dict
        What `describe` tells of each layer.
    constants : bytes
        Weights and parameters, from the first byte on.
    """

    name: str
    parameters: dict[str, Any]
    batch: int
    input_shape: tuple[int, ...]
    steps: list[Step]
    output: str
    tensors: dict[str, Buffer]
    size: int
    layers: list[dict[str, Any]]
    constants: bytes = field(repr=False)

    @property
    def runs(self) -> list[Run]:
        """The steps on the accelerator."""
        return [step for step in self.steps if isinstance(step, Run)]

    def describe(self) -> str:
        """Return the plan as a table: where each layer runs, its tiles, cycles and bytes."""
        head = [
            "layer",
            "on",
            "mode",
            "tiles",
            "tile",
            "cycles",
            "constant_bytes",
            "input_bytes",
            "output_bytes",
        ]
        rows = [head, *([str(row.get(name, "")) for name in head] for row in self.layers)]
        widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
        lines = [
            "  ".join(
                cell.ljust(width) if place < 3 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        total = sum(row.get("cycles", 0) for row in self.layers)
        return "\n".join(
            [
                *lines,
                f"{len(self.runs)} runs, about {total} cycles for {self.batch} images, "
                f"{len(self.constants)} bytes of constants, {self.size} bytes in all",
            ]
        )

    def save(self, directory: str | Path) -> None:
        """Write the plan to a folder, ``plan.json`` last; equal plans give equal bytes."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        table = {key: value for key, value in vars(self).items() if key != "constants"}
        names = {kind: name for name, kind in STEPS.items()}
        table["steps"] = [{"step": names[type(step)], **asdict(step)} for step in self.steps]
        table["tensors"] = {name: asdict(buffer) for name, buffer in self.tensors.items()}
        (folder / PLAN_FILE).unlink(missing_ok=True)
        (folder / IMAGE_FILE).write_bytes(self.constants)
        text = json.dumps({"version": VERSION, **table}, separators=(",", ":"))
        (folder / PLAN_FILE).write_text(text + "\n")

    @classmethod
    def load(cls, directory: str | Path) -> Plan:
        """Return the plan in a folder."""
        folder = Path(directory)
        try:
            table = json.loads((folder / PLAN_FILE).read_text())
            constants = (folder / IMAGE_FILE).read_bytes()
        except (OSError, ValueError) as error:
            raise PlanError(f"{folder}: no saved plan: {error}") from None
        version = table.pop("version", None)
        if version != VERSION:
            raise PlanError(f"{folder}: version must be {VERSION}, not {version!r}; compile again")
        table["steps"] = [_step(entry) for entry in table["steps"]]
        table["tensors"] = {name: _buffer(entry) for name, entry in table["tensors"].items()}
        table["input_shape"] = tuple(table["input_shape"])
        return cls(constants=constants, **table)


def _buffer(entry: dict[str, Any]) -> Buffer:
    return Buffer(**{**entry, "shape": tuple(entry["shape"])})


def _step(entry: dict[str, Any]) -> Step:
    fields = dict(entry)
    kind = STEPS[fields.pop("step")]
    if "buffer" in fields:
        fields["buffer"] = _buffer(fields["buffer"])
    if "inputs" in fields:
        fields["inputs"] = tuple(fields["inputs"])
    step: Step = kind(**fields)
    return step


def load_manifest(manifest: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    """Return a manifest: a dict as it is, else that of a folder of `make verilog`."""
    if isinstance(manifest, Mapping):
        return dict(manifest)
    path = Path(manifest)
    loaded: dict[str, Any] = json.loads(
        (path / "manifest.json" if path.is_dir() else path).read_text()
    )
    return loaded


# Devices


@dataclass(frozen=True)
class Report:
    """How a list of descriptors ended.

    Attributes
    ----------
    error : int
        0, or an index of `ERRORS`.
    detail : int
        Of an illegal descriptor: the number of the rule it breaks.
    descriptor : int
        Index of the descriptor at hand.
    counters : dict of str to int
        By name, as the registers have them.
    """

    error: int
    detail: int
    descriptor: int
    counters: dict[str, int]


@dataclass(frozen=True)
class Result:
    """What a network made of images.

    Attributes
    ----------
    outputs : ndarray of float64, shape (N, ...)
        Of the last layer.
    tensors : dict of str to ndarray
        Codes or accumulators of the tensors asked for.
    counters : list of dict of str to int
        Of each run in the plan, summed over the batches.
    """

    outputs: NDArray[np.float64]
    tensors: dict[str, Array]
    counters: list[dict[str, int]]

    @property
    def predictions(self) -> NDArray[np.intp]:
        """Index of the largest output of each image."""
        best: NDArray[np.intp] = np.argmax(self.outputs, axis=-1)
        return best


class Device(ABC):
    """An accelerator and its memory.

    Parameters
    ----------
    manifest : dict or path
        Of the design: its ``parameters`` and the ``descriptor`` layout matter here.
    """

    def __init__(self, manifest: Mapping[str, Any] | str | Path) -> None:
        self.manifest = load_manifest(manifest)
        self._plan: Plan | None = None
        self._base = 0
        self._functions: dict[str, Callable[..., Array]] = {}

    @abstractmethod
    def allocate(self, size: int) -> int:
        """Return the address, a multiple of 4,096, of `size` bytes of memory to use."""

    @abstractmethod
    def write(self, address: int, data: Array) -> None:
        """Write bytes to memory."""

    @abstractmethod
    def read(self, address: int, size: int) -> NDArray[np.uint8]:
        """Return a copy of bytes of memory."""

    @abstractmethod
    def execute(self, address: int, length: int) -> Report:
        """Work through the list of `length` descriptors at `address`."""

    def operations(self) -> Mapping[str, Callable[..., Callable[..., Array]]]:
        """Return what the host can compute, as `OPERATIONS`."""
        return OPERATIONS

    def load(self, plan: Plan) -> int:
        """Put a plan's constants and lists into memory; return the address of its first byte."""
        if plan is self._plan:
            return self._base
        if plan.parameters != self.manifest["parameters"]:
            raise PlanError(
                f"{plan.name}: parameters must be those of the design at hand, "
                f"not {_differences(plan.parameters, self.manifest['parameters'])}; compile again"
            )
        known = self.operations()
        self._plan = None
        self._functions = {
            step.tensor: _function(step, known) for step in plan.steps if isinstance(step, Host)
        }
        base = self._base = self.allocate(plan.size)
        self.write(base, np.frombuffer(plan.constants, np.uint8))
        for run in plan.runs:
            self.write(base + run.address, self.descriptors(run.tiles, base))
        self._plan = plan
        return base

    def descriptors(self, tiles: Iterable[Fields], base: int) -> NDArray[np.uint8]:
        """Return a list of descriptors whose addresses are counted from `base`."""
        moved = ({**tile, **{name: tile[name] + base for name in ADDRESSES}} for tile in tiles)
        table = self.manifest["descriptor"]
        return np.frombuffer(b"".join(encode_descriptor(tile, table) for tile in moved), np.uint8)

    def run(
        self,
        plan: Plan,
        images: Array,
        progress: Callable[[int, int], None] | None = None,
        tensors: Sequence[str] = (),
    ) -> Result:
        """Run images through a network.

        Parameters
        ----------
        plan : Plan
        images : ndarray of float32 or float64, shape (N, *plan.input_shape)
            Channels last.
        progress : callable, optional
            Called after each step with the number of steps done and of all.
        tensors : sequence of str
            Layers whose codes, or accumulators, are wanted too; the plan must keep them.

        Raises
        ------
        EngineError
            If the accelerator ends with an error.
        """
        images = np.asarray(images)
        if images.dtype not in (np.float32, np.float64):
            raise TypeError(f"images must be float32 or float64, not {images.dtype}")
        if images.shape[1:] != plan.input_shape or not len(images):
            expected = ", ".join(("N", *map(str, plan.input_shape)))
            raise ValueError(f"images must have shape ({expected}), not {images.shape}")
        self.load(plan)
        starts = range(0, len(images), plan.batch)
        total, done = len(starts) * len(plan.steps), 0
        counters: list[dict[str, int]] = [{} for _ in plan.runs]
        parts: dict[str, list[Array]] = {name: [] for name in (plan.output, *tensors)}
        for start in starts:
            part = images[start : start + plan.batch]
            spare = plan.batch - len(part)
            full = np.concatenate([part, np.zeros((spare, *part.shape[1:]), part.dtype)])
            values = {IMAGES: full}
            reports = []
            for step in plan.steps:
                if isinstance(step, Run):
                    reports.append(self._run(step))
                else:
                    self._take(step, values, plan.batch)
                done += 1
                if progress is not None:
                    progress(done, total)
            for sums, report in zip(counters, reports, strict=True):
                for name, count in report.counters.items():
                    sums[name] = sums.get(name, 0) + count
            for name, pieces in parts.items():
                if name not in values:
                    values[name] = self._fetch(self._kept(plan, name), plan.batch)
                pieces.append(values[name][: len(part)])
        found = {name: np.concatenate(pieces) for name, pieces in parts.items()}
        return Result(found[plan.output], {name: found[name] for name in tensors}, counters)

    def _run(self, run: Run) -> Report:
        report = self.execute(self._base + run.address, len(run.tiles))
        if report.error:
            raise EngineError(report)
        return report

    def _take(self, step: Upload | Download | Host, values: dict[str, Array], batch: int) -> None:
        if isinstance(step, Upload):
            codes = values[step.tensor]
            if step.fold is not None:
                codes = windows(codes, **step.fold)
            buffer = step.buffer
            rows = codes.reshape(buffer.pixels, -1)
            packed = pack(rows, buffer.bits, buffer.pixel_bytes)
            self.write(self._base + buffer.address, packed.reshape(-1))
        elif isinstance(step, Download):
            values[step.tensor] = self._fetch(step.buffer, batch)
        else:
            inputs = [values[name] for name in step.inputs]
            values[step.tensor] = self._functions[step.tensor](*inputs)

    def _fetch(self, buffer: Buffer, batch: int) -> Array:
        memory = self.read(self._base + buffer.address, buffer.size)
        rows = unpack(memory.reshape(buffer.pixels, -1), buffer.bits, buffer.shape[-1])
        return rows.reshape(batch, *buffer.shape)

    @staticmethod
    def _kept(plan: Plan, name: str) -> Buffer:
        if name not in plan.tensors:
            raise PlanError(f"{name} is not kept: compile with keep=True")
        return plan.tensors[name]


def _function(step: Host, known: Mapping[str, Callable[..., Any]]) -> Callable[..., Array]:
    """Return what computes a step of the host."""
    fields = dict(step.operation)
    kind = fields.pop("kind")
    if kind not in known:
        raise PlanError(f"{step.tensor}: {kind} must be one of {', '.join(known)} on this device")
    function: Callable[..., Array] = known[kind](**fields)
    return function


def _differences(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    names = sorted(n for n in {*given, *wanted} if given.get(n) != wanted.get(n))
    return ", ".join(f"{name} {given.get(name)!r}" for name in names)


class RegisterDevice(Device):
    """A device behind the registers that its manifest lists.

    Members
    -------
    registers : dict of str to int
        Offsets by name.
    """

    def __init__(self, manifest: Mapping[str, Any] | str | Path) -> None:
        super().__init__(manifest)
        self.registers = {entry["name"]: entry["offset"] for entry in self.manifest["registers"]}

    @abstractmethod
    def read_register(self, offset: int) -> int:
        """Return a register."""

    @abstractmethod
    def write_register(self, offset: int, value: int) -> None:
        """Set a register."""

    @abstractmethod
    def wait(self) -> None:
        """Return when the interrupt is up."""

    def get(self, name: str) -> int:
        """Return a register by name."""
        return self.read_register(self.registers[name])

    def set(self, name: str, value: int) -> None:
        """Set a register by name."""
        self.write_register(self.registers[name], value)

    def identify(self) -> None:
        """Make sure that the hardware is what the manifest describes.

        Raises
        ------
        PlanError
            If it is not.
        """
        text = json.dumps(self.manifest["parameters"], sort_keys=True, separators=(",", ":"))
        for name, wanted in (
            ("MAGIC", MAGIC),
            ("VERSION", HARDWARE_VERSION),
            ("CONFIGURATION", zlib.crc32(text.encode())),
        ):
            found = self.get(name)
            if found != wanted:
                raise PlanError(
                    f"register {name} must be {wanted:#x}, as the manifest says, not {found:#x}; "
                    "load the bitstream that the manifest belongs to"
                )

    def start(self, address: int, length: int) -> None:
        """Begin with a list; `wait` and `report` see to the rest."""
        self.set("LIST_LOW", address & 0xFFFFFFFF)
        self.set("LIST_HIGH", address >> 32)
        self.set("LIST_LENGTH", length)
        self.set("GIE", 1)
        self.set("IER", 1)
        self.set("CTRL", 1)

    def report(self) -> Report:
        """Take down the interrupt of a run that is over, and return how it ended."""
        self.set("ISR", self.get("ISR"))
        self.get("CTRL")  # reading clears what says that it is done
        error = self.get("ERROR")
        counters = {}
        for name in self.registers:
            if name.endswith("_LOW") and name != "LIST_LOW":
                counter = name[: -len("_LOW")]
                low = self.get(name)
                counters[counter.lower()] = low | self.get(f"{counter}_HIGH") << 32
        return Report(error & 255, error >> 8 & 255, self.get("ERROR_DESCRIPTOR"), counters)

    def execute(self, address: int, length: int) -> Report:
        """Work through the list of `length` descriptors at `address`."""
        self.start(address, length)
        self.wait()
        return self.report()


# Boards


class Mapping32:
    """Registers, or memory, in a file of the system that can be mapped: /dev/mem, /dev/uio0.

    Parameters
    ----------
    path : path
    size : int
        Bytes to map.
    offset : int
        Of the first in the file; a multiple of the page size.

    Members
    -------
    content : ndarray of uint8
    """

    def __init__(self, path: str | Path, size: int, offset: int = 0) -> None:
        # Not through the cache: what the accelerator writes is seen, and it sees what we write.
        file = os.open(path, os.O_RDWR | os.O_SYNC)
        try:
            self._map = mmap.mmap(file, size, offset=offset)
        finally:
            os.close(file)
        self.content = np.frombuffer(self._map, np.uint8)
        self._words = np.frombuffer(self._map, np.uint32, size // 4)

    def read(self, offset: int) -> int:
        """Return a word of 32 bits."""
        return int(self._words[offset // 4])

    def write(self, offset: int, value: int) -> None:
        """Write a word of 32 bits."""
        self._words[offset // 4] = value


class ReservedMemory:
    """Memory that the system leaves to the accelerator.

    Parameters
    ----------
    content : ndarray of uint8
        As this processor sees it.
    address : int
        Of its first byte, as the accelerator sees it.
    """

    def __init__(self, content: NDArray[np.uint8], address: int) -> None:
        self._content = content
        self._address = address

    def allocate(self, size: int) -> int:
        """Return an address for `size` bytes; each call takes back what the last one gave."""
        base = -(-self._address // ALIGNMENT) * ALIGNMENT
        self._place(base, size)
        return base

    def write(self, address: int, data: Array) -> None:
        """Write bytes."""
        self._content[self._place(address, len(data))] = data

    def read(self, address: int, size: int) -> NDArray[np.uint8]:
        """Return a copy of bytes."""
        return self._content[self._place(address, size)].copy()

    def _place(self, address: int, size: int) -> slice:
        start = address - self._address
        if start < 0 or start + size > len(self._content):
            raise PlanError(
                f"{size} bytes at {address:#x} must lie in the {len(self._content)} bytes "
                f"at {self._address:#x}; reserve more memory"
            )
        return slice(start, start + size)


class PynqMemory:
    """Memory that PYNQ allocates, anew for each plan."""

    def __init__(self, allocate: Callable[..., Any]) -> None:
        self._allocate = allocate
        self._buffer: Any = None
        self._inner = ReservedMemory(np.zeros(0, np.uint8), 0)

    def allocate(self, size: int) -> int:
        """Return the address of `size` bytes."""
        if self._buffer is not None:
            self._buffer.freebuffer()
        self._buffer = self._allocate(shape=(size + ALIGNMENT,), dtype=np.uint8)
        self._inner = ReservedMemory(self._buffer, self._buffer.device_address)
        return self._inner.allocate(size)

    def write(self, address: int, data: Array) -> None:
        """Write bytes, for the accelerator to see."""
        self._inner.write(address, data)
        self._buffer.flush()

    def read(self, address: int, size: int) -> NDArray[np.uint8]:
        """Return a copy of bytes as the accelerator has left them."""
        self._buffer.invalidate()
        return np.asarray(self._inner.read(address, size))


class UioInterrupt:
    """Waits for the interrupt of a UIO device."""

    def __init__(self, path: str | Path) -> None:
        self._file = os.open(path, os.O_RDWR)

    def arm(self) -> None:
        """Let the next interrupt through."""
        os.write(self._file, (1).to_bytes(4, "little"))

    def wait(self, seconds: float) -> None:
        """Return when one has come, or the time is over."""
        if select.select([self._file], [], [], seconds)[0]:
            os.read(self._file, 4)

    def __del__(self) -> None:
        os.close(self._file)


class BoardDevice(RegisterDevice):
    """An accelerator on a board.

    Parameters
    ----------
    manifest : dict or path
        That of the bitstream loaded.
    registers
        Has ``read(offset)`` and ``write(offset, value)``, as `Mapping32` and PYNQ's ``MMIO`` do.
    memory
        Has ``allocate``, ``write`` and ``read``, as `ReservedMemory` does.
    interrupt : UioInterrupt, optional
        What to sleep on; the registers are polled without.
    timeout : float
        Seconds after which a run counts as hung.

    Raises
    ------
    PlanError
        If the bitstream is not the manifest's.
    """

    def __init__(
        self,
        manifest: Mapping[str, Any] | str | Path,
        registers: Any,
        memory: Any,
        interrupt: UioInterrupt | None = None,
        timeout: float = 60.0,
    ) -> None:
        super().__init__(manifest)
        self._registers = registers
        self._memory = memory
        self._interrupt = interrupt
        self._timeout = timeout
        self.identify()

    @classmethod
    def pynq(cls, manifest: Mapping[str, Any] | str | Path, address: int) -> BoardDevice:
        """Return the accelerator of the overlay loaded; `address` is its ``phys_addr``."""
        import pynq

        return cls(manifest, pynq.MMIO(address, REGISTER_BYTES), PynqMemory(pynq.allocate))

    @classmethod
    def dev_mem(
        cls,
        manifest: Mapping[str, Any] | str | Path,
        registers: int,
        memory: int,
        size: int,
        path: str | Path = "/dev/mem",
    ) -> BoardDevice:
        """Return the accelerator whose `registers` and reserved `memory` lie at these addresses."""
        region = ReservedMemory(Mapping32(path, size, memory).content, memory)
        return cls(manifest, Mapping32(path, REGISTER_BYTES, registers), region)

    @classmethod
    def uio(
        cls,
        manifest: Mapping[str, Any] | str | Path,
        device: str | Path = "/dev/uio0",
        buffer: str | Path = "/dev/udmabuf0",
        attributes: str | Path = "/sys/class/u-dma-buf/udmabuf0",
    ) -> BoardDevice:
        """Return the accelerator of a UIO device, its memory from u-dma-buf."""
        address, size = (
            int((Path(attributes) / name).read_text(), 0) for name in ("phys_addr", "size")
        )
        region = ReservedMemory(Mapping32(buffer, size).content, address)
        return cls(manifest, Mapping32(device, REGISTER_BYTES), region, UioInterrupt(device))

    def allocate(self, size: int) -> int:
        """Return the address of `size` bytes of memory to use."""
        address: int = self._memory.allocate(size)
        return address

    def write(self, address: int, data: Array) -> None:
        """Write bytes to memory."""
        self._memory.write(address, data)

    def read(self, address: int, size: int) -> NDArray[np.uint8]:
        """Return a copy of bytes of memory."""
        found: NDArray[np.uint8] = self._memory.read(address, size)
        return found

    def read_register(self, offset: int) -> int:
        """Return a register."""
        return int(self._registers.read(offset))

    def write_register(self, offset: int, value: int) -> None:
        """Set a register."""
        self._registers.write(offset, value)

    def wait(self) -> None:
        """Return when the interrupt is up."""
        end = time.monotonic() + self._timeout
        while not self.get("ISR"):
            left = end - time.monotonic()
            if left < 0:
                raise TimeoutError(
                    f"no interrupt in {self._timeout} seconds (STATUS {self.get('STATUS'):#x})"
                )
            if self._interrupt is not None:
                self._interrupt.arm()
                if not self.get("ISR"):  # it may have come before
                    self._interrupt.wait(left)


# Steps of the host


def windows(
    x: Array, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> Array:
    """Return the windows of (N, H, W, C) as pixels (N, OH, OW, kh kw C); padding is 0."""
    down, across = padding
    padded = np.pad(x, ((0, 0), (down, down), (across, across), (0, 0)))
    cut = np.lib.stride_tricks.sliding_window_view(padded, tuple(kernel), (1, 2))
    cut = cut[:, :: stride[0], :: stride[1]].transpose(0, 1, 2, 4, 5, 3)
    return cut.reshape(*cut.shape[:3], -1)


def _reduced(
    combine: Callable[..., Array],
    x: Array,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    fill: Any,
) -> Array:
    """Return all elements of each window of (N, H, W, C), combined two by two."""
    pads = ((0, 0), *((pad, pad) for pad in padding), (0, 0))
    padded = np.pad(x, pads, constant_values=fill)
    spans = [
        (extent - size) // step * step + 1
        for extent, size, step in zip(padded.shape[1:3], kernel, stride, strict=True)
    ]
    parts = (
        padded[:, y : y + spans[0] : stride[0], across : across + spans[1] : stride[1]]
        for y in range(kernel[0])
        for across in range(kernel[1])
    )
    result: Array = np.array(next(parts))
    for part in parts:
        combine(result, part, out=result)
    return result


def _requantizer(
    shift: int, thresholds: Sequence[int], codes: Sequence[int], ranks: Sequence[int], relu: bool
) -> Callable[[Array], Array]:
    """Return what encodes integers over ``2^shift``, a tie decided by the table.

    Parameters
    ----------
    thresholds : sequence of int
        The least ``2 floor(2x) + sticky`` that rounds up to each value but the first.
    codes : sequence of int
        Of the values, in increasing order.
    ranks : pair of int
        Of the smallest and the largest value to give.
    """
    table, by_rank = np.asarray(thresholds, np.int64), np.asarray(codes, np.uint8)
    down, limit = max(shift - 1, 0), 1 << 60

    def requantize(product: Array) -> Array:
        if relu:
            product = np.maximum(product, 0)
        floor = product >> down
        sticky = (floor << down) != product
        floor = np.clip(floor, -limit, limit) << int(shift == 0)
        rank = np.searchsorted(table, 2 * floor + sticky, side="right")
        result: Array = by_rank[np.clip(rank, ranks[0], ranks[1])]
        return result

    return requantize


def _encode(
    scale: float, thresholds: Mapping[str, Sequence[float]], codes: Sequence[int]
) -> Callable[..., Array]:
    """Encode real numbers; a threshold is the largest below a change of code."""
    tables = {name: np.asarray(values, name) for name, values in thresholds.items()}
    by_rank = np.asarray(codes, np.uint8)

    def encode(images: Array) -> Array:
        if np.isnan(images).any():
            raise ValueError("images must not hold NaN")
        scaled = images / images.dtype.type(scale)
        result: Array = by_rank[np.searchsorted(tables[str(images.dtype)], scaled, side="left")]
        return result

    return encode


def _reals() -> Callable[..., Array]:
    return lambda images: images.astype(np.float64)


def _decode(integers: Sequence[int], unit: float) -> Callable[..., Array]:
    table = np.asarray(integers, np.float64) * unit
    return lambda codes: table[codes]


def _scale(bias: Sequence[int], scale: Sequence[float]) -> Callable[..., Array]:
    """Make real numbers of accumulators, by channel."""
    offsets, factors = np.asarray(bias, np.int64), np.asarray(scale, np.float64)
    return lambda sums: (sums + offsets) * factors


def _max_pool(ranks: Sequence[int], codes: Sequence[int], **window: Any) -> Callable[..., Array]:
    """Take the largest value of each window; rank 0 pads and beats none."""
    of_code, by_rank = np.asarray(ranks, np.uint8), np.asarray(codes, np.uint8)
    return lambda x: by_rank[_reduced(np.maximum, of_code[x], **window, fill=0)]


def _max_pool_reals(**window: Any) -> Callable[..., Array]:
    return lambda x: _reduced(np.maximum, x, **window, fill=-np.inf)


def _average_pool(
    integers: Sequence[int],
    multiplier: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    **requantization: Any,
) -> Callable[..., Array]:
    table, requantize = np.asarray(integers, np.int64), _requantizer(**requantization)
    return lambda x: requantize(_reduced(np.add, table[x], kernel, stride, (0, 0), 0) * multiplier)


def _add(
    integers: Sequence[Sequence[int]], multipliers: Sequence[int], **requantization: Any
) -> Callable[..., Array]:
    """Add two tensors of codes: what each pair of codes gives is looked up."""
    first, second = (
        multiplier * np.asarray(table, np.int64)
        for table, multiplier in zip(integers, multipliers, strict=True)
    )
    pairs = _requantizer(**requantization)(first[:, None] + second).reshape(-1)

    def add(a: Array, b: Array) -> Array:
        result: Array = pairs[a * np.uint16(len(second)) + b]
        return result

    return add


def _matmul(
    integers: Sequence[Sequence[int]],
    scale: float | None,
    multiplier: int = 0,
    **requantization: Any,
) -> Callable[..., Array]:
    """Multiply codes; sums stay below 2^47, so that float64 holds them in any order."""
    first, second = (np.asarray(table, np.float64) for table in integers)
    if scale is not None:
        return lambda a, b: (first[a] @ second[b]) * scale
    requantize = _requantizer(**requantization)
    return lambda a, b: requantize((first[a] @ second[b]).astype(np.int64) * multiplier)


def _concat(axis: int) -> Callable[..., Array]:
    return lambda *parts: np.concatenate(parts, axis=axis + 1)


def _view(
    shape: Sequence[int], start: int, sizes: Sequence[int], strides: Sequence[int]
) -> Callable[..., Array]:
    """Take a box of elements of each item, element (i, j, ..) i, j, .. strides from `start`."""
    places = np.array(start)
    for size, stride in zip(sizes, strides, strict=True):
        places = places[..., None] + stride * np.arange(size)
    flat = places.reshape(-1)
    return lambda x: x.reshape(len(x), -1)[:, flat].reshape(len(x), *shape)


OPERATIONS: dict[str, Callable[..., Callable[..., Array]]] = {
    "encode": _encode,
    "reals": _reals,
    "decode": _decode,
    "scale": _scale,
    "max_pool": _max_pool,
    "max_pool_reals": _max_pool_reals,
    "average_pool": _average_pool,
    "add": _add,
    "matmul": _matmul,
    "concat": _concat,
    "view": _view,
}
"""What the host computes: by kind, what makes a function of tensors of an operation's fields."""
