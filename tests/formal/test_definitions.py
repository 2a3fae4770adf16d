"""The definitions in Verilog, against exact fractions and the tables of ``docs/format.md``."""

from __future__ import annotations

import pytest

from tests.formal.definitions import DYBIT, MAGNITUDE_BITS, dybit_integer, esb_integer, lookup
from tests.formal.sat import counterexample, edited

HARNESS = """
module proof(input [{top}:0] code);
  wire [17:0] expected, found;
  fractions fractions(.code(code), .integer_o(expected));
  wire [7:0] padded = code;
  magnitude_integer integer_i(
    .bits(4'd{bits}), .limit(4'd{limit}), .code(padded), .integer_o(found)
  );
  always @* assert (found == expected);
endmodule
"""


def disagreement(dybit: str, bits: int, limit: int) -> str | None:
    values = [dybit_integer(code, bits, limit) for code in range(1 << bits)]
    table = lookup("fractions", values)
    body = HARNESS.format(top=bits - 1, bits=bits, limit=limit)
    return counterexample(dybit, table, body)


@pytest.mark.parametrize("bits", MAGNITUDE_BITS)
def test_verilog_is_the_fractions(bits: int) -> None:
    for limit in (*range(1, bits + 1), 15):
        assert disagreement(DYBIT, bits, limit) is None


def test_a_wrong_row_is_seen() -> None:
    wrong = edited(DYBIT, "8'b????1110: integer_o = 1'b1 << 5;", "")
    assert disagreement(wrong, 4, 4) is not None
    assert disagreement(wrong, 4, 2) is None


def test_tables_by_hand() -> None:
    plain = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 24, 32, 64]
    assert [dybit_integer(code, 4, 4) for code in range(16)] == plain
    assert [dybit_integer(code, 3, 3) for code in range(8)] == [0, 1, 2, 3, 4, 6, 8, 16]
    assert [dybit_integer(code, 3, 2) for code in range(8)] == [0, 1, 2, 3, 4, 6, 8, 12]
    assert [dybit_integer(code, 3, 1) for code in range(8)] == list(range(8))
    assert [dybit_integer(code, 2, 2) for code in range(4)] == [0, 1, 2, 4]
    assert [dybit_integer(code, 1, 1) for code in range(2)] == [0, 1]
    # FP4 E2M1 in halves, powers of two, and the grid without a zero in halves.
    assert [esb_integer(code, 4, 1) for code in range(8)] == [0, 1, 2, 3, 4, 6, 8, 12]
    assert [esb_integer(code, 4, 0) for code in range(8)] == [0, 1, 2, 4, 8, 16, 32, 64]
    assert [esb_integer(code, 4, 2) for code in range(8)] == list(range(1, 16, 2))
