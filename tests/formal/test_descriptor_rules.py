"""The checker lets a descriptor pass exactly when it breaks no rule, and its tile says the same."""

from __future__ import annotations

import pytest

from dybit.hw import descriptor_check as checker
from dybit.hw.descriptor_check import DescriptorCheck
from tests.formal.bugs import Bug
from tests.formal.cases import cases
from tests.formal.conftest import Proved
from tests.formal.sat import by_induction
from tests.formal.sequencer import descriptor_check
from tests.formal.test_addresses import CONFIGS, SIZES


@pytest.mark.prove
@pytest.mark.parametrize("config", ["small", "every-mode", "largest"])
def test_descriptor_rules(config: str, proved: Proved) -> None:
    assert by_induction(descriptor_check(CONFIGS[config])) is None
    proved(
        "descriptor check",
        "a tile for exactly the descriptors that break no rule; a rule named is broken",
        "1-induction with invariants (pyosys)",
        f"multiplier cut out: what is compared is its product ({SIZES[config]})",
    )


CYCLES = 8
"""From the reset to the effect of a bug, at most."""

BUGS = {
    "a channel too many": Bug(
        checker._Facts,
        "__init__",
        "d.tail > channels << row_bits",
        "d.tail - 1 > channels << row_bits",
    ),
    "an address beyond the bus": Bug(checker, "_misplaced", "| address[ADDRESS_BITS:].any()", ""),
    "a product of other factors": Bug(DescriptorCheck, "elaborate", "right.eq(b)", "right.eq(a)"),
}


@pytest.mark.parametrize("bug", cases(BUGS, "a channel too many"))
def test_descriptor_rules_fail_on(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS[bug].seed(monkeypatch)
    text = descriptor_check(CONFIGS["small"])
    assert by_induction(text, depth=CYCLES, options="-tempinduct-baseonly") is not None
