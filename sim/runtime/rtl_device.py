"""The accelerator's own Verilog, compiled, with memory and bus in C++."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from dybit.sim.board_driver import Array, RegisterDevice
from dybit.sim.library import Effort, build_library
from dybit.sim.runtime.host import HOST_OPERATIONS
from dybit.sim.runtime.memory import PAGE, Memory
from dybit.sim.verilated import check_content

__all__ = ["ModelError", "RtlDevice"]

HOST = Path(__file__).parents[1] / "accelerator_model.cpp"
RESET_CYCLES = 4
PATIENCE = 1 << 20
"""Cycles of silence on the bus after which a run counts as hung."""


class ModelError(RuntimeError):
    """The simulated hardware did what no hardware may; the message is one line."""


class RtlDevice(RegisterDevice):
    """An emitted accelerator at compiled speed.

    Its memory begins at address `origin`. It answers a read `latency` cycles after its address,
    then with a beat a cycle; accesses beyond its ends are decode errors.

    Parameters
    ----------
    directory : path
        Where `make verilog` put the accelerator.
    memory : int
        Bytes from address 0 on; plans that need more get more.
    base : int
        Where plans are put.
    latency : int
        Cycles from a read's address to its first beat, and from a write's last beat to its
        response.
    trace : path, optional
        VCD file to write every cycle to; such a model is slower, and built apart.
    origin : int
        Where the accelerator sees the memory's first byte; for the host it is always at 0.
    effort : Effort
        How long to compile it.
    """

    def __init__(
        self,
        directory: str | Path,
        memory: int = 0,
        base: int = PAGE,
        latency: int = 40,
        trace: str | Path | None = None,
        origin: int = 0,
        effort: Effort = Effort.HIGH,
    ) -> None:
        directory = Path(directory)
        super().__init__(directory)
        files = [directory / name for name in self.manifest["verilog"]]
        check_content(files, self.manifest["content_hash"], directory)
        host = HOST.read_text()
        path = build_library(files, self.manifest, trace is not None, host, effort)
        self._library = _library(path)
        self._handle: int | None = self._library.accelerator_open(
            None if trace is None else str(trace).encode(), latency
        )
        self.base = base
        self._origin = origin
        self._memory = Memory(0)
        self._grow(memory)
        self._library.accelerator_reset(self._handle, RESET_CYCLES)

    def __enter__(self) -> RtlDevice:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the model and finish its trace."""
        if self._handle is not None:
            self._library.accelerator_close(self._handle)
            self._handle = None

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()

    @property
    def memory(self) -> NDArray[np.uint8]:
        """All bytes, from address 0 on."""
        return self._memory.content

    @property
    def cycles(self) -> int:
        """Clock cycles so far."""
        count: int = self._library.accelerator_cycles(self._handle)
        return count

    def operations(self) -> Mapping[str, Callable[..., Callable[..., Array]]]:
        """Return what the host can compute, as `OPERATIONS`."""
        return HOST_OPERATIONS

    def allocate(self, size: int) -> int:
        """Return the base, with as much memory behind it."""
        self._grow(self.base + size)
        return self.base

    def write(self, address: int, data: Array) -> None:
        """Write bytes to memory."""
        self._memory.write(address, data)

    def read(self, address: int, size: int) -> NDArray[np.uint8]:
        """Return a copy of bytes of memory."""
        return self._memory.read(address, size).copy()

    def read_register(self, offset: int) -> int:
        """Return a register."""
        value = ctypes.c_uint32()
        response = self._library.accelerator_read(self._handle, offset, ctypes.byref(value))
        self._check(response, "reading", offset)
        return value.value

    def write_register(self, offset: int, value: int) -> None:
        """Set a register."""
        self._check(self._library.accelerator_write(self._handle, offset, value), "writing", offset)

    def wait(self, limit: int = 1 << 62) -> None:
        """Run until the interrupt is up.

        Parameters
        ----------
        limit : int
            Most cycles to run.

        Raises
        ------
        ModelError
            If it does not come, or a burst breaks AXI's rules.
        """
        end = self._library.accelerator_run(self._handle, limit, PATIENCE)
        if end:
            violation = self._library.accelerator_violation(self._handle).decode()
            problem = (f"no interrupt in {limit} cycles", f"no transfer in {PATIENCE} cycles")
            raise ModelError(("", *problem, violation)[end])

    def reset(self, cycles: int = RESET_CYCLES) -> None:
        """Hold the reset; the memory stays as it is."""
        self._library.accelerator_reset(self._handle, cycles)

    def step(self, cycles: int) -> bool:
        """Run some cycles, fewer if the interrupt comes up; return whether it did."""
        end = self._library.accelerator_run(self._handle, cycles, cycles + PATIENCE)
        if end == 3:
            raise ModelError(self._library.accelerator_violation(self._handle).decode())
        return bool(end == 0)

    def _grow(self, size: int) -> None:
        """Have at least so much memory."""
        self._memory.grow(size)
        memory = self.memory
        self._library.accelerator_attach(
            self._handle, memory.ctypes.data, len(memory), self._origin
        )

    @staticmethod
    def _check(response: int, what: str, offset: int) -> None:
        if response:
            answer = "no answer" if response < 0 else f"response {response}"
            raise ModelError(f"{what} register {offset:#x} gave {answer}")


def _library(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    handle, number = ctypes.c_void_p, ctypes.c_uint64
    word = ctypes.c_uint32
    for name, arguments, result in (
        ("open", [ctypes.c_char_p, number], handle),
        ("close", [handle], None),
        ("attach", [handle, ctypes.c_void_p, number, number], None),
        ("reset", [handle, number], None),
        ("write", [handle, word, word], ctypes.c_int),
        ("read", [handle, word, ctypes.POINTER(word)], ctypes.c_int),
        ("run", [handle, number, number], ctypes.c_int),
        ("cycles", [handle], number),
        ("violation", [handle], ctypes.c_char_p),
    ):
        function = getattr(library, f"accelerator_{name}")
        function.argtypes, function.restype = arguments, result
    return library
