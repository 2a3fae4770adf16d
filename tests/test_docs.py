"""The documents: links and paths lead somewhere, and what hardware.md tabulates is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from dybit.hw.matrix_engine import MatrixEngine
from dybit.hw.verilog import emit
from dybit.quant.array_config import ArrayConfig
from tests.hw.array_vectors import array_config

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = "hw|quant|sim|scripts|tests|benchmarks|configs|docs|examples"
HARDWARE = (ROOT / "docs/hardware.md").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    links = [link.split("#")[0] for link in re.findall(r"\]\((?!\w+://)([^)\s]+)\)", text)]
    missing = [link for link in links if link and not (document.parent / link).exists()]
    # What follows in capitals or angle brackets is a placeholder, and its folder is checked.
    for path in re.findall(rf"(?<![\w./-])((?:{FOLDERS})/[a-z0-9_./*-]*)", text):
        if not any(ROOT.glob(path.rstrip("./"))):
            missing.append(path)
    assert not missing


def test_adrs_are_numbered_one_after_the_other() -> None:
    numbers = [int(path.name[:4]) for path in sorted((ROOT / "docs/adr").glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))


def manifest(array: ArrayConfig, directory: Path) -> dict[str, Any]:
    engine = MatrixEngine(array)
    written: dict[str, Any] = emit(engine, "engine", directory, latency=engine.latency)
    return written


@pytest.mark.parametrize("modes", ["W8A8", "W8A8 W4A4", "W4A4 W2A2", "W8A8 W4A8 W2A4 W2A2"])
def test_table_of_ports(modes: str, tmp_path: Path) -> None:
    array = array_config(3, 2, modes, accumulator_depth=40)
    symbols = {
        "R": array.rows,
        "C": array.columns,
        "H": array.max_channels,
        "M": max(1, (len(array.modes) - 1).bit_length()),
        "A": (array.accumulator_depth - 1).bit_length(),
        "P": max(1, (array.max_lanes - 1).bit_length()),
    }
    rows = re.findall(r"^\| `(\w+)` \| (in|out) \| `([^`]+)` \|", HARDWARE, re.MULTILINE)
    documented = {(port, direction, eval(bits, {}, symbols)) for port, direction, bits in rows}
    built = {
        (port["name"], port["direction"].removesuffix("put"), port["width"])
        for port in manifest(array, tmp_path)["ports"]
    }
    assert documented == built


def test_table_of_latencies(tmp_path: Path) -> None:
    array = array_config(8, 8, "W8A8 W4A4")
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \| (\d+) \|$", HARDWARE, re.MULTILINE)
    assert {name: int(cycles) for name, cycles in rows} == manifest(array, tmp_path)["latency"]
