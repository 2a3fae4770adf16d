"""The search's cycles are those of the schedule, which the engine's own equal."""

from __future__ import annotations

import numpy as np
import pytest

from dybit.quant.array_config import ArrayConfig
from dybit.quant.precision import MODES
from dybit.quant.workloads.layer_shape import LayerKind, LayerShape
from dybit.sim.schedule import plan
from dybit.sim.schedule_cost import ScheduleCost

LATENCY = {"array": 17, "accumulate": 21, "revisit": 4, "accumulators": 2, "codes": 9}


@pytest.mark.parametrize("seed", range(40))
def test_cycles_are_those_of_the_schedule(seed: int) -> None:
    rng = np.random.default_rng(seed)
    array = ArrayConfig(
        rows=int(rng.integers(1, 20)),
        columns=int(rng.integers(1, 20)),
        max_reduction=1 << 16,
        accumulator_depth=int(rng.integers(1, 70)),
        modes=MODES,
    )
    latency = {name: int(rng.integers(1, 2 * cycles)) for name, cycles in LATENCY.items()}
    cost = ScheduleCost(array, latency)
    groups, channels, outputs = (int(n) for n in rng.integers(1, 9, 3))
    kernel = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    height, width = (int(n) for n in rng.integers(1, 15, 2))
    layer = LayerShape(
        name="layer",
        kind=LayerKind.of_convolution(groups * channels, groups),
        inputs=("input",),
        input_shape=(height + kernel[0] - 1, width + kernel[1] - 1, groups * channels),
        output_shape=(height, width, groups * outputs),
        kernel=kernel,
        groups=groups,
    )
    for mode in MODES:
        reduction = channels * kernel[0] * kernel[1]
        wanted = plan(array, latency, mode, height * width, reduction, outputs).cycles
        assert cost(layer, mode) == groups * wanted
