"""What codes stand for, by the definitions of ``docs/format.md``: exact fractions, and Verilog.

Written for the proofs, from the definitions alone: neither the hardware's tables nor the codecs of
`dybit.quant` are looked at. The Verilog has the rows of the definition, in integers; a test holds
it against the fractions, code by code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

__all__ = [
    "DYBIT",
    "MAGNITUDE_BITS",
    "code_integer",
    "dybit_integer",
    "dybit_rows",
    "esb",
    "esb_integer",
    "lookup",
]

MAGNITUDE_BITS = (1, 2, 3, 4, 7, 8)
"""Bits of a magnitude: codes of 2, 4 and 8 bits, with a sign and without one."""


def dybit_integer(code: int, bits: int, limit: int) -> int:
    """Return the integer of a DyBit magnitude code of `bits` bits under an exponent limit."""
    limit = min(limit, bits)
    text = f"{code:0{bits}b}"
    ones = min(len(text) - len(text.lstrip("1")), limit)
    if ones == 0:
        value = Fraction(code, 2 ** (bits - 1))
    else:
        # A zero ends the ones, unless there are as many as there can be.
        fraction = text[ones:] if ones == limit else text[ones + 1 :]
        value = 2 ** (ones - 1) * (1 + Fraction(int(fraction or "0", 2), 2 ** len(fraction)))
    return _whole(value * 2 ** (bits - 1))


def esb_integer(code: int, bits: int, k: int) -> int:
    """Return the integer of an ESB magnitude code, of `bits - 1` bits, k of them fraction."""
    if bits - 1 - k == 1:
        return _whole(2 * (code + Fraction(1, 2)))
    field, fraction = divmod(code, 2**k)
    value = Fraction(fraction, 2**k)
    if field > 0:
        value = 2 ** (field - 1) * (1 + value)
    return _whole(value * 2**k)


def _whole(value: Fraction) -> int:
    assert value.denominator == 1, value
    return value.numerator


def dybit_rows(bits: int, limit: int) -> list[tuple[str, str]]:
    """Return the rows of the definition: leading bits, their zero included, and the integer.

    The integer is a Verilog expression in ``code``, of which only the low `bits` bits count.
    """
    rows = [("0", "code")]
    for ones in range(1, limit + 1):
        last = ones == limit
        m = bits - ones - (not last)
        significand = f"{{1'b1, code[{m - 1}:0]}}" if m else "1'b1"
        exponent = 2 * limit - 2 if last else 2 * ones - 1
        rows.append(("1" * ones + "0" * (not last), f"{significand} << {exponent}"))
    return rows


_MAGNITUDE = """
module magnitude_integer(
  input [3:0] bits, input [3:0] limit, input [7:0] code, output reg [17:0] integer_o
);
  always @* begin
    integer_o = 0;
"""


def _dybit() -> str:
    cases = []
    for bits in MAGNITUDE_BITS:
        for limit in range(1, bits + 1):
            rows = "".join(
                f"        8'b{'?' * (8 - bits)}{lead:?<{bits}}: integer_o = {integer};\n"
                for lead, integer in dybit_rows(bits, limit)
            )
            cases.append(f"      {{4'd{bits}, 4'd{limit}}}: casez (code)\n{rows}      endcase\n")
    return (
        f"{_MAGNITUDE}"
        f"    case ({{bits, limit > bits ? bits : limit}})\n{''.join(cases)}    endcase\n"
        "  end\n"
        "endmodule\n"
    )


DYBIT = _dybit()
"""Module ``magnitude_integer``: the integer of a DyBit magnitude of `bits` bits, 0 above them.

A limit beyond the bits means all of them; one of 0 is not defined.
"""


def esb(fractions: Mapping[int, int]) -> str:
    """Return ``magnitude_integer`` for ESB, of the given fraction bits of codes of each width."""
    cases = []
    for width, k in fractions.items():
        rows = "".join(
            f"        {code}: integer_o = {esb_integer(code, width, k)};\n"
            for code in range(1 << width - 1)
        )
        cases.append(f"      {width - 1}: case (code)\n{rows}      endcase\n")
    return f"{_MAGNITUDE}    case (bits)\n{''.join(cases)}    endcase\n  end\nendmodule\n"


def lookup(name: str, values: Sequence[int]) -> str:
    """Return a Verilog module, from ``code`` to the entry of a table of up to 256 as long."""
    bits = (len(values) - 1).bit_length()
    assert len(values) == 1 << bits
    width = max(1, max(values).bit_length())
    rows = "".join(f"      {i}: integer_o = {value};\n" for i, value in enumerate(values))
    return (
        f"module {name}(input [{bits - 1}:0] code, output reg [{width - 1}:0] integer_o);\n"
        f"  always @* begin\n    integer_o = 0;\n    case (code)\n{rows}    endcase\n  end\n"
        "endmodule\n"
    )


_CODE = """
module code_integer(
  input [1:0] width, input is_signed, input [3:0] limit, input [7:0] code,
  output signed [18:0] integer_o
);
  wire [3:0] size = (2 << width) - is_signed;
  wire [3:0] narrow = {run_time} && is_signed ? limit : 4'd{limit};
  wire [17:0] magnitude;
  magnitude_integer magnitude_integer(
    .bits(size), .limit(width == 0 ? 4'd2 : width == 1 ? narrow : limit),
    .code(code & ((1 << size) - 1)), .integer_o(magnitude)
  );
  wire signed [18:0] positive = magnitude;
  assign integer_o = is_signed & code[size] ? -positive : positive;
endmodule
"""


def code_integer(limit: int = 4, run_time: bool = False) -> str:
    """Return module ``code_integer``: the integer of a code in the low bits of `code`.

    It needs ``magnitude_integer``. Codes of 4 bits have the exponent limit given here, or the
    port's if they are signed and it is chosen at run time; those of 8 bits have the port's.
    """
    return _CODE.format(limit=limit, run_time=int(run_time))
