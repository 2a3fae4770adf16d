"""Plays the same cycles on every simulator: inputs in, outputs back, port by port.

A block's vectors are written once, as the value of each input port in each cycle and what the
output ports must then show. `play` runs them on Amaranth's own simulator, on the compiled
Verilator model, or through cocotb on Verilator or Icarus.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

from dybit.hw.units import component_ports
from dybit.hw.verilog import emit
from dybit.sim.library import Effort
from dybit.sim.verilated import CompiledModel
from tests.hw.cocotb_runner import run_bench

__all__ = ["COCOTB_PLAYERS", "PLAYERS", "Cycles", "play"]

COCOTB_PLAYERS = ("verilator", "icarus")
PLAYERS = ("amaranth", "compiled", *COCOTB_PLAYERS)
"""What can play."""

Cycles = dict[str, list[int]]
"""Values of ports, one entry a cycle."""


def play(
    component: Any, name: str, inputs: Mapping[str, Sequence[int]], player: str, directory: Path
) -> Cycles:
    """Return the value of every output port in every cycle.

    Parameters
    ----------
    component : amaranth.lib.wiring.Component
        Built afresh for each call.
    name : str
        Name of the emitted module.
    inputs : mapping of str to sequence of int
        Value of each flat input port, and of ``rst``, in each cycle; ports not named stay 0.
        All are equally long. The first cycle comes after a reset.
    player : str
        One of `PLAYERS`.
    directory : Path
        Where Verilog and logs go, such as ``tmp_path``.

    Returns
    -------
    dict of str to list of int
        Outputs sampled at the end of each cycle, before its clock edge; -1 if unknown.
    """
    cycles = len(next(iter(inputs.values())))
    ports = component_ports(component)
    idle = {port: [0] * cycles for port, (_, flow) in ports.items() if _is_in(flow)}
    inputs = idle | {port: [int(value) for value in values] for port, values in inputs.items()}
    if player == "amaranth":
        return _play_amaranth(component, inputs)
    if player == "compiled":
        return _play_compiled(component, name, inputs, directory)
    stimulus, response = directory / "stimulus.json", directory / "response.json"
    stimulus.write_text(json.dumps(inputs))
    outputs = [port for port, (_, flow) in ports.items() if not _is_in(flow)]
    parameters = {"stimulus": str(stimulus), "response": str(response), "outputs": outputs}
    run_bench(component, name, "player_tests", directory, simulator=player, parameters=parameters)
    return dict(json.loads(response.read_text()))


def _is_in(flow: Any) -> bool:
    return bool(flow.name == "Input")


def _play_amaranth(component: Any, inputs: Cycles) -> Cycles:
    ports = component_ports(component)
    outputs: Cycles = {port: [] for port, (_, flow) in ports.items() if not _is_in(flow)}
    m = Module()
    m.domains.sync = domain = ClockDomain("sync")
    m.submodules.dut = component
    signals = {port: value for port, (value, _) in ports.items()} | {"rst": domain.rst}

    async def bench(ctx: Any) -> None:
        names = list(inputs)
        previous: tuple[int | None, ...] = (None,) * len(names)
        for values in zip(*inputs.values(), strict=True):
            for port, value, before in zip(names, values, previous, strict=True):
                if value != before:
                    ctx.set(signals[port], value)
            previous = values
            for port, seen in outputs.items():
                seen.append(int(ctx.get(signals[port])))
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return _unsigned(outputs, {port: len(value) for port, (value, _) in ports.items()})


def _unsigned(outputs: Cycles, widths: Mapping[str, int]) -> Cycles:
    return {
        port: [value & ((1 << widths[port]) - 1) for value in values]
        for port, values in outputs.items()
    }


def _play_compiled(component: Any, name: str, inputs: Cycles, directory: Path) -> Cycles:
    manifest = emit(component, name, directory / "verilog")
    cycles = len(next(iter(inputs.values())))
    with CompiledModel(directory / "verilog", effort=Effort.LOW) as model:
        model.reset()
        stimulus = model.stimulus(cycles)
        for port, values in inputs.items():
            stimulus.set(port, _words(values, model.inputs[port].words))
        trace = model.play(stimulus)
        return {
            port["name"]: _integers(model.read(trace, port["name"]))
            for port in manifest["ports"]
            if port["direction"] == "output"
        }


def _words(values: Sequence[int], count: int) -> npt.NDArray[np.uint32]:
    joined = b"".join(value.to_bytes(4 * count, "little") for value in values)
    return np.frombuffer(joined, "<u4").reshape(len(values), count)


def _integers(values: npt.NDArray[Any]) -> list[int]:
    if values.ndim == 1:
        return [int(value) for value in values]
    return [int.from_bytes(row.astype("<u4").tobytes(), "little") for row in values]
