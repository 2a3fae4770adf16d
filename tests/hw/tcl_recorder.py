"""A Tcl interpreter in which commands of Vivado's do nothing but leave a record."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from tests.hw.tcl_interpreter import PythonTcl, TclError

__all__ = ["Interpreter", "OwnTcl", "RealTcl", "ScriptError", "run"]


class ScriptError(Exception):
    """A script failed; the message is Tcl's."""


PLAIN = re.compile(r"[\w/.:*-]+")

RECORDED = (
    "create_project",
    "open_run",
    "close_project",
    "add_files",
    "update_compile_order",
    "current_fileset",
    "current_project",
    "set_property",
    "get_property",
    "get_board_parts",
    "get_files",
    "update_ip_catalog",
    "create_bd_design",
    "create_bd_cell",
    "apply_bd_automation",
    "connect_bd_intf_net",
    "connect_bd_net",
    "get_bd_intf_pins",
    "get_bd_pins",
    "assign_bd_address",
    "get_bd_addr_spaces",
    "get_bd_addr_segs",
    "validate_bd_design",
    "save_bd_design",
    "make_wrapper",
    "launch_runs",
    "wait_on_run",
    "get_runs",
    "report_timing_summary",
    "report_utilization",
    "write_hw_platform",
    "read_xdc",
    "synth_design",
    "opt_design",
    "place_design",
    "route_design",
    "phys_opt_design",
    "write_checkpoint",
    "write_bitstream",
    "get_cells",
    "get_pins",
    "get_clocks",
    "get_ports",
    "get_nets",
    "all_fanin",
    "set_false_path",
    "set_max_delay",
    "report_io",
    "create_clock",
    "report_control_sets",
    "report_clock_utilization",
    "report_route_status",
    "report_drc",
    "report_methodology",
    "report_power",
    "quit",
    "ipx::package_project",
    "ipx::current_core",
    "ipx::associate_bus_interfaces",
    "ipx::get_memory_maps",
    "ipx::remove_memory_map",
    "ipx::add_memory_map",
    "ipx::get_bus_interfaces",
    "ipx::add_address_block",
    "ipx::add_register",
    "ipx::add_field",
    "ipx::create_xgui_files",
    "ipx::update_checksums",
    "ipx::check_integrity",
    "ipx::save_core",
)
"""What Vivado has. Any other command that Tcl does not know is an error, as it would be there."""


class Interpreter(Protocol):
    """What runs the scripts."""

    def add(self, name: str, command: Callable[..., str]) -> None:
        """Give it a command."""

    def source(self, path: Path) -> None:
        """Run a script."""


class RealTcl:
    """Tcl itself, as Python has it; None of it where Python was built without."""

    def __init__(self) -> None:
        self._tkinter = pytest.importorskip(
            "tkinter", reason="tkinter is missing: install it with `apt-get install python3-tk`"
        )
        self._tcl = self._tkinter.Tcl()
        self._tcl.eval("namespace eval ipx {}; rename file tcl_file; proc puts text {}")

    def add(self, name: str, command: Callable[..., str]) -> None:
        if name != "file":
            self._tcl.createcommand(name, command)
            return

        def file(*arguments: str) -> str:
            if arguments[0] == "copy":
                return command(*arguments)
            return str(self._tcl.call("tcl_file", *arguments))

        self._tcl.createcommand("file", file)

    def source(self, path: Path) -> None:
        try:
            self._tcl.call("source", str(path))
        except self._tkinter.TclError as error:
            raise ScriptError(str(error)) from None


class OwnTcl:
    """The part of Tcl that the scripts need, for machines without."""

    def __init__(self) -> None:
        self._tcl = PythonTcl()

    def add(self, name: str, command: Callable[..., str]) -> None:
        inner = self._tcl.commands.get(name)
        self._tcl.commands[name] = command
        if inner is not None:
            self._tcl.commands[name] = lambda *arguments: (
                command(*arguments) if arguments[0] == "copy" else inner(*arguments)
            )

    def source(self, path: Path) -> None:
        try:
            self._tcl.source(str(path))
        except TclError as error:
            raise ScriptError(str(error)) from None


def run(
    script: Path,
    answers: dict[str, str] | None = None,
    interpreter: type[Interpreter] = OwnTcl,
) -> list[tuple[str, ...]]:
    """Run a script in its folder; return every command of Vivado's, its arguments as Tcl has them.

    Parameters
    ----------
    script : Path
    answers : dict of str to str, optional
        What a command returns, by the command and its first arguments; default: the command's
        name and its last argument, as ``get_bd_pins(reset/aclk)``, for whatever it found.
    interpreter : class, optional

    Raises
    ------
    ScriptError
        If the script fails.
    """
    tcl = interpreter()
    record: list[tuple[str, ...]] = []

    def recorder(name: str) -> Callable[..., str]:
        def command(*arguments: str) -> str:
            call = (name, *map(str, arguments))
            record.append(call)
            for words, answer in (answers or {}).items():
                if " ".join(call).startswith(words):
                    return answer
            found = call[-1] if PLAIN.fullmatch(call[-1]) else ""
            return f"{name.rpartition(':')[2]}({found})"

        return command

    for name in (*RECORDED, "file"):  # of `file` what copies: that is not done here
        tcl.add(name, recorder(name))
    before = Path.cwd()
    os.chdir(script.parent)
    try:
        tcl.source(script)
    finally:
        os.chdir(before)
    return record
