"""The compiled kernel of `fake_quantize`: built by g++ on first use and kept.

Optional: it computes what the PyTorch operations do, bit for bit, in one pass over memory.
``DYBIT_KERNEL=0`` turns it off, ``CXX`` names another compiler.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dybit.quant.cache import cache_directory
from dybit.quant.torch.steps import Steps

__all__ = ["SEARCH_VALUES", "Kernel", "build", "kernel", "without_kernel"]

SOURCE = Path(__file__).with_name("kernel.cpp")
FLAGS = (
    "-std=c++17",
    "-O3",
    "-shared",
    "-fPIC",
    "-pthread",
    "-fvisibility=hidden",
    "-ffp-contract=off",  # one rounding an operation, as PyTorch has it
    "-fno-math-errno",
    "-fno-trapping-math",  # these two only let loops become vectors
)
THREAD_ELEMENTS = 1 << 18
"""Elements that are worth a thread."""

SEARCH_VALUES = 128
"""Values up to which `Kernel.search` is faster than a table of bits."""

_SUFFIX = {torch.float32: "float", torch.float64: "double"}
_FLOAT = {torch.float32: ctypes.c_float, torch.float64: ctypes.c_double}
_REAL_FIELDS = ("least", "greatest", "gain", "low", "high", "shift")
_INTEGER_FIELDS = ("slope", "alternate")


class _Layout(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("elements", "channels", "inner", "threads")]


@dataclass(frozen=True, slots=True)
class Kernel:
    """The functions of ``kernel.cpp``.

    Tensors lie on the CPU, are contiguous and of one type, float32 or float64, with the axes
    (outer, channels, inner); the scale has one channel axis (1, channels, 1).
    """

    library: ctypes.CDLL

    def round(self, steps: Steps, x: Tensor, scale: Tensor, out: Tensor) -> bool:
        """Write the rounded `x` to `out`; return whether `x` has a NaN."""
        function = getattr(self.library, f"dybit_round_{_SUFFIX[x.dtype]}")
        constants = ctypes.byref(_constants(steps, x.dtype))
        return bool(function(constants, _layout(x), *_pointers(x, scale, out)))

    def search(
        self, thresholds: Tensor, values: Tensor, x: Tensor, scale: Tensor, out: Tensor
    ) -> bool:
        """Write the rounded `x` to `out`; return whether `x` has a NaN.

        `values` are all that a format has, and ``thresholds[i]`` is the largest number that is
        rounded to ``values[i]``.
        """
        function = getattr(self.library, f"dybit_search_{_SUFFIX[x.dtype]}")
        count = ctypes.c_int64(thresholds.numel())
        tables = _pointers(thresholds, values)
        return bool(function(*tables, count, _layout(x), *_pointers(x, scale, out)))

    def mask(
        self, least: float, greatest: float, grad: Tensor, x: Tensor, scale: Tensor, out: Tensor
    ) -> None:
        """Write `grad` to `out` where ``x / scale`` lies between the bounds, else 0."""
        function = getattr(self.library, f"dybit_mask_{_SUFFIX[x.dtype]}")
        real = _FLOAT[x.dtype]
        pointers = _pointers(grad, x, scale, out)
        function(real(least), real(greatest), _layout(x), *pointers)


_enabled = True


@contextmanager
def without_kernel() -> Iterator[None]:
    """Use PyTorch's operations alone inside the block, in every thread."""
    global _enabled
    before, _enabled = _enabled, False
    try:
        yield
    finally:
        _enabled = before


def kernel() -> Kernel | None:
    """Return the kernel, or None where it is turned off or cannot be had."""
    return _loaded() if _enabled else None


@cache
def _loaded() -> Kernel | None:
    if os.environ.get("DYBIT_KERNEL", "1") == "0":
        return None
    try:
        path = build()
        return None if path is None else Kernel(ctypes.CDLL(str(path)))
    except (OSError, subprocess.CalledProcessError) as error:
        words = getattr(error, "stderr", "") or str(error)
        warnings.warn(
            f"fake_quantize runs without its compiled kernel: {words.strip().splitlines()[0]}; "
            "set DYBIT_KERNEL=0 to do without",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


def build() -> Path | None:
    """Return the compiled library, made now unless it is kept; None where no compiler is.

    Raises
    ------
    OSError
        If the folder cannot be written.
    subprocess.CalledProcessError
        If the compiler fails.
    """
    compiler = shutil.which(os.environ.get("CXX") or "g++")
    if compiler is None:
        return None
    made_of = [SOURCE.read_text(), *FLAGS, compiler, platform.machine(), *platform.libc_ver()]
    digest = hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:16]
    folder = cache_directory("kernel")
    library = folder / f"kernel-{digest}.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # Processes that build at the same time each put a whole file in place.
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / library.name
            command = [compiler, *FLAGS, "-o", str(made), str(SOURCE)]
            subprocess.run(command, check=True, capture_output=True, text=True)
            made.replace(library)
    return library


@lru_cache(maxsize=256)
def _constants(steps: Steps, dtype: torch.dtype) -> ctypes.Structure:
    """Return the steps as the kernel reads it."""
    names = (*_REAL_FIELDS, *_INTEGER_FIELDS)
    return _structure(dtype)(*[getattr(steps, name) for name in names])


@cache
def _structure(dtype: torch.dtype) -> type[ctypes.Structure]:
    fields: list[tuple[str, Any]] = [(name, _FLOAT[dtype]) for name in _REAL_FIELDS]
    fields += [(name, ctypes.c_int32) for name in _INTEGER_FIELDS]
    return type("_Grid", (ctypes.Structure,), {"_fields_": fields})


def _layout(x: Tensor) -> Any:
    _, channels, inner = x.shape
    threads = min(torch.get_num_threads(), -(-x.numel() // THREAD_ELEMENTS))
    return ctypes.byref(_Layout(x.numel(), channels, inner, threads))


def _pointers(*tensors: Tensor) -> list[Any]:
    return [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]
