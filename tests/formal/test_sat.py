"""The solver's helpers, on harnesses that are proved, disproved, or neither."""

from __future__ import annotations

import pytest

from tests.formal.sat import ProofError, by_induction, counterexample, edited

# Counts from 0 to 5 and starts again; 6 and 7 lead to each other.
COUNTER = """
module counter(input clk, input enable, output reg [2:0] count = 0);
  always @(posedge clk)
    if (enable) case (count)
      5: count <= 0;
      6: count <= 7;
      7: count <= 6;
      default: count <= count + 1;
    endcase
endmodule
"""


def harness(assertion: str) -> str:
    return f"""
module proof(input clk, input enable);
  wire [2:0] count;
  counter counter(.clk(clk), .enable(enable), .count(count));
  reg [2:0] last;
  reg counted = 0;
  always @(posedge clk) begin last <= count; counted <= enable; end
  always @* begin {assertion} end
endmodule
"""


STEP = "if (counted) assert (count != last); else assert (count == last);"


def test_what_holds_from_any_state_is_proved() -> None:
    assert counterexample(COUNTER, harness(STEP), cycles=2) is None


def test_registers_may_hold_anything_at_first() -> None:
    found = counterexample(COUNTER, harness("assert (count != 6);"), cycles=2)
    assert found is not None
    assert "\\enable" in found


def test_only_the_last_cycle_is_looked_at() -> None:
    # In the first, `last` has nothing to do with the count.
    assert counterexample(COUNTER, harness(STEP), cycles=1) is not None


def test_assumptions_hold() -> None:
    text = harness("assume (enable); if (last == 5) assert (count == 0);")
    assert counterexample(COUNTER, text, cycles=2) is None
    assert counterexample(COUNTER, text.replace("assume (enable);", ""), cycles=2) is not None


def test_options_reach_the_solver() -> None:
    text = harness("if (last == 5) assert (count == 0);")
    assert counterexample(COUNTER, text, cycles=2, options="-set enable 1") is None


def test_induction_starts_from_reset() -> None:
    assert by_induction(COUNTER, harness("assert (count < 6);")) is None


def test_induction_finds_the_run_that_breaks_an_assertion() -> None:
    assert by_induction(COUNTER, harness("assert (count != 3);"), depth=9) is not None


def test_induction_that_looks_back_too_little_tells_nothing() -> None:
    text = harness("assume (enable); assert (count != 7);")
    with pytest.raises(ProofError, match="neither proved nor disproved"):
        by_induction(COUNTER, text)
    # Whoever counts 6 came from 7.
    assert by_induction(COUNTER, text, depth=3) is None


def test_an_edit_is_of_one_place_alone() -> None:
    assert edited("a b c", "b", "d") == "a d c"
    for old in ("e", " "):
        with pytest.raises(AssertionError, match="must be there once"):
            edited("a b c", old, "d")
