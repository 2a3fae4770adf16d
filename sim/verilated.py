"""Runs emitted Verilog at compiled speed.

`CompiledModel` takes a table of inputs, one row a clock cycle, and returns the table of
outputs; the loop over the cycles is C++ (see `dybit.sim.library`). State lasts from one
`play` to the next, so that long runs can be cut into pieces.
"""

import copy
import ctypes
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from dybit.sim.library import Effort, build_library
from dybit.sim.player import PlayerPort, player_ports

__all__ = ["CompiledModel", "Stimulus", "check_content"]

Words = npt.NDArray[np.uint32]
Rows = slice | npt.NDArray[np.intp]
_ALL = slice(None)


def _check_fits(name: str, values: npt.NDArray[Any], width: int) -> None:
    if not values.size or width >= 64 or values.dtype.itemsize * 8 <= width:
        return
    low, high = int(values.min()), int(values.max())
    if low < -(1 << (width - 1)) or high >= 1 << width:
        bad = low if low < -(1 << (width - 1)) else high
        raise ValueError(f"{name} must fit {width} bits, not {bad}")


def _pack(values: npt.NDArray[Any], lane_bits: int, words: int) -> Words:
    """Pack (rows, lanes) integers into (rows, words), lane 0 in the lowest bits."""
    rows, lanes = values.shape
    if values.dtype.kind in "iu" and values.dtype.itemsize * 8 == lane_bits:
        packed = np.zeros((rows, words * 4), dtype=np.uint8)
        packed[:, : lanes * lane_bits // 8] = np.ascontiguousarray(values).view(np.uint8)
        return packed.view(np.uint32)
    if lane_bits % 8 == 0:
        raw = np.ascontiguousarray(values.astype(np.int64)).view(np.uint8)
        packed = np.zeros((rows, words * 4), dtype=np.uint8)
        size = lanes * lane_bits // 8
        packed[:, :size] = raw.reshape(rows, lanes, 8)[:, :, : lane_bits // 8].reshape(rows, size)
        return packed.view(np.uint32)
    mask = np.uint64((1 << lane_bits) - 1)
    lanes_first = np.ascontiguousarray(values.T.astype(np.int64)).view(np.uint64) & mask
    columns = np.zeros((words + 2, rows), dtype=np.uint64)
    low = np.uint64(0xFFFFFFFF)
    for lane, value in enumerate(lanes_first):
        word, shift = divmod(lane * lane_bits, 32)
        columns[word] |= (value << np.uint64(shift)) & low
        columns[word + 1] |= (value >> np.uint64(32 - shift)) & low
        if shift and lane_bits > 64 - shift:
            columns[word + 2] |= value >> np.uint64(64 - shift)
    return np.ascontiguousarray(columns[:words].T.astype(np.uint32))


def _unpack(words: Words, lane_bits: int, lanes: int, signed: bool) -> npt.NDArray[np.int64]:
    """Inverse of `_pack`."""
    rows = len(words)
    columns = np.zeros((words.shape[1] + 2, rows), dtype=np.uint64)
    columns[: words.shape[1]] = words.T
    values = np.empty((rows, lanes), dtype=np.int64)
    for lane in range(lanes):
        word, shift = divmod(lane * lane_bits, 32)
        value = columns[word] >> np.uint64(shift) | columns[word + 1] << np.uint64(32 - shift)
        if shift and lane_bits > 64 - shift:
            value |= columns[word + 2] << np.uint64(64 - shift)
        # To the top and back: drops what lies above the lane, and extends its sign.
        spare = 64 - lane_bits
        top = (value << np.uint64(spare)).view(np.int64)
        if signed:
            values[:, lane] = top >> spare
        else:
            values[:, lane] = (top.view(np.uint64) >> np.uint64(spare)).view(np.int64)
    return values


class Stimulus:
    """Input vectors under construction: all zero until set.

    Members
    -------
    words : array (cycles, words) of uint32
        What `CompiledModel.play` takes.
    """

    def __init__(self, cycles: int, ports: dict[str, PlayerPort]) -> None:
        self._ports = ports
        self.words: Words = np.zeros((cycles, _row_words(ports)), dtype=np.uint32)

    def _port(self, name: str) -> PlayerPort:
        try:
            return self._ports[name]
        except KeyError:
            raise ValueError(
                f"port must be an input ({', '.join(self._ports)}), not {name!r}"
            ) from None

    def set(self, name: str, values: npt.ArrayLike, at: Rows = _ALL) -> None:
        """Set a port for all cycles, or for the rows `at`.

        Parameters
        ----------
        values
            Integers (cycles,), or one for all, for a port of up to 64 bits; else 32-bit
            words (cycles, words), the lowest first.

        Raises
        ------
        ValueError
            If there is no such input or a value does not fit it.
        """
        port = self._port(name)
        array = np.asarray(values)
        target = self.words[:, port.offset : port.offset + port.words]
        if array.ndim == 2:
            if array.shape[1] != port.words:
                raise ValueError(f"{name} must have {port.words} words, not {array.shape[1]}")
            target[at] = array
            return
        if port.width > 64:
            raise ValueError(f"{name} has {port.width} bits: set it by words or by lanes")
        _check_fits(name, array, port.width)
        wide = array.astype(np.uint64 if array.dtype == np.uint64 else np.int64)
        for word in range(port.words):
            target[at, word] = (wide >> (32 * word)).astype(np.uint32)

    def set_lanes(self, name: str, values: npt.ArrayLike, lane_bits: int, at: Rows = _ALL) -> None:
        """Set a port from integers (cycles, lanes), lane 0 in the lowest bits."""
        port = self._port(name)
        array = np.atleast_2d(np.asarray(values))
        if array.shape[1] * lane_bits > port.width:
            raise ValueError(
                f"{name} must hold at most {port.width} bits, "
                f"not {array.shape[1]} lanes of {lane_bits}"
            )
        _check_fits(name, array, lane_bits)
        self.words[:, port.offset : port.offset + port.words][at] = _pack(
            array, lane_bits, port.words
        )


def _row_words(ports: dict[str, PlayerPort]) -> int:
    return sum(port.words for port in ports.values())


class CompiledModel:
    """A design compiled by Verilator, driven by tables of vectors.

    Parameters
    ----------
    directory
        Where `make verilog` put the design: its Verilog and ``manifest.json``.
    trace
        VCD file to write every cycle to; such a model is slower, and built apart.
    effort
        How long to compile it.

    Raises
    ------
    ValueError
        If the Verilog does not agree with the manifest's content hash.
    ToolMissing, ToolFailed
        If the design cannot be compiled.
    """

    def __init__(
        self,
        directory: str | Path,
        trace: str | Path | None = None,
        effort: Effort = Effort.HIGH,
    ) -> None:
        directory = Path(directory)
        self.manifest: dict[str, Any] = json.loads((directory / "manifest.json").read_text())
        files = [directory / name for name in self.manifest["verilog"]]
        check_content(files, self.manifest["content_hash"], directory)
        self.inputs = player_ports(self.manifest, "input")
        self.outputs = player_ports(self.manifest, "output")
        path = build_library(files, self.manifest, trace is not None, effort=effort)
        library = ctypes.CDLL(str(path))
        library.player_open.restype = ctypes.c_void_p
        library.player_open.argtypes = [ctypes.c_char_p]
        library.player_close.argtypes = [ctypes.c_void_p]
        table = np.ctypeslib.ndpointer(np.uint32, ndim=2, flags="C_CONTIGUOUS")
        library.player_play.argtypes = [ctypes.c_void_p, table, table, ctypes.c_uint64]
        library.player_play.restype = None
        self.traced = trace is not None
        self._library = library
        self._handle = library.player_open(str(trace).encode() if trace is not None else None)

    def __enter__(self) -> "CompiledModel":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the model and finish its trace; it cannot play any more."""
        if self._handle is not None:
            self._library.player_close(self._handle)
            self._handle = None

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()

    def twin(self) -> "CompiledModel":
        """Return another instance of the design, in its initial state.

        Instances share nothing that changes: each may play in a thread of its own.
        """
        if self.traced:
            raise ValueError("a model that writes a trace has no twin")
        twin = copy.copy(self)
        twin._handle = self._library.player_open(None)
        return twin

    def stimulus(self, cycles: int) -> Stimulus:
        """Return `cycles` input vectors of zeros to fill in."""
        return Stimulus(cycles, self.inputs)

    def reset(self, cycles: int = 1) -> None:
        """Hold the reset for some cycles, all other inputs zero."""
        stimulus = self.stimulus(cycles)
        stimulus.set("rst", 1)
        self.play(stimulus)

    def play(self, stimulus: Stimulus | Words) -> Words:
        """Play the vectors and return the outputs, one row a cycle.

        Outputs are sampled at the end of a cycle, just before the clock edge: row t holds
        what a register fed by row t - 1 shows, and what is combinational from row t.
        """
        if self._handle is None:
            raise ValueError("the model is closed")
        words = stimulus.words if isinstance(stimulus, Stimulus) else stimulus
        words = np.ascontiguousarray(words, dtype=np.uint32)
        expected = _row_words(self.inputs)
        if words.ndim != 2 or words.shape[1] != expected:
            raise ValueError(f"stimulus must be (cycles, {expected}) words, not {words.shape}")
        outputs = np.empty((len(words), _row_words(self.outputs)), dtype=np.uint32)
        self._library.player_play(self._handle, words, outputs, len(words))
        return outputs

    def _output(self, trace: Words, name: str) -> tuple[PlayerPort, Words]:
        try:
            port = self.outputs[name]
        except KeyError:
            raise ValueError(
                f"port must be an output ({', '.join(self.outputs)}), not {name!r}"
            ) from None
        return port, trace[:, port.offset : port.offset + port.words]

    def read(self, trace: Words, name: str, signed: bool = False) -> npt.NDArray[Any]:
        """Return an output: int64 (cycles,), or its words (cycles, words) above 63 bits."""
        port, words = self._output(trace, name)
        if port.width > 63:
            return words.copy()
        return _unpack(words, port.width, 1, signed)[:, 0]

    def read_lanes(
        self, trace: Words, name: str, lane_bits: int, signed: bool = False
    ) -> npt.NDArray[np.int64]:
        """Return an output cut into lanes, int64 (cycles, lanes), lane 0 the lowest bits."""
        port, words = self._output(trace, name)
        return _unpack(words, lane_bits, port.width // lane_bits, signed)


def check_content(files: Sequence[Path], expected: str, directory: Path) -> None:
    """Refuse Verilog that does not agree with its manifest's content hash."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    if f"sha256:{digest.hexdigest()}" != expected:
        raise ValueError(
            f"{directory} is not a complete design: its Verilog must match manifest.json"
        )
