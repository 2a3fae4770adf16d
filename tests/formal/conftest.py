"""What every proof reports: the property that it proved, for the table of docs/verification.md."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Protocol

import pytest


class Proved(Protocol):
    """Records a property as proved."""

    def __call__(self, block: str, claim: str, method: str, bound: str) -> None: ...


@pytest.fixture
def proved(record_property: Callable[[str, object], None]) -> Proved:
    """Record what a test proves; it counts when the test passes, and its time is the test's.

    `block` is what the property is of, `claim` what always holds, `method` how that is known and
    `bound` what is left out: the cycles looked at, the sizes built.
    """

    def record(block: str, claim: str, method: str, bound: str) -> None:
        # A report in XML keeps strings alone.
        record_property("proved", json.dumps([block, claim, method, bound]))

    return record
