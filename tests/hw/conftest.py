"""What the tests of the hardware share."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture(params=["verilator", "icarus"])
def simulator(request: pytest.FixtureRequest, debian_tool: Callable[[str], str]) -> str:
    """Each simulator in turn; without Icarus, which PyPI does not have, its half is skipped."""
    name: str = request.param
    if name == "icarus":
        debian_tool("iverilog")
    return name
