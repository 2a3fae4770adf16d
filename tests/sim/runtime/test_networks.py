"""Networks on the golden device, against the executor, which knows nothing of tiles or memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dybit.quant.config import QuantConfig
from dybit.quant.network import QuantNetwork
from dybit.sim import executor
from dybit.sim.runtime import GoldenDevice, Plan, PlanError, Result, compile
from tests.accelerators import draw_config, draw_network, manifest
from tests.networks import esb_network, graph_network, random_network

GUARD = 4096


def images(network: QuantNetwork, count: int, seed: int = 7) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(0.4, 0.6, (count, *network.input_shape)).astype(np.float32)


def differences(network: QuantNetwork, plan: Plan, result: Result, x: np.ndarray) -> list[str]:
    """Return the tensors in which a run differs from the executor's."""
    trace = executor.run(network, x)
    wrong = [] if np.array_equal(result.outputs, trace.logits) else ["outputs"]
    for name, found in result.tensors.items():
        layer, _, kind = name.partition(".")
        step = trace.layers[layer]
        wanted = step.accumulators if kind else step.reals if step.codes is None else step.codes
        if not np.array_equal(found, wanted):
            wrong.append(name)
    return wrong


def packed(codes: np.ndarray, bits: int, pixel_bytes: int) -> np.ndarray:
    """Return the bytes of a tensor, bit by bit."""
    if bits > 8:
        rows = codes.reshape(-1, codes.shape[-1]).astype(f"<i{bits // 8}").view(np.uint8)
    else:
        digits = codes.reshape(-1, codes.shape[-1], 1) >> np.arange(bits) & 1
        rows = np.packbits(digits.reshape(len(digits), -1), axis=1, bitorder="little")
    return np.pad(rows, ((0, 0), (0, pixel_bytes - rows.shape[1])))


@pytest.mark.parametrize("seed", range(60))
def test_drawn_layers_and_all_of_the_memory(seed: int) -> None:
    """What the network makes is right, and nothing but that is written."""
    rng = np.random.default_rng(seed)
    network = draw_network(rng, draw_config(rng))
    plan = compile(network, batch=2, keep=True)
    device = GoldenDevice(manifest(plan))
    base = device.allocate(plan.size + GUARD)
    device.memory[:] = rng.integers(0, 256, len(device.memory))
    device.load(plan)
    before = device.memory.copy()
    x = images(network, 2, seed)
    result = device.run(plan, x, tensors=list(plan.tensors))
    assert differences(network, plan, result, x) == []

    trace = executor.run(network, x)
    want = before.copy()
    for step in plan.steps:
        if hasattr(step, "fold"):  # what was uploaded is its own consumer's business
            place = slice(base + step.buffer.address, base + step.buffer.address + step.buffer.size)
            want[place] = device.memory[place]
    for name, buffer in plan.tensors.items():
        layer, _, kind = name.partition(".")
        codes = trace.layers[layer].accumulators if kind else trace.layers[layer].codes
        data = packed(codes, buffer.bits, buffer.pixel_bytes)
        assert buffer.size == data.size
        place = slice(base + buffer.address, base + buffer.address + data.size)
        if kind and not network.layer(layer).weight_format.has_zero:
            # Columns without weights of their own have some all the same, and sums.
            extent = codes.shape[-1] * buffer.bits // 8
            data[:, extent:] = device.memory[place].reshape(data.shape)[:, extent:]
        want[place] = data.reshape(-1)
    assert np.array_equal(device.memory, want)


def test_drawn_layers_are_various() -> None:
    """The seeds above meet several tiles, both units, many codes and every mode."""
    modes, tiles, units, codes = set(), [], set(), []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        network = draw_network(rng, draw_config(rng))
        plan = compile(network, batch=2)
        modes |= {row["mode"] for row in plan.layers}
        tiles += [row.get("tiles", 0) for row in plan.layers]
        units |= {row["on"] for row in plan.layers}
        drawn = executor.run(network, images(network, 2, seed)).layers["drawn"].codes
        codes.append(len(np.unique(drawn)))
    assert len(modes) >= 7
    assert sum(count > 2 for count in tiles) > 40
    assert {"array", "depthwise"} <= units
    assert np.median(codes) >= 4


NETWORKS = {
    "small": random_network(),
    "graph": graph_network(),
    "uniform": graph_network(uniform=True),
    "esb": esb_network(1, 4),
    "esb without zero": esb_network(2, 6),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("batch", [1, 3])
def test_networks_of_every_kind_of_layer(name: str, batch: int, tmp_path: Path) -> None:
    network = NETWORKS[name]
    plan = compile(network, batch=batch)
    device = GoldenDevice(manifest(plan))
    x = images(network, 4)
    assert differences(network, plan, device.run(plan, x), x) == []

    kept = compile(network, batch=batch, keep=True)
    assert kept.size >= plan.size
    kept.save(tmp_path)
    loaded = Plan.load(tmp_path)
    assert loaded == kept
    result = device.run(loaded, x.astype(np.float64), tensors=list(kept.tensors))
    assert differences(network, kept, result, x.astype(np.float64)) == []
    assert result.predictions.tolist() == result.outputs.argmax(-1).tolist()


def test_one_accelerator_for_networks_of_other_configs() -> None:
    array = {"rows": 8, "columns": 4, "max_reduction": 512, "accumulator_depth": 64}
    array["modes"] = ["W8A8", "W4A4"]
    built = QuantConfig.from_dict(
        {"name": "built", "array": array, "default": {"weight_bits": 8, "activation_bits": 8}}
    )
    device = None
    for network in (random_network(), graph_network()):
        plan = compile(network, built)
        device = device or GoldenDevice(manifest(plan))
        x = images(network, 2)
        assert differences(network, plan, device.run(plan, x), x) == []


def test_progress_and_counters() -> None:
    network = random_network()
    plan = compile(network, batch=2)
    calls: list[tuple[int, int]] = []
    device = GoldenDevice(manifest(plan))
    result = device.run(plan, images(network, 3), lambda done, total: calls.append((done, total)))
    assert calls == [(i, 2 * len(plan.steps)) for i in range(1, 2 * len(plan.steps) + 1)]
    assert result.counters == [{} for _ in plan.runs]


def test_run_refuses() -> None:
    network = random_network()
    plan = compile(network)
    device = GoldenDevice(manifest(plan))
    with pytest.raises(TypeError, match="images must be float32 or float64, not uint8"):
        device.run(plan, np.zeros((1, 6, 8, 2), np.uint8))
    with pytest.raises(ValueError, match=r"images must have shape \(N, 6, 8, 2\), not \(1, 2\)"):
        device.run(plan, np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"not \(0, 6, 8, 2\)"):
        device.run(plan, np.zeros((0, 6, 8, 2)))
    with pytest.raises(ValueError, match="NaN"):
        device.run(plan, np.full((1, 6, 8, 2), np.nan))
    with pytest.raises(PlanError, match=r"first is not kept: compile with keep=True"):
        device.run(plan, images(network, 1), tensors=["first"])
    other = compile(esb_network(1, 4))
    message = r"small: parameters must be those of the design at hand, not .*family 'esb'"
    with pytest.raises(PlanError, match=message):
        device.run(other, images(network, 1))
