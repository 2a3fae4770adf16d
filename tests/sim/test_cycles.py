"""The cycle model's parts that need no hardware: memories, layers by shape, whole networks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dybit.quant.accelerator_config import AcceleratorConfig
from dybit.quant.array_config import ArrayConfig
from dybit.quant.precision import MODES, PrecisionMode
from dybit.quant.workloads import table
from dybit.scripts.engine_cost import machine_of
from dybit.sim.board_driver import PlanError
from dybit.sim.cycles import AcceleratorCost, Machine, Memory, layer_cycles, network_cycles
from dybit.sim.cycles.kernel import Table, constants, replay
from dybit.sim.cycles.layer_cycles import forget

ARRAY = ArrayConfig(rows=16, columns=16, max_reduction=4608, accumulator_depth=512, modes=MODES)
ACCELERATOR = AcceleratorConfig(parameter_groups=512, depthwise_kernel=3)
W8A8, W4A4 = PrecisionMode(8, 8), PrecisionMode(4, 4)


@pytest.fixture(scope="module")
def machine() -> Machine:
    return machine_of(ARRAY, ACCELERATOR)


@pytest.mark.parametrize("mode", MODES)
def test_compute_is_a_cycle_for_each_vector(machine: Machine, mode: PrecisionMode) -> None:
    """Passes and vectors as the sizes of the layer say, whatever the tiles."""
    for layer in table("resnet18").array_layers:
        found = layer_cycles(layer, mode, machine)
        word, tile = 16 * mode.channels, 16 * mode.lanes
        passes = layer.kernel[0] * layer.kernel[1] * -(-layer.channels // word)
        assert found.counts.vectors == layer.pixels * passes * -(-layer.outputs // tile)
        assert found.counts.compute == found.counts.vectors
        stalls = found.counts.stall_weights + found.counts.stall_activations
        assert found.cycles >= found.counts.compute + found.counts.fill + found.counts.drain
        assert found.cycles >= found.counts.compute + stalls + found.counts.stall_results
        assert found.macs == layer.macs
        assert found.utilisation <= 1


def test_every_byte_is_read_and_written(machine: Machine) -> None:
    for layer in table("mobilenet_v2").array_layers:
        found = layer_cycles(layer, W8A8, machine)
        assert found.written_bytes >= layer.pixels * layer.outputs
        looked_at = layer.pixels if layer.kernel == (1, 1) else layer.pixels * layer.stride[0]
        assert found.counts.input_beats * 16 >= looked_at * layer.channels
        assert found.counts.weight_beats * 16 >= layer.weights
        assert found.counts.descriptor_beats == 8 * found.counts.tiles
        kinds = ("input", "weight", "parameter", "descriptor")
        assert found.counts.read_beats == sum(
            getattr(found.counts, f"{kind}_beats") for kind in kinds
        )
        assert found.depthwise == (layer.groups > 1)


def test_a_slower_memory_makes_no_layer_faster(machine: Machine) -> None:
    layers = table("resnet18").array_layers
    memories = [Memory(0), Memory(40), Memory(40, 1.5), Memory(40, 4), Memory(400, 4)]
    totals = []
    for memory in memories:
        slower = replace(machine, memory=memory)
        cycles = [layer_cycles(layer, W4A4, slower) for layer in layers]
        assert all(each.cycles >= each.memory_cycles for each in cycles)
        totals.append(sum(each.cycles for each in cycles))
    assert totals == sorted(totals)
    # A quarter of the bandwidth decides: nearly all cycles are the bus's.
    fc = layer_cycles(layers[-1], W8A8, replace(machine, memory=Memory(40, 4)))
    assert fc.cycles < 1.05 * fc.memory_cycles


def test_the_last_layer_writes_sums_and_others_codes(machine: Machine) -> None:
    workload = table("resnet18")
    modes = dict.fromkeys((layer.name for layer in workload.array_layers), W8A8)
    modes["layer1.0.conv2"] = PrecisionMode(4, 8)
    modes["fc"] = W4A4
    found = {
        layer.name: layer for layer in network_cycles(workload, modes, AcceleratorCost(machine))
    }
    assert [layer.mode for layer in found.values()] == list(modes.values())
    # 63 groups of 16 sums, each in the 64 bits that a lane of W4A4 takes.
    assert ARRAY.accumulator_lane_bits(W4A4) > 32
    assert found["fc"].written_bytes == 63 * 16 * 8
    conv2 = workload.layer("layer4.1.conv2")
    assert found["layer4.1.conv2"].written_bytes == conv2.pixels * conv2.outputs // 2


def test_cost_is_that_of_the_layer(machine: Machine) -> None:
    cost = AcceleratorCost(machine)
    first, second = table("resnet18").array_layers[:2]
    assert cost(second, W4A4) == layer_cycles(second, W4A4, machine).cycles
    assert cost(first, W8A8) == layer_cycles(first, W8A8, machine, packed=True).cycles
    assert cost(first, W8A8) < layer_cycles(first, W8A8, machine).cycles
    twice = AcceleratorCost(machine, batch=2).layer(second, W4A4)
    assert twice.macs == 2 * second.macs
    assert 1.9 < twice.cycles / cost(second, W4A4) < 2


def test_bandwidth() -> None:
    assert Memory.of_bandwidth(1.6e9, 200e6) == Memory(40, 2.0)
    assert Memory.of_bandwidth(100e9, 200e6, 7) == Memory(7, 1.0)


@pytest.mark.parametrize(
    ("rows", "columns", "depth", "memory"),
    [(16, 16, 1024, Memory()), (8, 32, 128, Memory(100, 2.5)), (64, 64, 512, Memory(7))],
)
def test_leaps_lead_where_steps_do(
    rows: int, columns: int, depth: int, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = ARRAY.model_copy(update={"rows": rows, "columns": columns, "accumulator_depth": depth})
    machine = machine_of(array, AcceleratorConfig(parameter_groups=1024), memory)
    tables: list[Table] = []

    def spy(table: Table, constants: Table) -> dict[str, int]:
        tables.append(table)
        return replay(table, constants)

    monkeypatch.setattr("dybit.sim.cycles.counts.replay", spy)
    forget()
    for mode in (W8A8, PrecisionMode(2, 2)):
        for layer in table("resnet18").array_layers:
            layer_cycles(layer, mode, machine)
    assert len(tables) == 24
    for each in tables:
        assert replay(each, constants(machine)) == replay(each, constants(machine, leaps=False))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"latency": -1}, "latency must be an integer from 0 to 1048575, not -1"),
        ({"latency": 1 << 20}, "latency must be an integer from 0 to 1048575, not 1048576"),
        ({"beat_cycles": 0.5}, "beat_cycles must be 1 to 4096, not 0.5"),
        ({"beat_cycles": float("nan")}, "beat_cycles must be 1 to 4096, not nan"),
    ],
)
def test_memories_that_are_none(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Memory(**fields)  # type: ignore[arg-type]


def test_no_bandwidth() -> None:
    with pytest.raises(ValueError, match="bandwidth and clock must be positive, not 0, 1"):
        Memory.of_bandwidth(0, 1)


def test_layers_without_room(machine: Machine) -> None:
    small = machine_of(ARRAY, AcceleratorConfig(parameter_groups=16))
    (fc,) = table("resnet18").array_layers[-1:]
    with pytest.raises(PlanError, match=r"1000 outputs are 63 groups of array.columns; must be"):
        layer_cycles(fc, W8A8, small)
    huge = replace(fc, stride=(1, 256))
    with pytest.raises(PlanError, match="fc: stride must be at most 255, not 256"):
        layer_cycles(huge, W8A8, machine)
