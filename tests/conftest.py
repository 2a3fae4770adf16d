"""What every test may use: the config of RTL benches, vector counts, and optional tools.

A bench that compares hardware with a model is marked ``rtl`` and reports what it compared::

    RTL_CONFIGS = [QuantConfig.load("configs/all-modes.toml")]

    @pytest.mark.rtl
    def test_encoder(rtl_config, vectors):
        ...
        vectors("encoder", codes.size)

`rtl_config` runs over the module's ``RTL_CONFIGS``, or over the one config that
``--quant-config`` names; ``make sim CONFIG=...`` passes it.
"""

from __future__ import annotations

import fcntl
import gc
import hashlib
import os
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from dybit.quant.config import ConfigError, QuantConfig

# Tests run in a process for each core; their subprocesses inherit it. Read when torch loads.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quant-config",
        metavar="PATH",
        help="quant config on which the RTL benches run, in place of their own lists",
    )
    parser.addoption(
        "--full", action="store_true", help="also run what is marked full; ``make test-full``"
    )
    parser.addoption(
        "--prove", action="store_true", help="also run what is marked prove; ``make prove``"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(VectorReport())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "rtl_config" in metafunc.fixturenames:
        path = metafunc.config.getoption("--quant-config")
        try:
            configs = [QuantConfig.load(path)] if path else metafunc.module.RTL_CONFIGS
        except ConfigError as error:
            raise pytest.UsageError(str(error)) from None
        metafunc.parametrize("rtl_config", configs, ids=lambda config: config.name)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not asked for: what takes long, and with a config what runs on none."""
    for marker in ("full", "prove"):
        if not config.getoption(f"--{marker}"):
            _deselect(config, items, [item for item in items if item.get_closest_marker(marker)])
    if config.getoption("--quant-config"):
        fixtures = [getattr(item, "fixturenames", ()) for item in items]
        others = [i for i, names in zip(items, fixtures, strict=True) if "rtl_config" not in names]
        _deselect(config, items, others)
    _long_first(items)


def pytest_collection_finish() -> None:
    """Keep the garbage collector from what lasts for the whole run, and let it rest for longer.

    Designs are many small objects: going through all of them again and again was two fifths of
    the time to emit an accelerator.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _long_first(items: list[pytest.Item]) -> None:
    """Begin with what takes long in every process, so that none is left alone with it at the end.

    A process of xdist is given one of equal parts of the list, and takes from others' later.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.get_closest_marker("long")]
    others = [item for item in items if not item.get_closest_marker("long")]
    part = -(-len(items) // workers)
    items.clear()
    for worker in range(workers):
        own = long[worker::workers]
        items += own
        items += others[: part - len(own)]
        del others[: part - len(own)]
    items += others


def _deselect(config: pytest.Config, items: list[pytest.Item], others: list[pytest.Item]) -> None:
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


@pytest.fixture
def vectors(record_property: Callable[[str, object], None]) -> Callable[[str, int], None]:
    """Record that a bench compared a number of vectors; the summary lists the sums."""

    def record(bench: str, count: int) -> None:
        if count <= 0:
            pytest.fail(f"{bench} compared {count} vectors: a bench that compares none proves none")
        record_property("vectors", [bench, int(count)])

    return record


@pytest.fixture
def debian_tool() -> Callable[[str], str]:
    """Return the path of a tool that PyPI does not have, or skip the test with the reason.

    Tools from PyPI are dependencies: a test that misses one must fail, so it asks for them by
    the function under test and not through here.
    """

    def find(program: str) -> str:
        path = shutil.which(program)
        if path is None:
            pytest.skip(f"{program} is missing: install it with `apt-get install {program}`")
        return path

    return find


@pytest.fixture(scope="session")
def emitted(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Callable[[QuantConfig], Path]:
    """Return what emits the accelerator of a config, and where to.

    Each is emitted once, by whichever of xdist's processes is the first to ask for it. A config of
    ``--quant-config`` of which none can be built skips the test.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def emit(config: QuantConfig) -> Path:
        from dybit.scripts.verilog import emit_accelerator

        try:
            config.accelerator.check_array(config.array)
        except ConfigError as error:
            if pytestconfig.getoption("--quant-config") is None:
                raise
            pytest.skip(str(error))
        built = config.array.model_dump_json() + config.accelerator.model_dump_json()
        folder = shared / f"accelerator-{hashlib.sha256(built.encode()).hexdigest()[:16]}"
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                scratch = tmp_path_factory.mktemp(folder.name)
                emit_accelerator(config, scratch)
                scratch.rename(folder)
        return folder

    return emit


class VectorReport:
    """Adds up what the benches compared and prints it below the test results."""

    def __init__(self) -> None:
        self.counts: dict[str, list[int]] = defaultdict(list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # Properties travel with the report, so the counts of xdist's workers arrive here too.
        if report.when == "call" and report.passed:
            for name, value in report.user_properties:
                if name == "vectors":
                    bench, count = value
                    self.counts[bench].append(count)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.counts:
            return
        width = max(map(len, [*self.counts, "bench"]))
        rows = [(bench, len(counts), sum(counts)) for bench, counts in sorted(self.counts.items())]
        terminalreporter.section("vectors compared, all equal")
        terminalreporter.write_line(f"{'bench':{width}}  {'runs':>6}  {'vectors':>15}")
        total = ("total", sum(row[1] for row in rows), sum(row[2] for row in rows))
        for bench, runs, vectors in [*rows, total]:
            terminalreporter.write_line(f"{bench:{width}}  {runs:6}  {vectors:15,}")
