"""Where what was compiled is kept from one run to the next."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_directory"]


def cache_directory(kind: str) -> Path:
    """Return the folder of one kind of libraries.

    That is DYBIT_CACHE if set, else build/cache/`kind` of the checkout, else the user's cache
    folder.
    """
    value = os.environ.get("DYBIT_CACHE")
    if value:
        return Path(value)
    root = Path(__file__).parents[1]
    if (root / "pyproject.toml").exists():
        return root / "build" / "cache" / kind
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "dybit" / kind
