"""``make bench``: runs every module of ``benchmarks/`` and writes ``build/bench/<module>.json``.

A benchmark is a module with a function ``run()`` that measures and returns a list of entries.
It times its rivals in the same run, so that both saw the same machine.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from rich.table import Table

from dybit.scripts.console import UserError, console, machine, run, write

__all__ = ["Entry", "bench", "entries"]

Text = Annotated[str, Field(min_length=1)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Entry(BaseModel):
    """One figure.

    Attributes
    ----------
    name : str
        What was measured, unique in its module.
    value : float
    unit : str
    rival : str, optional
        What it is compared with.
    ratio : float, optional
        How many times better than the rival; there when the rival is.
    machine : str
        Where it was measured; filled in when the benchmark leaves it out.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Text
    value: Number
    unit: Text
    rival: Text | None = None
    ratio: Annotated[Number, Field(gt=0)] | None = None
    machine: Text = Field(default_factory=machine)

    @model_validator(mode="after")
    def _check_rival(self) -> Entry:
        if (self.rival is None) != (self.ratio is None):
            raise ValueError("rival and ratio must be given together")
        return self


def entries(module: str, results: list[dict[str, Any]]) -> list[Entry]:
    """Return what `module` measured, checked.

    Raises
    ------
    UserError
        In one line, if an entry is malformed or two have the same name.
    """
    checked: list[Entry] = []
    for number, result in enumerate(results):
        try:
            entry = Entry(**result)
        except ValidationError as error:
            first = error.errors()[0]
            field = "".join(f".{part}" for part in first["loc"])
            raise UserError(
                f"{module}: entry {number}{field}: {first['msg']}, not {first['input']!r}"
            ) from None
        if any(entry.name == other.name for other in checked):
            raise UserError(f"{module}: entry {number}.name: {entry.name!r} is there twice")
        checked.append(entry)
    if not checked:
        raise UserError(f"{module}: run() must return at least one entry")
    return checked


def bench(
    only: Annotated[list[str] | None, typer.Option(help="Run this benchmark only.")] = None,
    source: Annotated[Path, typer.Option(help="Folder of the benchmarks.")] = Path("benchmarks"),
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the results.")] = Path(
        "build/bench"
    ),
) -> None:
    """Run the benchmarks and print what they measured."""
    known = {path.stem: path for path in sorted(source.glob("*.py")) if path.stem[0] != "_"}
    for name in only or ():
        if name not in known:
            raise UserError(f"--only: {name!r} is not allowed; must be one of {', '.join(known)}")
    console.print(machine())
    for name in only or known:
        with console.status(f"benchmark {name}"):
            measured = entries(name, _load(name, known[name]).run())
        text = json.dumps([entry.model_dump() for entry in measured], indent=2)
        write(output / f"{name}.json", text + "\n")
        table = Table("name", "value", "unit", "rival", "ratio", title=name)
        for row in _rows(measured):
            table.add_row(*row)
        console.print(table)


def _rows(measured: list[Entry]) -> Iterator[tuple[str, ...]]:
    for entry in measured:
        ratio = "" if entry.ratio is None else f"{entry.ratio:.3g}"
        yield entry.name, f"{entry.value:,.4g}", entry.unit, entry.rival or "", ratio


def _load(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"benchmarks.{name}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    run(bench)
