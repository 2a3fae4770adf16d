"""As much of Tcl as the generated scripts use, in Python: Tcl itself is not on every machine.

The grammar is that of the Tcl manual's twelve rules, without arrays and ``{*}``; of the commands
those below. Where Tcl is there, both are given the same scripts and must agree.
"""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Callable
from pathlib import Path

__all__ = ["PythonTcl", "TclError"]

Command = Callable[..., str]

OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "==": lambda a, b: float(a) == float(b),
    "!=": lambda a, b: float(a) != float(b),
    "<": lambda a, b: float(a) < float(b),
    ">": lambda a, b: float(a) > float(b),
}
BARE = re.compile(r"[^\s{}\[\]$;\"\\]+")


class TclError(Exception):
    """A script is wrong, or raised an error; the message is what Tcl says."""


class _Return(Exception):
    """A procedure has ended."""


class PythonTcl:
    """An interpreter; `commands` are those it has besides Tcl's."""

    def __init__(self) -> None:
        self.commands: dict[str, Command] = {
            "set": self._set,
            "foreach": self._foreach,
            "if": self._if,
            "proc": self._proc,
            "return": self._return,
            "error": self._error,
            "source": self.source,
            "puts": lambda *words: "",
            "list": lambda *words: " ".join(map(quoted, words)),
            "llength": lambda value: str(len(elements(value))),
            "lindex": lambda value, index: dict(enumerate(elements(value))).get(int(index), ""),
            "file": self._file,
        }
        self._frames: list[dict[str, str]] = [{}]

    def source(self, path: str) -> str:
        """Run a file."""
        return self.eval(Path(path).read_text())

    def eval(self, script: str) -> str:
        """Run a script; return what its last command does."""
        result = ""
        text = re.sub(r"\\\n[ \t]*", " ", script)
        at = 0
        while at < len(text):
            words, at = self._command(text, at)
            if words:
                result = self._call(*words)
        return result

    def _call(self, name: str, *arguments: str) -> str:
        if name not in self.commands:
            raise TclError(f'invalid command name "{name}"')
        try:
            return self.commands[name](*arguments)
        except TypeError:
            raise TclError(f'wrong # args: "{" ".join((name, *arguments))}"') from None

    def _command(self, text: str, at: int, end: str = "") -> tuple[list[str], int]:
        """Return the words of the command at a place, substituted, and where the next begins."""
        words: list[str] = []
        while at < len(text):
            character = text[at]
            if character in "\n;":
                return words, at + 1
            if character == end:
                return words, at
            if character.isspace():
                at += 1
            elif character == "#" and not words:
                at = text.find("\n", at) % (len(text) + 1)
            elif character == "{":
                close = _closing(text, at)
                words.append(text[at + 1 : close])
                at = _separator(text, close + 1, end, "close-brace")
            elif character == '"':
                word, at = self._substituted(text, at + 1, '"')
                words.append(word)
                at = _separator(text, at + 1, end, "close-quote")
            else:
                word, at = self._substituted(text, at, " \t\n;" + end)
                words.append(word)
        if end:
            raise TclError("missing close-bracket")
        return words, at

    def _substituted(self, text: str, at: int, ends: str) -> tuple[str, int]:
        """Return the text up to one of `ends`, variables and commands replaced, and its place."""
        word = ""
        while at < len(text) and text[at] not in ends:
            if text[at] == "$" and (name := re.compile(r"\$(?:\{(\w+)\}|(\w+))").match(text, at)):
                word += self._get(name[1] or name[2])
                at = name.end()
            elif text[at] == "[":
                result, at = self._bracket(text, at + 1)
                word += result
            elif text[at] == "\\":
                word += {"n": "\n", "t": "\t"}.get(text[at + 1], text[at + 1])
                at += 2
            else:
                word += text[at]
                at += 1
        if ends == '"' and at == len(text):
            raise TclError('missing "')
        return word, at

    def _bracket(self, text: str, at: int) -> tuple[str, int]:
        """Return what the command between brackets does, one alone, and the place behind it."""
        words, at = self._command(text, at, "]")
        if text[at : at + 1] != "]":
            raise TclError("only one command in brackets")
        return self._call(*words), at + 1

    def _get(self, name: str) -> str:
        if name not in self._frames[-1]:
            raise TclError(f'can\'t read "{name}": no such variable')
        return self._frames[-1][name]

    def _set(self, name: str, value: str | None = None) -> str:
        if value is not None:
            self._frames[-1][name] = value
        return self._get(name)

    def _foreach(self, name: str, values: str, body: str) -> str:
        for value in elements(values):
            self._set(name, value)
            self.eval(body)
        return ""

    def _if(self, condition: str, body: str, *others: str) -> str:
        if self._true(condition):
            return self.eval(body)
        if others[:1] == ("elseif",):
            return self._if(*others[1:])
        return self.eval(others[1]) if others else ""

    def _true(self, condition: str) -> bool:
        """Return what a comparison says, the only expression there is."""
        (left, name, right), _ = self._command(condition.replace("\n", " "), 0)
        return OPERATORS[name](left, right)

    def _proc(self, name: str, parameters: str, body: str) -> str:
        names = elements(parameters)

        def call(*arguments: str) -> str:
            if len(arguments) != len(names):
                raise TclError(f'wrong # args: should be "{name} {parameters}"')
            self._frames.append(dict(zip(names, arguments, strict=True)))
            try:
                return self.eval(body)
            except _Return as result:
                return str(result)
            finally:
                self._frames.pop()

        self.commands[name] = call
        return ""

    def _return(self, value: str = "") -> str:
        raise _Return(value)

    def _error(self, message: str) -> str:
        raise TclError(message)

    def _file(self, what: str, *arguments: str) -> str:
        if what == "join":
            return os.path.join(*arguments)
        if what == "normalize":
            return os.path.abspath(arguments[0])
        raise TclError(f'unknown or ambiguous subcommand "{what}"')


def elements(value: str) -> list[str]:
    """Return the elements of a list."""
    found, at = [], 0
    while at < len(value):
        if value[at].isspace():
            at += 1
        elif value[at] == "{":
            close = _closing(value, at)
            found.append(value[at + 1 : close])
            at = close + 1
        else:
            match = re.compile(r"\S+").match(value, at)
            assert match is not None
            found.append(match[0])
            at = match.end()
    return found


def quoted(element: str) -> str:
    """Return an element as a list has it."""
    return element if BARE.fullmatch(element) and element[0] != "#" else f"{{{element}}}"


def _closing(text: str, at: int) -> int:
    """Return where the brace that opens at a place is closed."""
    depth = 0
    for match in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, at):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.start()
    raise TclError("missing close-brace")


def _separator(text: str, at: int, end: str, what: str) -> int:
    if at < len(text) and not text[at].isspace() and text[at] not in ";" + end:
        raise TclError(f"extra characters after {what}")
    return at
