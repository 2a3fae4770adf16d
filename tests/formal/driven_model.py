"""A compiled design under benches that are written for Amaranth's simulator.

Such a bench is a coroutine that sets and gets signals of a component and awaits clock ticks. Here
the component only gives the signals their names; what is set and got are ports of the compiled
design, mutants included.
"""

from __future__ import annotations

import ctypes
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.hdl import Signal, Value

from dybit.hw.units import component_ports
from dybit.sim.library import build_library
from dybit.sim.player import PlayerPort, player_ports, player_source
from tests.formal.mutants import SELECT, Mutants

__all__ = ["DrivenModel"]

# Outputs may depend on inputs of the same cycle.
_SHOW = """
EXPORT void player_show(void* handle, const uint32_t* in, uint32_t* out) {
    Player& player = *static_cast<Player*>(handle);
    apply(*player.dut, in);
    step(player, 0);
    sample(*player.dut, out);
}
"""


class DrivenModel:
    """A design with mutants, compiled, one of them chosen.

    Members
    -------
    mutant : int
        The one that benches run on.
    """

    def __init__(self, mutants: Mutants) -> None:
        manifest = mutants.manifest
        files: list[Path] = [mutants.directory / name for name in manifest["verilog"]]
        self.inputs = player_ports(manifest, "input")
        self.outputs = player_ports(manifest, "output")
        path = build_library(files, manifest, host=player_source(manifest) + _SHOW)
        self.library = ctypes.CDLL(str(path))
        self.library.player_open.restype = ctypes.c_void_p
        self.mutant = 0

    def simulate(self, dut: Any, bench: Callable[[Any, Signal], Awaitable[None]]) -> None:
        """Run a bench from the initial state on: takes the place of `tests.hw.streams._simulate`.

        Parameters
        ----------
        dut
            The component whose signals the bench names.
        bench
            Takes what sets and gets, and the reset.
        """
        reset = Signal()
        context = _Context(self, dut, reset)
        run = bench(context, reset).__await__()
        try:
            next(run)
        except StopIteration:
            return
        finally:
            context.close()
        raise RuntimeError("the bench must await nothing but ticks")


class _Context:
    """What a bench sets and gets."""

    def __init__(self, model: DrivenModel, dut: Any, reset: Signal) -> None:
        self._model = model
        values = {name: value for name, (value, _) in component_ports(dut).items()}
        self._names = {id(value): name for name, value in (values | {"rst": reset}).items()}
        self._kept = values, reset  # as long as their ids stand for them
        self._in = np.zeros(_size(model.inputs), np.uint32)
        self._out = np.zeros(_size(model.outputs), np.uint32)
        self._write(SELECT, model.mutant)
        self._handle = ctypes.c_void_p(model.library.player_open(None))
        self._is_shown = False

    def set(self, value: Any, number: int) -> None:
        self._write(self._names[id(Value.cast(value))], int(number))
        self._is_shown = False

    def get(self, value: Any) -> int:
        if not self._is_shown:
            self._model.library.player_show(self._handle, *self._tables)
            self._is_shown = True
        port = self._model.outputs[self._names[id(Value.cast(value))]]
        return int.from_bytes(self._out[port.offset : port.offset + port.words].tobytes(), "little")

    def tick(self) -> _Ticks:
        return _Ticks(self.advance)

    def advance(self, cycles: int) -> None:
        for _ in range(cycles):
            self._model.library.player_play(self._handle, *self._tables, ctypes.c_uint64(1))
        self._is_shown = False

    def close(self) -> None:
        self._model.library.player_close(self._handle)

    @property
    def _tables(self) -> tuple[ctypes.c_void_p, ctypes.c_void_p]:
        return ctypes.c_void_p(self._in.ctypes.data), ctypes.c_void_p(self._out.ctypes.data)

    def _write(self, name: str, number: int) -> None:
        port = self._model.inputs[name]
        content = number.to_bytes(4 * port.words, "little")
        self._in[port.offset : port.offset + port.words] = np.frombuffer(content, "<u4")


class _Ticks:
    """Clock ticks, done as soon as they are awaited."""

    def __init__(self, advance: Callable[[int], None], cycles: int = 1) -> None:
        self._advance = advance
        self._cycles = cycles

    def repeat(self, cycles: int) -> _Ticks:
        return _Ticks(self._advance, cycles)

    def __await__(self) -> Generator[None, None, None]:
        self._advance(self._cycles)
        return
        yield


def _size(ports: dict[str, PlayerPort]) -> int:
    return sum(port.words for port in ports.values())
