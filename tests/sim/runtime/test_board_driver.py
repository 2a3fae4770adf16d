"""The board driver alone, on a simulated register file and memory."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import types
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dybit.hw.descriptor import descriptor_table
from dybit.hw.registers import register_table
from dybit.quant.network import QuantNetwork
from dybit.sim import executor
from dybit.sim.board_driver import (
    BoardDevice,
    EngineError,
    Mapping32,
    PlanError,
    ReservedMemory,
    UioInterrupt,
)
from dybit.sim.runtime import GoldenDevice, Plan, compile
from tests.networks import graph_network, random_network

DRIVER = Path(__file__).parents[3] / "sim/board_driver.py"
OFFSETS = {entry["name"]: entry["offset"] for entry in register_table()}
NAMES = {offset: name for name, offset in OFFSETS.items()}
REGION = 0x12340
SIZE = 1 << 17


def manifest(plan: Plan) -> dict[str, Any]:
    return {
        "parameters": plan.parameters,
        "descriptor": descriptor_table(),
        "registers": register_table(),
    }


def constants(plan: Plan) -> dict[str, int]:
    text = json.dumps(plan.parameters, sort_keys=True, separators=(",", ":"))
    return {"MAGIC": 0x44594254, "VERSION": 1, "CONFIGURATION": zlib.crc32(text.encode())}


class SimulatedRegisters:
    """The register map over the golden device, as its descriptions have it."""

    def __init__(self, golden: GoldenDevice, plan: Plan) -> None:
        self.golden = golden
        self.values = dict.fromkeys(OFFSETS, 0) | constants(plan)
        self.starts = 0

    def read(self, offset: int) -> int:
        name = NAMES[offset]
        value = self.values[name]
        if name == "CTRL":
            self.values[name] &= ~0b1010
        return value

    def write(self, offset: int, value: int) -> None:
        name = NAMES[offset]
        if name == "ISR":
            self.values[name] ^= value
        elif name == "CTRL":
            if value & 1:
                self.run()
        elif name in ("GIE", "IER", "LIST_LOW", "LIST_HIGH", "LIST_LENGTH"):
            self.values[name] = value

    def run(self) -> None:
        self.starts += 1
        values = self.values
        address = values["LIST_LOW"] | values["LIST_HIGH"] << 32
        report = self.golden.execute(address, values["LIST_LENGTH"])
        values["ERROR"] = report.error | report.detail << 8
        values["ERROR_DESCRIPTOR"] = report.descriptor
        values["CYCLES_LOW"], values["CYCLES_HIGH"] = 7, 2
        values["CTRL"] |= 0b1110
        values["ISR"] |= values["IER"] & 1


def board(network: QuantNetwork, **options: Any) -> tuple[Plan, BoardDevice, SimulatedRegisters]:
    plan = compile(network, batch=2, **options)
    golden = GoldenDevice(manifest(plan), REGION + SIZE)
    registers = SimulatedRegisters(golden, plan)
    memory = ReservedMemory(golden.memory[REGION:], REGION)
    return plan, BoardDevice(manifest(plan), registers, memory), registers


def images(network: QuantNetwork, count: int) -> np.ndarray:
    return np.random.default_rng(3).normal(0.4, 0.6, (count, *network.input_shape))


def test_a_network_on_a_board() -> None:
    network = random_network()
    plan, device, registers = board(network)
    x = images(network, 3)
    result = device.run(plan, x)
    assert np.array_equal(result.outputs, executor.run(network, x).logits)
    assert registers.starts == 2 * len(plan.runs)
    # Two batches: the counters of both.
    assert [run["cycles"] for run in result.counters] == [2 * (7 + (2 << 32))] * len(plan.runs)
    assert registers.values["ISR"] == 0
    assert (registers.values["LIST_LOW"] - plan.runs[-1].address) % 4096 == 0


def test_it_imports_nothing_but_numpy() -> None:
    tree = ast.parse(DRIVER.read_text())
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert names - set(sys.stdlib_module_names) == {"numpy", "pynq"}


def test_it_runs_where_the_project_is_not(tmp_path: Path) -> None:
    """The file alone in another folder loads a plan, encodes, packs and drives."""
    network = random_network()
    plan, device, _ = board(network, keep=True)
    plan.save(tmp_path / "plan")
    (tmp_path / "driver.py").write_bytes(DRIVER.read_bytes())
    x = images(network, 2)
    device.run(plan, x)
    np.save(tmp_path / "images.npy", x)
    upload = next(step.buffer for step in plan.steps if hasattr(step, "fold"))
    wanted = device.read(device.load(plan) + upload.address, upload.size)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest(plan)))
    program = """
