"""Training on two ranks under torchrun: one model, that of a single process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dybit.quant.torch.distributed import process_group, sum_over_ranks, world
from tests.quant import distributed_job
from tests.quant.training_model import calibrated, float_model

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distributed")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    job = ["-m", "tests.quant.distributed_job", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, *job], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    distributed_job.job(folder, "single")
    return folder


def outcome(folder: Path, name: str) -> dict[str, Any]:
    return torch.load(folder / f"{name}.out", weights_only=True)


@pytest.mark.parametrize("scales", ["learned", "aligned"])
def test_ranks_end_with_the_same_bits(results: Path, scales: str) -> None:
    first, second = (outcome(results, f"ranks-{scales}-{rank}") for rank in (0, 1))
    assert first["state"].keys() == second["state"].keys()
    for name, value in first["state"].items():
        assert torch.equal(value, second["state"][name]), name
    assert (first["scales"], first["losses"]) == (second["scales"], second["losses"])


@pytest.mark.parametrize("scales", ["learned", "aligned"])
def test_ranks_compute_what_one_process_does(results: Path, scales: str) -> None:
    ranks, single = (outcome(results, f"{name}-{scales}-0") for name in ("ranks", "single"))
    start = calibrated(float_model()).state_dict()
    moved = 0.0
    for name, value in single["state"].items():
        torch.testing.assert_close(ranks["state"][name], value, rtol=1e-3, atol=1e-4)
        if name.endswith("weight"):
            moved = max(moved, float((value - start[name]).abs().max()))
    assert moved > 3e-3
    assert ranks["losses"] == pytest.approx(single["losses"], rel=1e-3)


@pytest.mark.parametrize("scales", ["learned", "aligned"])
def test_gradients_are_those_of_the_whole_batch(results: Path, scales: str) -> None:
    """As Adam remembers them: its steps alone would not show a factor."""
    ranks, single = (
        torch.load(results / f"{name}-{scales}.pt", weights_only=True)["optimizer"]["state"]
        for name in ("ranks", "single")
    )
    assert ranks.keys() == single.keys()
    for place, moments in single.items():
        for name in ("exp_avg", "exp_avg_sq"):
            size = float(moments[name].abs().max())
            torch.testing.assert_close(
                ranks[place][name], moments[name], rtol=1e-3, atol=2e-3 * size
            )


def test_one_rank_writes_the_checkpoint(results: Path) -> None:
    assert len(list(results.glob("ranks-*.pt"))) == 2


def test_ranks_draw_apart(results: Path) -> None:
    first, second = ((results / f"draw-{rank}").read_text() for rank in (0, 1))
    assert float(first) != float(second)


def test_outside_of_torchrun_there_is_one_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with process_group() as place:
        assert place == world() == (0, 1)
        assert sum_over_ranks(torch.ones(2)).tolist() == [1, 1]
