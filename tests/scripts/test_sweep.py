"""``dybit sweep``: all combinations, their front, and sweeps that are cut short."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from dybit.scripts.cli import app
from dybit.scripts.sweep import OBJECTIVES, pareto
from dybit.scripts.sweep_points import Point, evaluate

SEED = 8
SMALL = "sweep resnet18 --arrays 8x8,16x16 --modes W8A8+W4A4 --cache cache --jobs 1"
# Every bandwidth is hardware of its own: nothing is shared, and there is time to kill.
POINTS = 80
BANDWIDTHS = ",".join(f"{1 + step / 200:.3f}" for step in range(POINTS))
LONG = f"sweep resnet18 --modes W8A8+W4A4 --widths W4A4 --bandwidth {BANDWIDTHS} --cache cache"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def dybit(command: str, *options: str) -> Result:
    return CliRunner().invoke(app, [*command.split(), *options])


def table(path: str | Path) -> list[dict[str, str]]:
    with Path(path).open() as file:
        return list(csv.DictReader(file))


def test_all_combinations_and_their_front() -> None:
    result = dybit(SMALL, "--widths", "W8A8,W4A4,speedup=2.5", "--activation-words", "2048,4096",
                   "-o", "out")  # fmt: skip
    assert result.exit_code == 0, result.output
    rows = table("out/points.csv")
    assert len({(r["rows"], r["widths"], r["activation_words"]) for r in rows}) == len(rows) == 12
    for row in rows:
        speed_up, milliseconds = float(row["speed_up"]), float(row["milliseconds"])
        assert speed_up >= {"W8A8": 1, "W4A4": 3, "speedup=2.5": 2.5}[row["widths"]]
        assert milliseconds == pytest.approx(int(row["cycles"]) / 200e3)
        assert float(row["images_per_second"]) == pytest.approx(1e3 / milliseconds)
        assert 0 < float(row["utilisation"]) < 1
        assert row["problem"] == ""
    wide = [row for row in rows if row["widths"] == "W8A8"]
    assert {float(row["speed_up"]) for row in wide} == {1.0}
    assert len({row["error"] for row in wide}) == 1
    front = table("out/pareto.csv")
    assert f"{len(front)} of them on the Pareto front" in result.output
    assert all(row in rows for row in front)


def test_the_front_by_comparing_every_pair() -> None:
    rng = np.random.default_rng(SEED)
    rows: list[dict[str, Any]] = [
        {"workload": str(rng.choice(["a", "b"])), "problem": None}
        | {name: int(rng.integers(6)) for name in OBJECTIVES}
        for _ in range(300)
    ]
    rows[7]["problem"] = "none"

    def beats(a: dict[str, Any], b: dict[str, Any]) -> bool:
        better = [a[name] <= b[name] for name in OBJECTIVES]
        return a["workload"] == b["workload"] and all(better) and a != b

    possible = [row for row in rows if not row["problem"]]
    best = [row for row in possible if not any(beats(other, row) for other in possible)]
    front = pareto(rows)
    assert all(row in front for row in best)
    assert all(row in best for row in front)
    assert len({tuple(row.values()) for row in front}) == len(front)


def test_what_cannot_be_built_says_why() -> None:
    result = dybit(SMALL, "--widths", "W8A8,W2A2", "--accumulator-depth", "8", "-o", "out")
    assert result.exit_code == 0, result.output
    problems = {row["problem"] for row in table("out/points.csv")}
    assert any(text.startswith("array.accumulator_depth: 8 is not allowed") for text in problems)
    assert "0 of them on the Pareto front, 4 that cannot be" in result.output.replace("\n", " ")


def test_results_are_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [SMALL, "--widths", "W4A4", "-o", "out"]
    assert dybit(*command).exit_code == 0
    first = Path("out/points.csv").read_bytes()

    def fails(point: Point) -> None:
        raise AssertionError(f"{point} is computed again")

    monkeypatch.setattr("dybit.scripts.sweep_run.evaluate", fails)
    assert dybit(*command).exit_code == 0
    assert Path("out/points.csv").read_bytes() == first


def start(output: str, *options: str) -> subprocess.Popen[bytes]:
    # Processes that a sweep starts would import a main module anew.
    command = [sys.executable, "-c", "from dybit.scripts.cli import main; main()"]
    return subprocess.Popen(
        [*command, *LONG.split(), "-o", output, *options],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def kept() -> dict[str, tuple[int, int]]:
    """Return the files of the cache, with what changes when one is written again."""
    files = {}
    for path in Path("cache").glob("[0-9a-f]*.json"):
        status = path.stat()
        files[path.name] = (status.st_ino, status.st_mtime_ns)
    return files


def wait_for(sweep: subprocess.Popen[bytes], files: int) -> None:
    deadline = time.monotonic() + 60
    while len(kept()) < files and time.monotonic() < deadline and sweep.poll() is None:
        time.sleep(0.005)
    assert sweep.poll() is None, sweep.communicate()[0].decode()


def workers(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc: not Linux")
def test_killed_in_the_middle() -> None:
    """First its workers are killed, then all of it; what was done stays and is not done again."""
    sweep = start("first", "--jobs", "2")
    wait_for(sweep, 6)
    killed = workers(sweep.pid)
    assert killed
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    before = kept()
    # It goes on with new ones, until it is killed itself.
    wait_for(sweep, len(before) + 6)
    os.killpg(sweep.pid, signal.SIGKILL)
    sweep.communicate()
    before = kept()
    assert 12 <= len(before) < POINTS
    finish(start("second", "--jobs", "1"), before)


def finish(sweep: subprocess.Popen[bytes], before: dict[str, tuple[int, int]]) -> None:
    """Demand that a sweep ends with all points, none of those before computed again."""
    output = sweep.communicate(timeout=120)[0].decode()
    assert sweep.returncode == 0, output
    after = kept()
    assert len(after) == POINTS
    assert {name: after[name] for name in before} == before
    rows = table("second/points.csv")
    assert [row["bandwidth"] for row in rows] == [str(float(b)) for b in BANDWIDTHS.split(",")]
    row = rows[77]
    point = Point(
        *("resnet18", 16, 16, "W8A8+W4A4", "W4A4", 4096, 4096, 1024, 1024, 200.0),
        *(float(row["bandwidth"]), 40),
    )
    found = evaluate(point)
    assert {name: "" if found[name] is None else str(found[name]) for name in found} == {
        name: row[name] for name in found
    }


def test_on_a_dask_cluster() -> None:
    expected = dybit(SMALL, "--widths", "W4A4", "-o", "here")
    assert expected.exit_code == 0
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        command = SMALL.replace("cache cache", "cache other")
        result = dybit(
            command, "--widths", "W4A4", "-o", "there", "--scheduler", cluster.scheduler_address
        )
    assert result.exit_code == 0, result.output
    assert Path("there/points.csv").read_bytes() == Path("here/points.csv").read_bytes()
    assert len(list(Path("other").glob("[0-9a-f]*.json"))) >= 2


@pytest.mark.long
def test_killed_workers_of_a_cluster() -> None:
    """One of two workers is killed, then the sweep itself: the rest is done by what is left."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        sweep = start("first", "--scheduler", address)
        wait_for(sweep, 6)
        with distributed.Client(cluster) as client:
            worker = next(iter(client.run(os.getpid).values()))
        os.kill(worker, signal.SIGKILL)
        before = kept()
        wait_for(sweep, len(before) + 6)
        assert kept().items() >= before.items()
        os.killpg(sweep.pid, signal.SIGKILL)
        sweep.communicate()
        before = kept()
        assert 12 <= len(before) < POINTS
        finish(start("second", "--scheduler", address), before)