import sys
import numpy as np
import driver

class Recorder(driver.Device):
    def allocate(self, size): return 0
    def write(self, address, data): self.written = bytes(data)
    def read(self, address, size): raise NotImplementedError
    def execute(self, address, length): raise NotImplementedError

plan = driver.Plan.load("plan")
device = Recorder(".")
device.load(plan)
values = {driver.IMAGES: np.load("images.npy")}
for step in plan.steps[:2]:
    device._take(step, values, plan.batch)
assert not [name for name in sys.modules if name.startswith("dybit")]
print(device.written.hex())
"""
    command = [sys.executable, "-S", "-c", program]
    packages = str(Path(np.__file__).parents[1])
    environment = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{packages}"}
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert bytes.fromhex(result.stdout) == wanted.tobytes()


def test_float_layers_need_more_than_the_driver() -> None:
    network = graph_network()
    plan, device, _ = board(network)
    with pytest.raises(PlanError, match=r"soft: float must be one of .* on this device"):
        device.run(plan, images(network, 1))


def test_errors_of_the_hardware() -> None:
    network = random_network()
    plan, device, registers = board(network)
    device.load(plan)
    list_address = device.load(plan) + plan.runs[0].address
    kernel = list_address + 32
    device.write(kernel, np.zeros(1, np.uint8))
    message = r"illegal descriptor \(error 1, detail 10\) at descriptor 0"
    with pytest.raises(EngineError, match=message) as error:
        device.run(plan, images(network, 1))
    assert error.value.report.detail == 10
    assert registers.values["ISR"] == 0


@pytest.mark.parametrize("name", ["MAGIC", "VERSION", "CONFIGURATION"])
def test_another_bitstream_is_refused(name: str) -> None:
    _, device, registers = board(random_network())
    registers.values[name] ^= 1
    with pytest.raises(PlanError, match=rf"register {name} must be 0x.*; load the bitstream that"):
        device.identify()


def test_memory_runs_out() -> None:
    network = random_network()
    plan = compile(network)
    golden = GoldenDevice(manifest(plan), REGION + 4096)
    registers = SimulatedRegisters(golden, plan)
    memory = ReservedMemory(golden.memory[REGION:], REGION)
    device = BoardDevice(manifest(plan), registers, memory)
    with pytest.raises(PlanError, match=r"at 0x13000 must lie in the 4096 bytes at 0x12340; res"):
        device.run(plan, images(network, 1))


def test_a_run_that_hangs() -> None:
    plan, device, registers = board(random_network())
    registers.run = lambda: None
    device._timeout = 0.01
    with pytest.raises(TimeoutError, match=r"no interrupt in 0.01 seconds \(STATUS 0x0\)"):
        device.run(plan, images(random_network(), 1))


def test_pynq(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache lies between: what is not flushed or invalidated is not seen."""
    network = random_network()
    plan = compile(network)
    golden = GoldenDevice(manifest(plan), REGION + SIZE)
    freed = []

    class Cached(np.ndarray):
        device_address = REGION

        def flush(self) -> None:
            golden.memory[REGION : REGION + self.size] = self

        def invalidate(self) -> None:
            self[:] = golden.memory[REGION : REGION + self.size]

        def freebuffer(self) -> None:
            freed.append(self.size)

    module = types.ModuleType("pynq")
    module.allocate = lambda shape, dtype: np.zeros(shape, dtype).view(Cached)
    module.MMIO = lambda address, size: SimulatedRegisters(golden, plan)
    monkeypatch.setitem(sys.modules, "pynq", module)
    device = BoardDevice.pynq(manifest(plan), 0xA0000000)
    x = images(network, 2)
    assert np.array_equal(device.run(plan, x).outputs, executor.run(network, x).logits)
    other = compile(network, batch=2)
    assert np.array_equal(device.run(other, x).outputs, executor.run(network, x).logits)
    assert freed == [plan.size + 4096]


