"""Cases of a parametrised proof, of which `make test` runs a few and `make prove` all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

__all__ = ["cases"]


def cases(names: Iterable[str], *short: str) -> list[Any]:
    """Return the cases by name; all but the `short` ones are marked ``prove``."""
    names = list(names)
    assert set(short) <= set(names)
    return [pytest.param(x, marks=() if x in short else pytest.mark.prove) for x in names]