def test_a_cluster_that_goes_away() -> None:
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        sweep = start("first", "--scheduler", cluster.scheduler_address)
        wait_for(sweep, 6)
    output = sweep.communicate(timeout=120)[0].decode()
    assert sweep.returncode == 2
    assert "what was computed is kept: run it again" in " ".join(output.split())
    assert "Traceback" not in output
    assert len(kept()) >= 6


def test_a_key_tells_points_apart() -> None:
    point = Point("resnet18", 8, 8, "W8A8", "W8A8", 4096, 4096, 1024, 256, 200.0, 0.0, 40)
    changes = {
        "workload": "alexnet", "rows": 16, "columns": 16, "modes": "W4A4", "widths": "W4A4",
        "activation_words": 1, "output_words": 1, "accumulator_depth": 1, "parameter_groups": 1,
        "clock": 1.0, "bandwidth": 1.0, "latency": 1,
    }  # fmt: skip
    assert set(changes) == set(Point.__annotations__)
    values = {name: getattr(point, name) for name in changes}
    keys = {repr(Point(**{**values, name: value}).key) for name, value in changes.items()}
    assert len({*keys, repr(point.key)}) == 1 + len(changes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--arrays 8", "--arrays: must be rows x columns, such as 16x16, not '8'"),
        ("--modes W3A3", "--modes: precision mode must be one of "),
        ("--widths fast", "--widths must be a mode, speedup=F, rmse=F or a .toml file, not 'fast'"),
        ("--widths speedup=x", "--widths must be a mode, speedup=F, rmse=F or a .toml file, not"),
        ("--bandwidth -1", "--bandwidth: must be 0 or more, not -1"),
        ("--clock 0", "--clock must be positive, not 0"),
        ("--scheduler tcp://127.0.0.1:1 --latency 1", "--scheduler tcp://127.0.0.1:1: no sched"),
    ],
)
def test_mistakes_end_in_one_line(
    options: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dybit.scripts.sweep_run.CONNECT_SECONDS", 0.2)
    result = dybit(f"{SMALL} {options}")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {message}")
    assert len(result.stderr.splitlines()) == 1


def test_help_has_examples() -> None:
    text = dybit("sweep --help").stdout
    assert "dybit sweep resnet18 --arrays 8x8,16x16,32x32" in text
