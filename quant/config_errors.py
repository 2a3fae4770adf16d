"""Refusals of a quant config, one line a problem: field, value, what is allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

__all__ = ["ConfigError", "error_lines", "problem", "problems"]


class ConfigError(ValueError):
    """A config or a layer that is refused: one line a problem, each naming field and value."""


def problem(text: str) -> PydanticCustomError:
    """Return an error whose message is `text`, after the name of the field being validated."""
    return PydanticCustomError("dybit_field", "{text}", {"text": text})


def problems(lines: list[str]) -> PydanticCustomError:
    """Return an error of several lines, each naming its own field."""
    return PydanticCustomError("dybit_lines", "{text}", {"text": "\n".join(lines)})


def error_lines(
    error: ValidationError, source: str, allowed: Mapping[str, str], fields: Mapping[str, str]
) -> Iterator[str]:
    """Yield the lines of `error`, each beginning with `source`.

    Parameters
    ----------
    error : ValidationError
        What pydantic found.
    source : str
        The file, or what stands for it.
    allowed : mapping of str to str
        What each field may hold, by its own name; anything else is a table.
    fields : mapping of str to str
        The fields of each table, in words, by the table's name; of the top level under "".
    """
    for item in error.errors():
        location = [str(part) for part in item["loc"]]
        field = ".".join(location)
        # The entries of `layers` are named by the user, perhaps as a field is; they are tables.
        named = location[:1] == ["layers"] and len(location) == 2
        expected = "a table" if named else allowed.get(field.rpartition(".")[2], "a table")
        match item["type"]:
            case "dybit_lines":
                yield from (f"{source}: {line}" for line in item["msg"].splitlines())
            case "dybit_field":
                yield f"{source}: {field}: {item['msg']}"
            case "extra_forbidden":
                known = fields[location[0] if len(location) > 1 else ""]
                yield f"{source}: {field}: unknown field; must be one of {known}"
            case "missing":
                yield f"{source}: {field}: missing; must be {expected}"
            case _:
                value = " ".join(repr(item["input"]).split())
                yield f"{source}: {field}: {value} is not allowed; must be {expected}"
