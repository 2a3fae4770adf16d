"""Bugs seeded into the hardware's sources, to see that a proof finds them."""

from __future__ import annotations

import inspect
import textwrap
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from tests.formal.sat import edited

__all__ = ["Bug"]


class Bug(NamedTuple):
    """One place of a function replaced: `old`, which is there once, by `new`."""

    owner: type | ModuleType
    function: str
    old: str
    new: str

    def seed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put the function with the bug in the place of the one without."""
        function = getattr(self.owner, self.function)
        source = edited(textwrap.dedent(inspect.getsource(function)), self.old, self.new)
        names: dict[str, Any] = dict(function.__globals__)
        exec(compile(source, f"{self.function}_with_bug", "exec"), names)
        monkeypatch.setattr(self.owner, self.function, names[self.function])
