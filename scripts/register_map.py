"""``make docs``: docs/register-map.md, from what the gateware is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from dybit.hw.axi import LITE_ADDRESS_BITS, LITE_BYTES
from dybit.hw.descriptor import DESCRIPTOR_BYTES, FIELDS
from dybit.hw.descriptor_check import CHECKS
from dybit.hw.registers import REGISTERS, Register
from dybit.scripts.console import console, run, write

__all__ = ["register_map", "write_register_map"]

PAGE = Path("docs/register-map.md")

INTRODUCTION = f"""\
# Registers and descriptors

`make docs` writes this page from `hw/registers.py`, `hw/descriptor.py` and
`hw/descriptor_check.py`, which the gateware is made from; a test holds them equal.

## Registers

Words of 32 bits, little-endian, on AXI4-Lite with {LITE_ADDRESS_BITS} address bits. Every access is
answered OKAY. Bits without a field and addresses without a register read 0; writes to them, and to
registers that are only read, are ignored. Write strobes choose bytes. After a reset everything is 0
but the constants and `ap_idle`.

Counters have 64 bits. Reading a `LOW` also takes down that counter's upper half, which is what any
`HIGH` reads until the next `LOW`.
"""

RUN = """\
A run: write `LIST_LOW`, `LIST_HIGH`, `LIST_LENGTH`, then 1 to `CTRL`; wait for the interrupt or for
`ap_done`; read `STATUS`. What is written to the list registers during a run is for the next.
"""

DESCRIPTOR = f"""\
## Descriptor

A list holds descriptors of {DESCRIPTOR_BYTES} bytes, one after the other from a multiple of 64 on,
each a tile of one layer. Words are of 32 bits, little-endian; a field of 64 bits takes two. Bits
that belong to no field must be 0. R and C are the rows and columns of the array.
"""

RULES = """\
### Rules

A descriptor that breaks one has no effect: the run ends with error code 1 and, as its detail, the
number of a rule broken.
"""


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _bits(low: int, bits: int) -> str:
    return f"{low}" if bits == 1 else f"{low + bits - 1}..{low}"


def _register_rows(register: Register) -> Iterator[tuple[str, ...]]:
    """Yield a row for a register, and one for each field unless it is all of the register."""
    head = (f"0x{register.offset:02X}", f"`{register.name}`", register.access.value)
    if [field.name for field in register.fields] == ["value"]:
        (field,) = register.fields
        yield (*head, "", f"{register.description}: {field.description}")
        return
    yield (*head, "", register.description)
    for field in register.fields:
        yield ("", "", "", _bits(field.low, field.bits), f"`{field.name}`: {field.description}")


def register_map() -> str:
    """Return the page."""
    registers = [row for register in REGISTERS for row in _register_rows(register)]
    fields = (
        (
            f"0x{LITE_BYTES * field.word:02X}",
            f"{field.word}",
            _bits(field.low, field.bits),
            f"`{field.name}`",
            field.description,
        )
        for field in FIELDS
    )
    rules = (
        (f"{number}", f"`{name}`", rule)
        for number, (name, rule) in enumerate(CHECKS.items(), start=1)
    )
    return "\n".join(
        [
            INTRODUCTION,
            _table(("offset", "register", "access", "bits", "meaning"), registers),
            RUN,
            DESCRIPTOR,
            _table(("offset", "word", "bits", "field", "meaning"), fields),
            RULES,
            _table(("detail", "name", "rule"), rules),
        ]
    )


def write_register_map(
    output: Annotated[Path, typer.Option("--output", "-o", help="File.")] = PAGE,
) -> None:
    """Write the page of registers and descriptors."""
    write(output, register_map())
    console.print(f"written to {output}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    run(write_register_map)
