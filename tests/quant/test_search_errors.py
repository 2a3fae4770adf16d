"""What a search is given and what it leaves: errors, the cache, and the config."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dybit.quant.config import ConfigError, QuantConfig
from dybit.quant.distributions import Laplace, Normal
from dybit.quant.formats import DyBit
from dybit.quant.precision import MODES, PrecisionMode
from dybit.quant.search import OperandErrors, SearchError, Sensitivity, rmse
from dybit.quant.search.base_config import check_workload, with_modes
from dybit.quant.search.cache import Cache, digest
from dybit.quant.search.found_config import found_config
from dybit.quant.search.synthetic import synthetic_errors
from dybit.quant.sqnr import population_sqnr
from dybit.quant.workloads import (
    LayerKind,
    LayerShape,
    Workload,
    network_workload,
    table,
)
from dybit.quant.workloads.layer_shape import Image
from tests.networks import graph_network

W8A8, W8A4, W4A8, W4A4, W2A4, W4A2, W2A2 = MODES

BASE = {
    "name": "base",
    "array": {"rows": 4, "columns": 4, "max_reduction": 9216, "accumulator_depth": 64},
    "default": {"weight_bits": 8, "activation_bits": 8},
}


def two_layers() -> Workload:
    """3 x 3 weights of 4 channels on 4 x 4 pixels, then a linear layer of 64 x 10."""
    window: dict[str, Any] = {"kernel": (3, 3), "padding": (1, 1, 1, 1), "relu": True}
    return Workload(
        "two",
        (4, 4, 1),
        (
            shape("conv", LayerKind.CONV, "input", (4, 4, 1), (4, 4, 4), **window),
            shape("flat", LayerKind.VIEW, "conv", (4, 4, 4), (1, 1, 64)),
            shape("head", LayerKind.LINEAR, "flat", (1, 1, 64), (1, 1, 10)),
        ),
    )


def shape(
    name: str, kind: LayerKind, source: str, before: Image, after: Image, **fields: Any
) -> LayerShape:
    return LayerShape(
        name=name, kind=kind, inputs=(source,), input_shape=before, output_shape=after, **fields
    )


def test_rmse_by_hand() -> None:
    weights = {("conv", 4): OperandErrors(3.0, 100.0), ("head", 4): OperandErrors(0.0, 0.0)}
    activations = {("conv", 4): OperandErrors(5.0, 1000.0), ("head", 4): OperandErrors(8.0, 100.0)}
    found = rmse(two_layers(), (W4A4,), weights, activations)
    # 0.03 and 0.005: a mean of 0.0175. A layer of zeros is exact: the mean of 0 and 0.08.
    assert found.errors["conv"][W4A4] == pytest.approx(0.0175**0.5)
    assert found.errors["head"][W4A4] == pytest.approx(0.2)
    # 576 and 640 multiply-accumulates.
    table = found.contributions(["conv", "head"], [W4A4])
    assert table.sum() == pytest.approx((576 * 0.0175**0.5 + 640 * 0.2) / 1216)
    pooled = rmse(two_layers(), (W4A4,), weights, activations, pooled=True)
    assert pooled.errors["conv"][W4A4] == pytest.approx((8 / 1100) ** 0.5)


def test_a_sensitivity_without_a_mode_is_refused() -> None:
    found = Sensitivity("rmse", {"a": {W8A8: 0.0}}, {"a": 1.0})
    with pytest.raises(SearchError, match="sensitivity of a must have W4A4, W2A2"):
        found.contributions(["a"], [W8A8, W4A4, W2A2])


def test_synthetic_errors_are_those_of_the_populations() -> None:
    array = with_modes(QuantConfig.from_dict(BASE)).array
    workload = table("resnet18")
    weights, activations = synthetic_errors(workload, array, seed=1)
    # Plain formats are all that 4 bits have; 8 bits have the best of seven limits.
    ratios = {
        10 ** (-population_sqnr(population, DyBit(4)) / 10) for population in (Normal(), Laplace())
    }
    found = [weights[layer.name, 4].relative for layer in workload.array_layers]
    assert min(found) == pytest.approx(min(ratios), rel=0.01)
    assert max(found) == pytest.approx(max(ratios), rel=0.02)
    assert len(set(found)) == 5
    # Half-normal, as after a ReLU; the image and the sums before one have a sign.
    half = 10 ** (-population_sqnr(Normal(), DyBit(4, False)) / 10)
    assert activations["layer1.0.conv1", 4].relative == pytest.approx(half, rel=0.01)
    gauss = 10 ** (-population_sqnr(Normal(), DyBit(4)) / 10)
    assert activations["conv1", 4].relative == pytest.approx(gauss, rel=0.01)
    assert weights["fc", 2].power == 512_000
    assert activations["conv1", 2].power == 224 * 224 * 3


def test_synthetic_errors_depend_on_seed_and_name_alone() -> None:
    array = with_modes(QuantConfig.from_dict(BASE)).array
    first, second = (synthetic_errors(table("resnet18"), array, seed=4) for _ in range(2))
    assert first == second
    other, _ = synthetic_errors(table("resnet18"), array, seed=5)
    assert other != first[0]


def test_the_cache_keeps_values_and_arrays(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "new" / "folder")
    assert cache.get(("a", 1), lambda: [1, 2.5]) == [1, 2.5]
    assert cache.get(("a", 1), lambda: pytest.fail("computed twice")) == [1, 2.5]
    assert cache.get(("a", 2), lambda: 3) == 3
    arrays = {"x": np.arange(6.0).reshape(2, 3).T, "zero": np.array(1.5)}
    for _ in range(2):
        found = cache.arrays("arrays", lambda: arrays)
        np.testing.assert_array_equal(found["x"], arrays["x"])
        assert found["zero"].shape == ()
    assert (cache.hits, cache.misses) == (2, 3)


@pytest.mark.parametrize("content", [b"", b"[1,", b"\xff\xfe"])
def test_damaged_files_of_the_cache_are_computed_anew(tmp_path: Path, content: bytes) -> None:
    cache = Cache(tmp_path)
    cache.get("value", lambda: 1)
    cache.arrays("arrays", lambda: {"x": np.ones(2)})
    for path in tmp_path.iterdir():
        path.write_bytes(content)
    assert cache.get("value", lambda: 2) == 2
    assert cache.arrays("arrays", lambda: {"x": np.zeros(2)})["x"].tolist() == [0, 0]
    assert cache.get("value", lambda: 3) == 2


def test_digests_tell_contents_apart() -> None:
    contents = [
        (b"ab", b"c"), (b"a", b"bc"), ("a",), (1,), (1.0,), (np.zeros(4),), (np.zeros((2, 2)),),
        (np.zeros(4, np.float32),), (np.zeros(8, np.float32),), ((1, 2),), (1, 2),
    ]  # fmt: skip
    assert len({digest(*parts) for parts in contents}) == len(contents)
    assert digest(np.arange(6).reshape(2, 3).T) == digest(np.arange(6).reshape(2, 3).T.copy())


KILLED = """
import os, signal, sys
from pathlib import Path
from dybit.quant.config import QuantConfig
from dybit.quant.search.base_config import with_modes
from dybit.quant.search.cache import Cache
from dybit.quant.search.synthetic import synthetic_errors
from dybit.quant.workloads import table

