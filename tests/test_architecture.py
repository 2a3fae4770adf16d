"""The import rules of the packages, held by parsing the source.

The hardware must be written from the definition of the formats, never from the codecs it is
compared with; the models must run without the hardware, and without torch.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("hw", "quant", "sim", "scripts")

MAY_IMPORT = {
    "quant": {"dybit.quant"},
    "sim": {"dybit.sim", "dybit.quant"},
    "hw": {
        "dybit.hw",
        "dybit.quant.precision",
        "dybit.quant.config",
        "dybit.quant.array_config",
        "dybit.quant.formats",
    },
    "scripts": {"dybit"},
}
"""What each package may import of the project: these modules and what lies below them."""

HW_MAY_IMPORT = {"amaranth", "amaranth_boards", "dybit"} | sys.stdlib_module_names
HW_MAY_NOT_USE = {"decode", "encode", "integers", "values", "sorted_codes"}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(tree: ast.AST) -> Iterator[str]:
    """Absolute names of the modules a source imports, wherever the statement stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # A single dot stays within the package; more could leave it unseen.
            assert node.level <= 1, f"import across packages by dots at line {node.lineno}"
            if node.level == 0:
                # `from dybit.sim import golden` imports the module dybit.sim.golden.
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(package: str, source: str) -> list[str]:
    """Imports and uses of `source`, a file of `package`, that break the rules."""
    tree = ast.parse(source)
    found = []
    for module in imports(tree):
        allowed = MAY_IMPORT[package]
        if module.split(".")[0] == "dybit" and not any(
            f"{module}.".startswith(f"{name}.") for name in allowed
        ):
            found.append(f"imports {module}")
        if package == "hw" and module.split(".")[0] not in HW_MAY_IMPORT:
            found.append(f"imports {module}")
    if package == "hw":
        # `d.values()` and `text.encode()` are Python's own: a format's values are an array, and
        # its codecs take an argument.
        own = {
            id(node.func)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and not node.args and not node.keywords
        }
        found += [
            f"uses .{node.attr} at line {node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and node.attr in HW_MAY_NOT_USE
            and id(node) not in own
        ]
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_depend_in_one_direction(package: str) -> None:
    files = sources(package)
    assert files
    broken = {
        str(path.relative_to(ROOT)): found
        for path in files
        if (found := violations(package, path.read_text()))
    }
    assert not broken


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("quant", "from dybit.sim import golden"),
        ("quant", "def f():\n    import dybit.hw.encoder"),
        ("quant", "import dybit.scripts.cli"),
        ("sim", "from dybit import hw"),
        ("sim", "import dybit.scripts"),
        ("hw", "from dybit.quant import scale"),
        ("hw", "from dybit.quant.network import QuantNetwork"),
        ("hw", "import dybit.sim.golden"),
        ("hw", "import numpy as np"),
        ("hw", "table = fmt.decode(codes)"),
        ("hw", "table = list(fmt.values)"),
    ],
)
def test_the_rules_catch_a_violation(package: str, source: str) -> None:
    assert violations(package, source)


def test_only_quant_torch_and_the_scripts_import_torch() -> None:
    users = {
        path.relative_to(ROOT).parts[:-1]
        for package in PACKAGES
        for path in sources(package)
        if any(module.split(".")[0] == "torch" for module in imports(ast.parse(path.read_text())))
    }
    assert users <= {("quant", "torch"), ("scripts",)}


def test_nothing_outside_quant_torch_and_the_scripts_imports_quant_torch() -> None:
    users = {
        path.relative_to(ROOT).parts[:-1]
        for package in PACKAGES
        for path in sources(package)
        if any(
            f"{module}.".startswith("dybit.quant.torch.")
            for module in imports(ast.parse(path.read_text()))
        )
    }
    assert users <= {("quant", "torch"), ("scripts",)}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("dybit", *parts)).removesuffix(".__init__")


def test_the_models_load_without_torch() -> None:
    modules = [
        module_name(path)
        for package in ("quant", "sim")
        for path in sources(package)
        if path.relative_to(ROOT).parts[:2] != ("quant", "torch")
    ]
    program = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "loaded = {'torch', 'amaranth'} & set(sys.modules)\n"
        "sys.exit(f'loaded {sorted(loaded)}' if loaded else 0)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_hardware_keeps_annotations_as_objects() -> None:
    # With string annotations `wiring.Component` breaks and `data.Struct` loses its fields.
    for path in sources("hw"):
        assert "__future__.annotations" not in set(imports(ast.parse(path.read_text()))), path
