# amaranth: UnusedElaboratable=no
"""The runner of cocotb benches: it counts, it keeps what it compiled, and benches can fail."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tests.hw import cocotb_runner
from tests.hw.cocotb_runner import run_bench

pytestmark = pytest.mark.cocotb


class Register(wiring.Component):
    def __init__(self) -> None:
        super().__init__({"i": In(8), "o": Out(8)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.d.sync += self.o.eq(self.i)
        return m


def run(folder: Path, simulator: str, vectors: int, offset: int) -> int:
    parameters = {"vectors": vectors, "offset": offset}
    return run_bench(
        Register(), "register", "runner_tests", folder, simulator=simulator, parameters=parameters
    )


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    own = tmp_path_factory.mktemp("cache")
    for runtime in cocotb_runner.CACHE.glob("*-runtime-*"):  # takes seconds to compile
        (own / runtime.name).symlink_to(runtime, target_is_directory=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cocotb_runner, "CACHE", own)
        yield own


def test_counts_vectors_and_compiles_once(simulator: str, tmp_path: Path, cache: Path) -> None:
    assert run(tmp_path, simulator, 7, offset=0) == 7
    (build,) = cache.glob(f"{simulator}-register-*/")
    written = build.stat().st_mtime_ns
    assert run(tmp_path, simulator, 5, offset=0) == 5
    assert list(cache.glob(f"{simulator}-register-*/")) == [build]
    assert build.stat().st_mtime_ns == written


def test_a_failing_bench_fails(simulator: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="register_follows"):
        run(tmp_path, simulator, 7, offset=1)


def test_verilog_that_does_not_compile_leaves_nothing_behind(
    simulator: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def emit_nonsense(component: object, name: str, directory: Path) -> dict[str, Any]:
        directory.mkdir()
        (directory / "register.v").write_text("module register(; endmodule\n")
        (directory / "register.vlt").write_text("`verilator_config\n")
        return {"verilog": ["register.v"], "waivers": "register.vlt", "content_hash": "nonsense"}

    monkeypatch.setattr(cocotb_runner, "emit", emit_nonsense)
    before = set(cache.glob("*/"))
    with pytest.raises(AssertionError, match=f"{simulator} refused register"):
        run(tmp_path, simulator, 1, offset=0)
    assert set(cache.glob("*/")) == before
