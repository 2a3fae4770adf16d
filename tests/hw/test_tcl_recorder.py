"""The interpreter that reads generated Tcl: as the Tcl manual has it, and as Tcl does it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hw.tcl_recorder import Interpreter, OwnTcl, RealTcl, ScriptError, run

INTERPRETERS = pytest.mark.parametrize("interpreter", [OwnTcl, RealTcl])

# A script, and what add_files is given in it: by the rules of the manual, worked out by hand.
SCRIPTS = {
    'add_files a {b $c [d]} "e f"': ("a", "b $c [d]", "e f"),
    'set x 1; add_files $x ${x}y "$x z" {$x}': ("1", "1y", "1 z", "$x"),
    "add_files [list a {b c} {}] [llength {a {b c} {}}]": ("a {b c} {}", "3"),
    "add_files \\\n  one \\\n  two": ("one", "two"),
    "# add_files [nothing\nadd_files x ;# y": ("x",),
    "foreach i {a {b c}} {\n  set last $i\n}\nadd_files $last": ("b c",),
    "if {[llength {}] == 0} {\n  add_files none\n} else {\n  add_files some\n}": ("none",),
    'if {"41%" ne "41%"} {\n  add_files a\n} else {\n  add_files b\n}': ("b",),
    "if {-0.2 < 0} {add_files less}": ("less",),
    "proc f {a b} {\n  return [list $b $a]\n  error no\n}\nadd_files [f 1 2] [lindex {a b} 1]": (
        "2 1",
        "b",
    ),
    'add_files \\$x \\[y\\] \\"': ("$x", "[y]", '"'),
    "add_files [file join a b.v] [get_files x]": ("a/b.v", "get_files(x)"),
}

WRONG = {
    "add_files {a": "missing close-brace",
    "add_files [get_files x": "missing close-bracket",
    'add_files "a': 'missing "',
    "add_files {a}b": "extra characters after close-brace",
    "add_fils a": 'invalid command name "add_fils"',
    "add_files [add_fils a]": 'invalid command name "add_fils"',
    "add_files $a": 'can\'t read "a": no such variable',
    "proc f {a} {}\nf 1 2": 'wrong # args: should be "f a',
    "set": "wrong # args",
    "error {no license}": "no license",
}


@INTERPRETERS
@pytest.mark.parametrize("text", SCRIPTS)
def test_what_a_command_is_given(text: str, interpreter: type[Interpreter], tmp_path: Path) -> None:
    script = tmp_path / "script.tcl"
    script.write_text(text)
    assert run(script, interpreter=interpreter)[-1] == ("add_files", *SCRIPTS[text])


@INTERPRETERS
@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong(text: str, interpreter: type[Interpreter], tmp_path: Path) -> None:
    script = tmp_path / "script.tcl"
    script.write_text(text)
    with pytest.raises(ScriptError) as error:
        run(script, interpreter=interpreter)
    assert WRONG[text] in str(error.value)
