"""The memory and the host behind a compiled accelerator, on a stand-in that copies a burst."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dybit.sim.board_driver import Report
from dybit.sim.runtime.rtl_device import ModelError, RtlDevice

COPIER = Path(__file__).parents[1] / "copier.v"
OFFSETS = {
    "CTRL": 0,
    "GIE": 4,
    "IER": 8,
    "ISR": 12,
    "LIST_LOW": 0x34,
    "LIST_HIGH": 0x38,
    "LIST_LENGTH": 0x3C,
    "ERROR": 0x44,
    "ERROR_DESCRIPTOR": 0x48,
    "BEATS_LOW": 0x50,
    "BEATS_HIGH": 0x54,
    "BEYOND": 0x80,
    "STROBES": 0x84,
    "QUIRK": 0x88,
    "REFUSED": 0x7FC,
}
SIZE = 3 * 4096 - 32


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copier")
    text = COPIER.read_text()
    (folder / "copier.v").write_text(text)
    manifest = {
        "top": "copier",
        "verilog": ["copier.v"],
        "parameters": {},
        "descriptor": [],
        "registers": [{"name": name, "offset": offset} for name, offset in OFFSETS.items()],
        "content_hash": f"sha256:{hashlib.sha256(text.encode()).hexdigest()}",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def device(directory: Path) -> Iterator[RtlDevice]:
    with RtlDevice(directory, memory=SIZE) as opened:
        opened.memory[:] = np.random.default_rng(1).integers(0, 256, SIZE)
        opened.set("STROBES", 0xFFFF)
        opened.set("BEYOND", 4096)
        yield opened


@pytest.mark.parametrize(("address", "beats"), [(0, 1), (0x140, 64), (4096 - 48, 3)])
def test_copies(device: RtlDevice, address: int, beats: int) -> None:
    want = device.memory.copy()
    want[address + 4096 :][: 16 * beats] = want[address:][: 16 * beats]
    assert device.execute(address, beats) == Report(0, 0, 0, {"beats": beats})
    assert np.array_equal(device.memory, want)
    assert device.get("ISR") == 0


def test_strobes_choose_bytes(device: RtlDevice) -> None:
    want = device.memory.copy()
    want[4096 + 1], want[4096 + 15] = want[1], want[15]
    device.set("STROBES", 0x8002)
    device.execute(0, 1)
    assert np.array_equal(device.memory, want)


def test_latency_of_reads_and_writes(directory: Path) -> None:
    cycles = []
    for latency in (0, 40):
        with RtlDevice(directory, memory=SIZE, latency=latency) as device:
            before = device.cycles
            device.execute(0, 8)
            cycles.append(device.cycles - before)
    # Once before the data, once before the write's response; a beat takes a cycle more than 0.
    assert cycles[1] - cycles[0] == 2 * 39


@pytest.mark.parametrize(
    ("address", "beyond", "error"),
    [(SIZE, 0, 4), (SIZE - 16, 0, 4), (0, SIZE - 16, 6), (0, 1 << 20, 6)],
)
def test_beyond_the_memory_is_a_decode_error(
    device: RtlDevice, address: int, beyond: int, error: int
) -> None:
    device.set("BEYOND", beyond)
    want = device.memory.copy()
    report = device.execute(address, 2)
    assert report.error == error
    if error == 6:  # the beat that lies inside is written
        want[beyond : beyond + 16] = want[:16] if beyond < SIZE else want[beyond : beyond + 16]
        assert np.array_equal(device.memory, want)


@pytest.mark.parametrize(
    ("quirk", "address", "message"),
    [
        (0, 4096 - 16, "a read crosses 4 KiB in cycle"),
        (1, 0, "a read is no burst of 16 bytes"),
        (2, 0, "a write is no burst of 16 bytes"),
        (3, 0, "wlast is out of place"),
    ],
)
def test_forbidden_bursts(device: RtlDevice, quirk: int, address: int, message: str) -> None:
    device.set("QUIRK", quirk)
    with pytest.raises(ModelError, match=message):
        device.execute(address, 2)
    device.reset()
    device.set("BEYOND", 16)
    assert device.execute(0, 1).error == 0


def test_silence(device: RtlDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    device.set("QUIRK", 5)
    monkeypatch.setattr("dybit.sim.runtime.rtl_device.PATIENCE", 500)
    before = device.cycles
    with pytest.raises(ModelError, match="no transfer in 500 cycles"):
        device.execute(0, 2)
    assert device.cycles - before < 600
    with pytest.raises(ModelError, match="no interrupt in 100 cycles"):
        device.wait(100)
    device.set("QUIRK", 4)
    with pytest.raises(ModelError, match="writing register 0x34 gave no answer"):
        device.set("LIST_LOW", 0)
    with pytest.raises(ModelError, match="reading register 0x7fc gave response 2"):
        device.get("REFUSED")


def test_steps(device: RtlDevice) -> None:
    device.start(0, 4)
    assert not device.step(20)
    before = device.cycles
    assert device.step(10_000)
    assert device.cycles - before < 200
    device.reset()
    assert not device.step(100)


def test_memory_is_guarded_and_grows(device: RtlDevice) -> None:
    with pytest.raises(ValueError, match="address of 16 bytes must be 0 to 12240, not 12241"):
        device.read(SIZE - 15, 16)
    before = device.memory.copy()
    assert device.allocate(2 * SIZE) == 4096
    assert np.array_equal(device.memory[:SIZE], before)
    assert len(device.memory) == 4096 + 2 * SIZE
    device.set("BEYOND", SIZE)
    device.execute(0, 2)
    assert np.array_equal(device.memory[SIZE:][:32], before[:32])


def test_closed_models_and_foreign_verilog_are_refused(directory: Path, tmp_path: Path) -> None:
    for path in directory.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "copier.v").write_text(COPIER.read_text() + "\n")
    with pytest.raises(ValueError, match="is not a complete design"):
        RtlDevice(tmp_path)
