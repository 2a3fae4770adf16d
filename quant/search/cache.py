"""Numbers that took long, kept on disk by what they depend on: a search goes on where it ended."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

__all__ = ["Cache", "digest"]

VERSION = 1
"""Changes when what is computed does, and so forgets what older code computed."""


def digest(*parts: Any) -> str:
    """Return a hash of arrays, byte strings and whatever else has a text that tells it apart."""
    text = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            text.update(f"{part.dtype.str} {part.shape} ".encode())
            text.update(np.ascontiguousarray(part).data)
        elif isinstance(part, bytes):
            text.update(f"{len(part)} ".encode() + part)
        else:
            text.update(f"{part!r} ".encode())
    return text.hexdigest()


class Cache:
    """Values that JSON holds, or arrays, each in a file of its own, written whole or not at all.

    Parameters
    ----------
    directory : Path, optional
        None keeps nothing.

    Members
    -------
    hits, misses : int
        Values found, and computed.
    """

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self.hits = self.misses = 0

    def get(self, key: Any, compute: Callable[[], Any]) -> Any:
        """Return the value kept under a key, or compute and keep it.

        Parameters
        ----------
        key : object
            Its `repr` must tell it apart.
        compute : callable
            Called if there is no such value, or its file is damaged.
        """
        return self._kept(key, "json", json.loads, lambda v: json.dumps(v).encode(), compute)

    def arrays(
        self, key: Any, compute: Callable[[], dict[str, NDArray[Any]]]
    ) -> dict[str, NDArray[Any]]:
        """Return arrays by name, as `get` returns values."""
        found: dict[str, NDArray[Any]] = self._kept(
            key,
            "safetensors",
            safetensors.numpy.load,
            lambda arrays: safetensors.numpy.save(
                {name: np.asarray(array, order="C") for name, array in arrays.items()}
            ),
            compute,
        )
        return found

    def _kept(
        self,
        key: Any,
        suffix: str,
        load: Callable[[bytes], Any],
        dump: Callable[[Any], bytes],
        compute: Callable[[], Any],
    ) -> Any:
        if self.directory is None:
            self.misses += 1
            return compute()
        path = self.directory / f"{digest(VERSION, key)}.{suffix}"
        try:
            value = load(path.read_bytes())
        except (OSError, ValueError, SafetensorError):
            self.misses += 1
            value = compute()
            self.directory.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            temporary.write_bytes(dump(value))
            temporary.replace(path)
        else:
            self.hits += 1
        return value
