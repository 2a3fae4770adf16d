"""The benchmark of the search: what it states, and that searches are as fast as is promised."""

from __future__ import annotations

import pytest

from benchmarks import search
from dybit.scripts.bench import entries


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2"])
def test_search(name: str) -> None:
    found = {entry.name: entry for entry in entries("search", search.run([name]))}
    (greedy,) = (entry.value for key, entry in found.items() if ": greedy, the longest" in key)
    (exact,) = (entry.value for key, entry in found.items() if ": exact, the longest" in key)
    assert greedy < 2
    assert exact < 10
    for key, entry in found.items():
        if "of greedy by" in key:
            assert entry.value >= 1
        elif "W4A4" in key:
            assert entry.ratio is not None
            assert entry.ratio >= 1
    assert len(found) == 7
