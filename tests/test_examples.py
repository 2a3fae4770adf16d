"""Every example, by the commands its docstring gives, as written, on arrays of 2 x 2 elements."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def commands(example: Path) -> str:
    """The indented block of the docstring, continued lines and all."""
    docstring = ast.get_docstring(ast.parse(example.read_text())) or ""
    block = docstring.partition("::\n")[2]
    return "\n".join(line.strip() for line in block.splitlines())


@pytest.mark.long
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example(example: Path, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "configs").mkdir()
    for path in (ROOT / "configs").glob("*.toml"):
        # Larger ones take long to compile.
        sides = re.compile(r"^(rows|columns) = \d+$", re.MULTILINE)
        (tmp_path / "configs" / path.name).write_text(sides.sub(r"\1 = 2", path.read_text()))
    script = commands(example)
    assert "python examples/" in script
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
