"""The bench runner: the schema it holds the benchmarks to, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dybit.scripts.bench import bench, entries
from dybit.scripts.console import UserError

GOOD = {"name": "encode", "value": 12.5, "unit": "M/s", "rival": "int8", "ratio": 2.0}


def write_benchmarks(folder: Path) -> None:
    folder.mkdir()
    (folder / "codec.py").write_text(f"def run():\n    return [{GOOD}]\n")
    (folder / "other.py").write_text("def run():\n    raise RuntimeError('must not run')\n")
    (folder / "_shared.py").write_text("raise RuntimeError('must not be loaded')\n")


def test_writes_entries_in_the_schema(tmp_path: Path) -> None:
    write_benchmarks(tmp_path / "benchmarks")
    bench(only=["codec"], source=tmp_path / "benchmarks", output=tmp_path / "out")
    (written,) = (tmp_path / "out").iterdir()
    (entry,) = json.loads(written.read_text())
    assert list(entry) == ["name", "value", "unit", "rival", "ratio", "machine"]
    assert {field: entry[field] for field in GOOD} == GOOD
    assert "cores" in entry["machine"]


def test_runs_every_module_but_private_ones(tmp_path: Path) -> None:
    write_benchmarks(tmp_path / "benchmarks")
    with pytest.raises(RuntimeError, match=r"^must not run$"):
        bench(only=None, source=tmp_path / "benchmarks", output=tmp_path / "out")
    # What was measured before the failure is kept.
    assert (tmp_path / "out" / "codec.json").exists()


def test_unknown_benchmark_is_refused(tmp_path: Path) -> None:
    write_benchmarks(tmp_path / "benchmarks")
    message = r"^--only: 'x' is not allowed; must be one of codec, other$"
    with pytest.raises(UserError, match=message):
        bench(only=["x"], source=tmp_path / "benchmarks", output=tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, r"^codec: entry 0\.name: String should have at least 1 character, not ''$"),
        ({"value": float("nan")}, r"^codec: entry 0\.value: .* finite number, not nan$"),
        ({"value": "12"}, r"^codec: entry 0\.value: Input should be a valid number, not '12'$"),
        ({"ratio": 0.0}, r"^codec: entry 0\.ratio: Input should be greater than 0, not 0\.0$"),
        ({"rival": None}, r"^codec: entry 0: .*rival and ratio must be given together"),
        ({"speed": 1}, r"^codec: entry 0\.speed: Extra inputs are not permitted, not 1$"),
    ],
)
def test_malformed_entry_is_refused(change: dict[str, object], message: str) -> None:
    assert entries("codec", [dict(GOOD)])
    with pytest.raises(UserError, match=message):
        entries("codec", [GOOD | change])


def test_two_entries_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match=r"^codec: entry 1\.name: 'encode' is there twice$"):
        entries("codec", [GOOD, GOOD])


def test_a_benchmark_without_entries_is_refused() -> None:
    with pytest.raises(UserError, match=r"^codec: run\(\) must return at least one entry$"):
        entries("codec", [])
