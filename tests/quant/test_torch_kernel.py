"""Building, keeping and doing without the compiled kernel; test_torch_rounding has its results."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from dybit.quant.formats import DyBit
from dybit.quant.torch import fake_quantize
from dybit.quant.torch import kernel as module
from dybit.quant.torch.kernel import build, kernel, without_kernel


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and no kernel loaded before or after."""
    monkeypatch.setenv("DYBIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DYBIT_KERNEL", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    module._loaded.cache_clear()
    yield tmp_path / "cache"
    module._loaded.cache_clear()


def test_is_built_once(cache: Path, debian_tool: Callable[[str], str]) -> None:
    debian_tool("g++")
    built: list[Path | None] = []
    threads = [threading.Thread(target=lambda: built.append(build())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (library,) = cache.iterdir()
    assert built == [library, library]
    before = library.stat().st_mtime_ns
    assert build() == library
    assert library.stat().st_mtime_ns == before
    assert kernel() is kernel() is not None


def test_can_be_turned_off(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYBIT_KERNEL", "0")
    assert kernel() is None
    assert not cache.exists()
    monkeypatch.delenv("DYBIT_KERNEL")
    with without_kernel():
        assert kernel() is None
    assert not cache.exists()


def test_is_done_without_where_no_compiler_is(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert kernel() is None
    assert not cache.exists()


@pytest.mark.parametrize("fault", ["compiler", "folder", "library"])
def test_a_failure_is_told_once(
    fault: str, cache: Path, monkeypatch: pytest.MonkeyPatch, debian_tool: Callable[[str], str]
) -> None:
    debian_tool("g++")
    if fault == "compiler":
        monkeypatch.setenv("CXX", "false")
    elif fault == "folder":
        cache.write_text("no folder")
    else:
        library = build()
        assert library is not None
        library.write_text("no library")
    x = torch.randn(100, generator=torch.Generator().manual_seed(1))
    with pytest.warns(RuntimeWarning, match="without its compiled kernel: .*; set DYBIT_KERNEL=0"):
        got = fake_quantize(x, DyBit(4), 0.3)
    with without_kernel():
        assert torch.equal(got, fake_quantize(x, DyBit(4), 0.3))
    assert kernel() is None  # warnings are errors here
