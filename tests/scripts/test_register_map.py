"""The page of registers and descriptors: what is in the repository is what the gateware says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from dybit.hw.descriptor import FIELDS
from dybit.hw.registers import REGISTERS
from dybit.scripts.register_map import register_map

PAGE = Path(__file__).parents[2] / "docs" / "register-map.md"


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text() == register_map(), "run make docs"


def test_everything_is_on_the_page() -> None:
    text = PAGE.read_text()
    for register in REGISTERS:
        assert re.search(rf"^\| 0x{register.offset:02X} \| `{register.name}` ", text, re.MULTILINE)
    for field in FIELDS:
        assert re.search(rf" `{field.name}` \| {re.escape(field.description)} \|$", text, re.M)
    assert "| 0x1C | `MODES` | constant |  | what is built |" in text
    assert "|  |  |  | 23..16 | `depthwise_kernel`: longest side of a depthwise kernel;" in text


def test_command_writes_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    command = [sys.executable, "-m", "dybit.scripts.register_map", "-o", str(page)]
    subprocess.run(command, check=True, capture_output=True)
    assert page.read_text() == PAGE.read_text()
