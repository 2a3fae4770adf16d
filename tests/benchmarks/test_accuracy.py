"""The accuracy benchmark: its figures from made-up results, and a small run of all its parts."""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from benchmarks import accuracy
from benchmarks._accuracy_jobs import missing
from benchmarks._accuracy_plan import FULL, Method, Plan
from benchmarks._accuracy_report import Estimate, Report
from benchmarks.accuracy import run
from dybit.scripts.bench import entries

OURS, PLAIN = Method(4, 4, False, "dybit"), Method(4, 4, False, "dybit-plain")
RIVAL = Method(4, 4, False, "brevitas-int")
PLAN = Plan(("cnn",), 2, (0, 1), (RIVAL, PLAIN, OURS), 1, 1, 1)


def made_up(folder: Path, plan: Plan, right: dict[str, list[int]]) -> Path:
    """Write results: of ten images so many are right, one number a unit."""
    cache = plan.cache(folder)
    for place, unit in enumerate(plan.units()):
        for name, counts in right.items():
            path = unit.folder(cache) / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            count = counts[place]
            path.write_text(json.dumps({"right": [1] * count + [0] * (10 - count)}))
    return cache


def test_the_interval_is_students() -> None:
    # By hand: mean 2.5, deviation sqrt(5/3), t(0.975, 3) = 3.1824.
    estimate = Estimate.of(np.array([1.0, 2.0, 3.0, 4.0]))
    assert estimate.mean == 2.5
    assert estimate.reach == pytest.approx(3.1824463 * np.sqrt(5 / 3) / 2, rel=1e-6)
    assert str(estimate) == "2.50 ± 2.05"
    assert str(Estimate.of(np.array([0.5]))) == "0.50"


def test_losses_are_paired_with_the_same_network(tmp_path: Path) -> None:
    right = {
        "fp32": [10, 9, 8, 7],
        OURS.name: [9, 8, 7, 6],
        PLAIN.name: [8, 9, 6, 7],
        RIVAL.name: [5, 5, 5, 5],
    }
    report = Report(PLAN, made_up(tmp_path, PLAN, right))
    assert report.accuracy("cnn") == 85
    # Ten points in each unit, whatever the units differ by.
    assert report.loss("cnn", OURS) == Estimate(pytest.approx(10), pytest.approx(0, abs=1e-9))
    assert report.loss("cnn", PLAIN).mean == pytest.approx(10)
    assert report.loss("cnn", RIVAL).mean == pytest.approx(35)
    found = {entry.name: entry for entry in entries("accuracy", list(report.entries()))}
    beside = found["cnn, W4A4 PTQ, accuracy beside Brevitas INT"]
    assert (beside.value, beside.ratio) == (pytest.approx(75), pytest.approx(1.5))
    assert "50.00 %" in str(beside.rival)
    assert list(report.remarks("cnn")) == ["- W4A4 PTQ: DyBit loses 10.00, target 1.0: missed."]
    rows = list(report.rows("cnn"))
    assert rows[0] == ["", "W4A4 PTQ"]
    assert [row[0] for row in rows[1:]] == ["DyBit", "DyBit, plain", "Brevitas INT"]


def test_the_table_says_where_dybit_loses(tmp_path: Path) -> None:
    right = {
        "fp32": [10] * 4,
        OURS.name: [10, 9, 10, 9],
        PLAIN.name: [10, 10, 10, 10],
        RIVAL.name: [9, 9, 9, 9],
    }
    report = Report(PLAN, made_up(tmp_path, PLAN, right))
    text = report.markdown()
    assert "- W4A4 PTQ: DyBit is behind DyBit, plain by 5.00 ± 9.19." in text
    assert "| DyBit, plain | **0.00 ± 0.00** |" in text
    assert "| DyBit | 5.00 ± 9.19 |" in text


def test_the_plan_is_what_was_promised() -> None:
    assert len(list(FULL.units())) == 3 * 5 * 3
    names = [method.name for method in FULL.methods]
    assert len(set(names)) == len(names)
    settings = {method.setting for method in FULL.methods}
    assert settings == {"W8A8 PTQ", "W4A4 PTQ", "W4A4 QAT", "W2A4 QAT", "W2A2 QAT"}
    rivals = {method.family for method in FULL.methods if method.family.startswith("brevitas")}
    assert rivals == ({"brevitas-int", "brevitas-e2m1"} if find_spec("brevitas") else set())


@pytest.mark.long
def test_a_small_run_is_kept_and_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = (
        *(Method(8, 8, False, family) for family in ("dybit", "int")),
        Method(4, 4, False, "minifloat"),
        Method(4, 4, True, "esb-aligned"),
        Method(2, 2, True, "dybit"),
    )
    plan = dataclasses.replace(
        FULL,
        networks=("cnn",),
        folds=1,
        seeds=(0,),
        methods=methods,
        epochs=4,
        training_epochs=1,
        rounding_steps=10,
    )
    cache = tmp_path / "cache"
    measured = run(tmp_path, cache, plan, workers=1)
    found = {entry.name: entry.value for entry in entries("accuracy", measured)}
    assert len(found) == 1 + len(methods)
    assert found["cnn, FP32 accuracy"] > 95
    assert abs(found["cnn, W8A8 PTQ, DyBit, loss"]) < 1
    assert -1 < found["cnn, W2A2 QAT, DyBit, loss"] < 30
    assert (tmp_path / "accuracy.svg").read_text().count("<path") > 20
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*.*")}
    assert len(before) == 2 + len(methods)

    (unit,) = plan.units()
    lost = unit.folder(plan.cache(cache)) / f"{methods[3].name}.json"
    content = lost.read_text()
    lost.unlink()
    assert missing(unit, plan, plan.cache(cache)) == [methods[3].name]
    # Another process would take seconds to start.
    monkeypatch.setattr(
        accuracy, "ProcessPoolExecutor", lambda workers, context: ThreadPoolExecutor(workers)
    )
    assert run(tmp_path, cache, plan, workers=1) == measured
    after = {path: path.stat().st_mtime_ns for path in cache.rglob("*.*")}
    assert [path for path in before if after[path] != before[path]] == [lost]
    assert lost.read_text() == content