steps = 0
def step():
    global steps
    steps += 1
    if steps == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

array = with_modes(QuantConfig.from_dict(%r)).array
synthetic_errors(table("resnet18"), array, 0, Cache(Path(sys.argv[1])), step)
"""


def test_a_killed_search_loses_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED % BASE, str(tmp_path), "3"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    before = {path: os.stat(path).st_mtime_ns for path in tmp_path.glob("*.json")}
    assert before
    array = with_modes(QuantConfig.from_dict(BASE)).array
    resumed = Cache(tmp_path)
    found = synthetic_errors(table("resnet18"), array, 0, resumed)
    assert found == synthetic_errors(table("resnet18"), array, 0)
    after = {path: os.stat(path).st_mtime_ns for path in tmp_path.glob("*.json")}
    assert len(after) == len(before) + resumed.misses
    assert {path: after[path] for path in before} == before


def modes_of(workload: Workload, mode: PrecisionMode, **others: PrecisionMode) -> dict:
    return {layer.name: mode for layer in workload.array_layers} | others


def test_the_config_states_what_departs_from_most_layers() -> None:
    workload = table("alexnet")
    modes = modes_of(workload, W4A4) | {"features.0": W8A8, "classifier.6": W4A8}
    found = found_config(QuantConfig.from_dict(BASE), workload, modes, name="found")
    assert found.name == "found"
    assert {layer.name: found.layer(layer.name).mode for layer in workload.array_layers} == modes
    assert (found.default.mode, set(found.layers)) == (W4A4, {"features.0", "classifier.6"})
    assert found.layers["classifier.6"].weight_bits is None
    # Hardware is paid for what is used.
    assert found.modes == (W8A8, W4A8, W4A4)
    text = found.dumps()
    assert text == found_config(found, workload, dict(reversed(modes.items()))).dumps()
    every = with_modes(QuantConfig.from_dict(BASE))
    assert found_config(every, workload, modes, keep_modes=True).modes == MODES


@pytest.mark.parametrize("bits", [4, 8])
def test_products_of_activations_state_their_width(bits: int) -> None:
    workload = network_workload(graph_network())
    by_width = {4: W4A4, 8: W8A8}
    modes = {layer.name: by_width[12 - bits] for layer in workload.array_layers}
    found = found_config(QuantConfig.from_dict(BASE), workload, modes)
    assert found.default.mode == by_width[12 - bits]
    # No layer with weights reads the operands: they have the widest width in use.
    assert found.layer("scores").activation_bits == 12 - bits
    modes["head"] = by_width[bits]
    found = found_config(QuantConfig.from_dict(BASE), workload, modes)
    assert found.layer("scores").activation_bits == 8


def test_the_config_survives_its_file(tmp_path: Path) -> None:
    workload = table("resnet18")
    modes = modes_of(workload, W4A4) | {"layer4.1.conv2": W2A4, "conv1": W8A8}
    found = found_config(QuantConfig.from_dict(BASE), workload, modes, name="found")
    (tmp_path / "found.toml").write_text(found.dumps())
    assert QuantConfig.load(tmp_path / "found.toml") == found


def test_exponent_limits_stay_with_their_width() -> None:
    limits = {"weight_max_exponent_bits": 2, "activation_max_exponent_bits": 3}
    base = QuantConfig.from_dict(BASE | {"default": BASE["default"] | limits})
    workload = table("alexnet")
    modes = modes_of(workload, W4A4) | {"features.0": W8A8, "features.3": W8A4}
    found = found_config(base, workload, modes)
    first, second, third = (found.layer(f"features.{i}") for i in (0, 3, 6))
    assert (first.weight_max_exponent_bits, first.activation_max_exponent_bits) == (2, 3)
    assert (second.weight_max_exponent_bits, second.activation_max_exponent_bits) == (2, None)
    assert (third.weight_max_exponent_bits, third.activation_max_exponent_bits) == (None, None)


def test_modes_searched_are_the_arrays_or_all() -> None:
    one = QuantConfig.from_dict(BASE)
    assert with_modes(one).modes == MODES
    two = QuantConfig.from_dict(BASE | {"array": BASE["array"] | {"modes": ["W4A4", "W8A8"]}})
    assert with_modes(two).modes == (W8A8, W4A4)
    narrow = with_modes(two, [W2A2, W4A4])
    assert (narrow.modes, narrow.default.mode) == ((W4A4, W2A2), W4A4)
    esb = BASE | {"array": BASE["array"] | {"family": "esb", "activations": "signed"}}
    assert with_modes(QuantConfig.from_dict(esb)).modes == (W8A8, W8A4, W4A8, W4A4)


def test_layers_that_the_array_cannot_sum_are_refused() -> None:
    base = QuantConfig.from_dict(BASE | {"array": BASE["array"] | {"max_reduction": 4608}})
    check_workload(table("resnet18"), base, with_modes(base).array)
    with pytest.raises(ConfigError, match=r"layers\.classifier\.1: a reduction of 9216 is not"):
        check_workload(table("alexnet"), base, with_modes(base).array)


def test_entries_of_the_base_must_name_layers() -> None:
    base = QuantConfig.from_dict(BASE | {"layers": {"conv9": {"weight_bits": 8}}})
    with pytest.raises(ConfigError, match=r"layers\.conv9: no such layer"):
        check_workload(table("alexnet"), base, with_modes(base).array)