def system_file(path: Path, plan: Plan, offset: int) -> Path:
    """Return a file with registers at `offset` that answer what a driver asks."""
    content = np.zeros(16 * 4096, np.uint8)
    words = content.view(np.uint32)
    for name, value in (constants(plan) | {"ISR": 1, "ERROR": 0x0A01, "DEPTHWISE_HIGH": 3}).items():
        words[(offset + OFFSETS[name]) // 4] = value
    path.write_bytes(content.tobytes())
    return path


def test_dev_mem(tmp_path: Path) -> None:
    plan = compile(random_network())
    path = system_file(tmp_path / "mem", plan, 4096)
    device = BoardDevice.dev_mem(manifest(plan), 4096, 2 * 4096, 8 * 4096, path)
    base = device.load(plan)
    assert base == 2 * 4096
    report = device.execute(base + plan.runs[0].address, len(plan.runs[0].tiles))
    assert (report.error, report.detail, report.counters["depthwise"]) == (1, 10, 3 << 32)
    content = np.fromfile(path, np.uint8)
    constant = np.frombuffer(plan.constants, np.uint8)
    assert np.array_equal(content[base : base + constant.size], constant)
    words = content.view(np.uint32)[4096 // 4 :]
    asked = {name: int(words[OFFSETS[name] // 4]) for name in OFFSETS}
    assert asked["LIST_LOW"] == base + plan.runs[0].address
    assert (asked["LIST_LENGTH"], asked["CTRL"], asked["GIE"]) == (len(plan.runs[0].tiles), 1, 1)


def test_uio(tmp_path: Path) -> None:
    plan = compile(random_network())
    registers = system_file(tmp_path / "uio0", plan, 0)
    buffer = tmp_path / "udmabuf0"
    buffer.write_bytes(bytes(8 * 4096))
    (tmp_path / "phys_addr").write_text("0x70000000\n")
    (tmp_path / "size").write_text(f"{8 * 4096}\n")
    device = BoardDevice.uio(manifest(plan), registers, buffer, tmp_path)
    base = device.load(plan)
    assert base == 0x70000000
    assert device.execute(base + plan.runs[0].address, 1).error == 1
    data = np.arange(16, dtype=np.uint8)
    device.write(base + 100, data)
    assert buffer.read_bytes()[100:116] == data.tobytes()
    assert np.array_equal(device.read(base + 100, 16), data)
    Mapping32(registers, 4096).write(OFFSETS["ISR"], 0)
    device._timeout = 0.05
    with pytest.raises(TimeoutError):
        device.wait()


def test_interrupts_of_uio(tmp_path: Path) -> None:
    path = tmp_path / "uio"
    os.mkfifo(path)
    interrupt = UioInterrupt(path)
    interrupt.arm()
    other = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        assert os.read(other, 8) == b"\x01\0\0\0"
        os.write(other, b"\x05\0\0\0")
        interrupt.wait(5)
        with pytest.raises(BlockingIOError):  # it has been taken
            os.read(other, 4)
        interrupt.wait(0.01)
    finally:
        os.close(other)
