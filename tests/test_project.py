"""The project's own files: the lock file, and what make promises."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
REQUIREMENTS = [
    *PROJECT["dependencies"],
    *(line for extra in PROJECT["optional-dependencies"].values() for line in extra),
]


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if not line.startswith("#")]
    found = {}
    for requirement in requirements:
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", requirement
        found[canonicalize_name(requirement.name)] = Version(specifier.version)
    return found


def test_lock_file_pins_every_dependency_within_its_range() -> None:
    locked = pins()
    for requirement in map(Requirement, REQUIREMENTS):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])


def test_lock_file_names_no_build_that_only_one_index_has() -> None:
    assert [name for name, version in pins().items() if version.local] == []


def test_every_dependency_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for requirement in REQUIREMENTS:
        (line,) = [line for line in text.splitlines() if f'"{requirement}",' in line]
        assert "  # " in line, line


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # A make that runs these tests must not lend this one its flags and variables.
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_make_alone_lists_every_target() -> None:
    listed = {line.split()[0] for line in make(ROOT).stdout.splitlines()[1:]}
    phony = set()
    for path in [ROOT / "Makefile", *(ROOT / "make").glob("*.mk")]:
        for line in path.read_text().splitlines():
            if line.startswith(".PHONY:"):
                phony |= set(line.split()[1:])
    assert listed == phony
    assert phony >= {"setup", "demo", "test", "lint", "typecheck", "sim", "verilog", "bench"}


@pytest.mark.parametrize("target", ["verilog", "sim", "resources"])
def test_a_config_may_lie_under_any_name(target: str) -> None:
    commands = make(ROOT, "-n", target, "CONFIG=my configs/a.toml", "VENV=/tmp").stdout
    assert f"dybit.scripts.{target} --config 'my configs/a.toml'" in commands


# Stands for the user's python3 and, once it "made" a virtual environment, for the one there.
PYTHON = """#!/bin/sh
case "$*" in
  "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  *"pip"*) echo "$*" >> .venv/pip.log; test ! -e fail ;;
  *) test ! -e old ;;
esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "make", tmp_path / "make")
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text("")
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    return tmp_path


def setup(clone: Path) -> subprocess.CompletedProcess[str]:
    return make(clone, "setup", "PYTHON=./python")


class TestSetup:
    def test_runs_once(self, clone: Path) -> None:
        assert setup(clone).returncode == 0
        log = clone / ".venv/pip.log"
        calls = log.read_text()
        assert calls.count("--constraint constraints.txt") == len(calls.splitlines())
        assert setup(clone).returncode == 0
        assert log.read_text() == calls

    @pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
    def test_runs_again_when_its_inputs_change(self, clone: Path, name: str) -> None:
        setup(clone)
        calls = (clone / ".venv/pip.log").read_text()
        stamp = clone / ".venv/.installed"
        os.utime(clone / name, (stamp.stat().st_mtime + 10,) * 2)
        assert setup(clone).returncode == 0
        assert (clone / ".venv/pip.log").read_text() == calls * 2

    def test_a_failure_says_what_to_do_and_is_not_trusted(self, clone: Path) -> None:
        (clone / "fail").touch()
        result = setup(clone)
        assert result.returncode != 0
        assert "pip failed, its reason is above" in result.stderr
        # What the failed run left is thrown away, and not built upon.
        (clone / ".venv/left-over").touch()
        (clone / "fail").unlink()
        assert setup(clone).returncode == 0
        assert not (clone / ".venv/left-over").exists()

    def test_a_failed_update_is_not_trusted_either(self, clone: Path) -> None:
        setup(clone)
        stamp = clone / ".venv/.installed"
        os.utime(clone / "constraints.txt", (stamp.stat().st_mtime + 10,) * 2)
        (clone / "fail").touch()
        assert setup(clone).returncode != 0
        assert not stamp.exists()

    def test_an_old_python_is_refused(self, clone: Path) -> None:
        (clone / "old").touch()
        result = setup(clone)
        assert result.returncode != 0
        assert "./python must be Python 3.11 or newer; name another by make PYTHON=" in (
            result.stderr
        )
        assert not (clone / ".venv").exists()


def test_an_installed_project_has_every_package() -> None:
    found = {
        ".".join(("dybit", *path.parent.relative_to(ROOT).parts))
        for top in ("hw", "quant", "sim", "scripts")
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == found


def test_the_command_is_installed() -> None:
    command = Path(sys.executable).with_name("dybit")
    result = subprocess.run([command, "--help"], capture_output=True, text=True)
    assert result.returncode == 0
    assert "quantize" in result.stdout
