"""Traced models as workloads, and searched configs that models accept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dybit.quant.config import QuantConfig
from dybit.quant.layer import INPUT
from dybit.quant.precision import MODES
from dybit.quant.search import MaxError, MinSpeedUp, Problem, exact, greedy
from dybit.quant.search.base_config import with_modes
from dybit.quant.search.found_config import found_config
from dybit.quant.torch import PreparedModel, agreement, calibrate, convert, prepare
from dybit.quant.torch.modules import ComputeStage
from dybit.quant.torch.observation import observe
from dybit.quant.torch.operands import Operands
from dybit.quant.torch.sensitivity import operand_rmse
from dybit.quant.torch.stages import MatMulStage, PassingStage
from dybit.quant.torch.workload import traced_workload, workload_of
from dybit.quant.torch.zoo import mobilenet_v2, resnet18
from dybit.quant.workloads import LayerShape, network_workload, table
from dybit.sim.executor import run

BASE = QuantConfig.from_dict(
    {
        "name": "base",
        "array": {
            "rows": 4,
            "columns": 4,
            "max_reduction": 512,
            "accumulator_depth": 64,
            "modes": [mode.name for mode in MODES],
        },
        "default": {"weight_bits": 8, "activation_bits": 8},
    }
)


class Residual(nn.Module):
    """Shortcuts with and without a convolution, and a concatenation that passes pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.first = nn.Conv2d(8, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.third = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.short = nn.Conv2d(8, 12, 1, stride=2)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.point = nn.Conv2d(24, 6, 1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.stem(x))
        x = functional.relu(x + self.second(functional.relu(self.first(x))))
        x = functional.relu(self.third(x) + self.short(x))
        x = torch.cat([functional.relu(self.depthwise(x)), x], dim=1)
        x = functional.relu(self.point(functional.max_pool2d(x, 2)))
        return self.head(x.mean([2, 3]))


class Attending(nn.Module):
    """Products of activations, whose operands convolution and linear layers make and read."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 12, 4, 4)
        self.query, self.key, self.value = (nn.Linear(12, 12) for _ in range(3))
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        weights = (self.query(x) @ self.key(x).transpose(1, 2)).softmax(-1)
        return self.head((weights @ self.value(x)).mean(1))


SEED = 3


def built(cls: type[nn.Module]) -> nn.Module:
    torch.manual_seed(SEED)
    return cls().eval()


def images(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_traced_architectures_are_the_tables(name: str) -> None:
    model = {"resnet18": resnet18, "mobilenet_v2": mobilenet_v2}[name]().eval()
    found, wanted = traced_workload(model, torch.zeros(1, 3, 224, 224), name), table(name)
    assert found.macs == wanted.macs
    assert found.groups == wanted.groups
    for one, other in zip(found.layers, wanted.layers, strict=True):
        # Batch norm is folded into a bias.
        assert one.weights == other.weights
        assert {f: getattr(one, f) for f in FIELDS} == {f: getattr(other, f) for f in FIELDS}


FIELDS = [
    name for name in LayerShape.__dataclass_fields__ if name not in ("channel_parameters", "self")
]


def quantizer_groups(prepared: PreparedModel) -> set[frozenset[str]]:
    """Tensors that one quantizer rounds, those of a product's operands together."""
    owner: dict[str, Any] = {INPUT: prepared.image}
    for stage in prepared.stages:
        found = stage.passed if isinstance(stage, PassingStage) else stage.quantizer
        if found is not None:
            owner[stage.name] = found
    sets: list[set[str]] = []
    for quantizer in dict.fromkeys(owner.values()):
        sets.append({name for name, found in owner.items() if found is quantizer})
    for stage in prepared.stages:
        if isinstance(stage, MatMulStage):
            joined = [s for s in sets if s & set(stage.inputs)]
            sets = [s for s in sets if s not in joined] + [set().union(*joined)]
    return {frozenset(s) for s in sets}


@pytest.mark.parametrize("cls", [Residual, Attending])
def test_groups_are_those_of_the_prepared_model(cls: type[nn.Module]) -> None:
    prepared = prepare(built(cls), BASE, images(1))
    workload = workload_of(prepared)
    assert {frozenset(group.tensors) for group in workload.groups} == quantizer_groups(prepared)
    readers = {name for group in workload.groups for name in group.readers}
    assert readers == {
        stage.name for stage in prepared.stages if isinstance(stage, ComputeStage | MatMulStage)
    }


def test_a_network_is_the_same_workload_before_and_after() -> None:
    prepared = calibrate(prepare(built(Residual), BASE, images(1)), [images(16)])
    before, after = workload_of(prepared), network_workload(convert(prepared))
    assert before.macs == after.macs
    assert [layer.name for layer in before.array_layers] == [
        layer.name for layer in after.array_layers
    ]
    assert [set(g.tensors) for g in before.groups] == [set(g.tensors) for g in after.groups]


def cost(layer: LayerShape, mode: Any) -> int:
    tiles = -(-layer.reduction // (4 * mode.channels)) * -(-layer.outputs // (4 * mode.lanes))
    return tiles * (layer.pixels + 4)


def problem_of(prepared: PreparedModel, base: QuantConfig) -> Problem:
    observed = observe(prepared, [images(16, seed) for seed in (1, 2)])
    operands = Operands(prepared, observed, base)
    found = operand_rmse(prepared, operands, base.array.modes)
    return Problem.build(workload_of(prepared), base.array.modes, cost, found)


@pytest.mark.parametrize("cls", [Residual, Attending])
@pytest.mark.parametrize("factor", [1.5, 3, "most"])
def test_found_configs_run(cls: type[nn.Module], factor: float | str) -> None:
    model = built(cls)
    prepared = prepare(model, with_modes(BASE), images(1))
    workload, problem = workload_of(prepared), problem_of(prepared, BASE)
    asked = problem.speed_up(problem.fastest) if factor == "most" else float(factor)
    for found in (exact(problem, MinSpeedUp(asked)), greedy(problem, MinSpeedUp(asked))):
        config = found_config(BASE, workload, found.modes)
        assert QuantConfig.from_dict(config.to_dict()) == config
        quantised = calibrate(prepare(model, config, images(1)), [images(32, 1)])
        network = convert(quantised)
        assert {layer.name: layer.mode for layer in network.compute_layers} == found.modes
        assert set(config.modes) >= set(found.modes.values())
        widths = workload.widths(found.modes)
        for quantizer in quantised.quantizers:
            assert quantizer.settings is not None
            if quantizer.name in widths:
                assert quantizer.settings.activation_bits == widths[quantizer.name]
        x = images(4, seed=9)
        trace = run(network, x.movedim(1, -1).numpy())
        assert agreement(quantised, x, trace).codes > 0.99


def test_the_error_of_a_model_grows_as_it_gets_faster() -> None:
    prepared = prepare(built(Residual), with_modes(BASE), images(1))
    problem = problem_of(prepared, BASE)
    bounds = np.geomspace(
        problem.error(problem.most_exact) * 1.01, problem.error(problem.fastest), 5
    )
    speeds = [exact(problem, MaxError(float(bound))).speed_up for bound in bounds]
    assert speeds == sorted(speeds)
    assert speeds[0] < 1.6 < speeds[-1]
