# amaranth: UnusedElaboratable=no
"""The self-test on the compiled model: it passes, and fails where anything is wrong."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dybit.hw.self_test import SelfTest
from dybit.hw.self_test_plan import SelfTestPlan
from dybit.hw.verilog import emit
from dybit.quant.array_config import ArrayConfig
from dybit.quant.config import ConfigError
from dybit.scripts.self_test import expected_signatures, run_job, words
from dybit.sim.library import Effort
from dybit.sim.verilated import CompiledModel
from tests.hw.array_vectors import array_config
from tests.hw.self_tests import TINY, serial_text

DIVISOR, PAUSE = 3, 50
ALL_MODES = "W8A8 W8A4 W4A8 W4A4 W2A4 W4A2 W2A2"
ARRAYS = {
    "1x1": array_config(1, 1, "W2A2", "unsigned", max_reduction=4, accumulator_depth=4),
    "2x2-all": array_config(
        2, 2, ALL_MODES, max_reduction=40, accumulator_depth=30, run_time_limits=[2, 3]
    ),
    "4x2-esb": array_config(
        4, 2, "W8A8 W4A4", "signed", family="esb", esb_k4=2, accumulator_depth=7
    ),
}


class Bench:
    """A self-test compiled, with what it printed and showed."""

    def __init__(self, array: ArrayConfig, directory: Path, signatures: list[int] | None = None):
        self.plan = SelfTestPlan(array, rounds=8)
        self.expected = expected_signatures(self.plan)
        design = SelfTest(self.plan, signatures or self.expected, DIVISOR, PAUSE)
        emit(design, "self_test", directory)
        self.directory = directory

    def line(self, index: int, verdict: str) -> str:
        name = self.plan.array.modes[index].name
        vectors = 8 * self.plan.passes * self.plan.pixels
        return f"{name} {vectors:08X} vectors, signature {self.expected[index]:016X} {verdict}\r\n"

    def run(self, inject: Callable[[int], npt.ArrayLike] | None = None) -> dict[str, Any]:
        with CompiledModel(self.directory, effort=Effort.LOW) as model:
            model.reset()
            cycles = 20000
            stimulus = model.stimulus(cycles)
            if inject is not None:
                stimulus.set("inject", inject(cycles))
            trace = model.play(stimulus)
            return {name: model.read(trace, name) for name in model.outputs}


@pytest.mark.rtl
@pytest.mark.parametrize("name", ARRAYS)
def test_passes(name: str, tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    test = Bench(ARRAYS[name], tmp_path)
    shown = test.run()
    modes = range(len(test.expected))
    text = "".join(test.line(index, "pass") for index in modes) + "self-test pass\r\n"
    assert serial_text(shown["tx"], DIVISOR).startswith(text)
    assert not shown["failed"].any()
    # The verdict stays through the test after it; before the first there is none.
    (first,) = np.flatnonzero(np.diff(shown["passed"]))
    running = np.flatnonzero(np.diff(shown["running"]))
    assert running[0] == first
    assert running[1] == first + PAUSE
    vectors("self-test", sum(8 * test.plan.passes * test.plan.pixels for _ in modes))


def test_one_wrong_bit_fails_every_mode_that_begins_with_it(tmp_path: Path) -> None:
    test = Bench(TINY, tmp_path)
    shown = test.run(lambda cycles: np.ones(cycles, np.uint8))
    text = serial_text(shown["tx"], DIVISOR)
    assert re.findall(r"(\w+) \w+ vectors, signature \w+ (FAIL|pass)", text)[:2] == [
        ("W4A4", "FAIL"),
        ("W2A2", "FAIL"),
    ]
    assert "self-test FAIL\r\n" in text
    assert shown["failed"].any()
    assert not shown["passed"].any()
    for index, found in enumerate(re.findall(r"signature (\w+)", text)[:2]):
        assert int(found, 16) != test.expected[index]
        # The sums alone were hit.
        assert int(found, 16) >> 32 == test.expected[index] >> 32


def test_the_next_test_passes_again(tmp_path: Path) -> None:
    test = Bench(TINY, tmp_path)
    shown = test.run(lambda cycles: (np.arange(cycles) < 5).astype(np.uint8))
    verdicts = re.findall(r" (FAIL|pass)\r\n", serial_text(shown["tx"], DIVISOR))
    assert verdicts[:6] == ["FAIL", "pass", "FAIL", "pass", "pass", "pass"]
    assert shown["failed"].any()
    assert shown["passed"][-1] == 1
    assert shown["failed"][-1] == 0


def test_another_signature_fails_its_mode_alone(tmp_path: Path) -> None:
    expected = expected_signatures(SelfTestPlan(TINY, rounds=8))
    expected[1] ^= 1 << 63
    text = serial_text(Bench(TINY, tmp_path, expected).run()["tx"], DIVISOR)
    assert re.findall(r" (FAIL|pass)\r\n", text)[:3] == ["pass", "FAIL", "FAIL"]


FAULTS = [
    ("self_test_processing_element.v", r"psum_o <= ", r"psum_o <= 1'd1 ^ "),
    ("self_test_encoder.v", r"shifted__more \| shifted__code\[0\]", "1'h1"),  # ties go up
    ("self_test_accumulator.v", r"\? \d+'h0+ : add_port", r"? 1'h1 : add_port"),
]


@pytest.mark.parametrize(("file", "pattern", "wrong"), FAULTS)
def test_a_fault_in_the_engine_fails(file: str, pattern: str, wrong: str, tmp_path: Path) -> None:
    test = Bench(TINY, tmp_path)
    source = (tmp_path / file).read_text()
    broken = re.sub(pattern, wrong, source)
    assert broken != source
    (tmp_path / file).write_text(broken)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    content = b"".join((tmp_path / name).read_bytes() for name in manifest["verilog"])
    manifest["content_hash"] = f"sha256:{hashlib.sha256(content).hexdigest()}"
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    shown = test.run()
    assert "self-test FAIL" in serial_text(shown["tx"], DIVISOR)
    assert not shown["passed"].any()


@pytest.mark.parametrize("name", ["2x2-all", "4x2-esb"])
def test_the_jobs_reach_most_codes(name: str) -> None:
    array = ARRAYS[name]
    plan = SelfTestPlan(array)
    source = words(plan.word_bits)
    for jobs in plan.jobs:
        signed, widths, codes = set(), set(), []
        for job in jobs:
            _, found = run_job(plan, job, source)
            signed.add(job.activation_format.signed)
            widths.add(job.output_format.bits)
            if job.output_format.bits == max(array.activation_widths):
                codes.append(found.ravel())
        assert signed == set(array.signednesses)
        assert widths == set(array.activation_widths)
        reached = np.unique(np.concatenate(codes))
        drawn = sum(part.size for part in codes)
        assert reached.size > 0.3 * min(drawn, 1 << max(array.activation_widths))


def test_what_it_cannot_be_built_with() -> None:
    with pytest.raises(ConfigError, match=r"array.max_reduction: 7 is not allowed; must be at le"):
        SelfTestPlan(array_config(2, 2, "W2A2", max_reduction=7))
    with pytest.raises(ConfigError, match=r"array.accumulator_depth: 3 is not allowed; must be"):
        SelfTestPlan(array_config(2, 2, "W2A2", accumulator_depth=3))
    with pytest.raises(ValueError, match="rounds must be at least 1, not 0"):
        SelfTestPlan(TINY, rounds=0)
    with pytest.raises(ValueError, match="signatures must be 2, one a mode, not 1"):
        SelfTest(SelfTestPlan(TINY), [1], 1, 1)
