# amaranth: UnusedElaboratable=no
"""Components are taken for equal exactly when they make the same module."""

import pytest
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.fingerprint import fingerprint
from dybit.hw.units import split

elaborated = []


class Offset(wiring.Component):
    """Adds a parameter that its ports do not show."""

    def __init__(self, parameter, shape=8, child=None):
        self.parameter = parameter
        self.child = child
        super().__init__({"i": In(shape), "o": Out(8)})

    def elaborate(self, platform):
        elaborated.append(self)
        m = Module()
        if self.child is not None:
            m.submodules.child = self.child
        m.d.sync += self.o.eq(Value.cast(self.i) + 1)
        return m


class Many(wiring.Component):
    o: Out(8)

    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def elaborate(self, platform):
        m = Module()
        for index, part in enumerate(self.parts):
            m.submodules[f"part_{index}"] = part
            if index:
                m.d.comb += part.i.eq(self.parts[index - 1].o)
        m.d.comb += self.o.eq(self.parts[-1].o)
        return m


def key(component):
    return fingerprint(component)[0]


LAYOUT = data.StructLayout({"a": 4, "b": 4})


@pytest.mark.parametrize(
    "make",
    [
        lambda: Offset(3),
        lambda: Offset([1, {"a": (2, 3)}]),
        lambda: Offset(None, shape=data.StructLayout({"a": 4, "b": 4})),
        lambda: Offset(1, child=Offset(2)),
        lambda: Offset(Signal(4, name="held", init=3)),
    ],
)
def test_components_built_alike_are_equal(make):
    assert key(make()) == key(make())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Offset(3), Offset(4)),
        (Offset(1), Offset(True)),
        (Offset(1), Offset(1.0)),
        (Offset([1, 2]), Offset((1, 2))),
        (Offset({"a": 1}), Offset({"a": 2})),
        (Offset(0, shape=8), Offset(0, shape=signed(8))),
        (Offset(0, shape=8), Offset(0, shape=LAYOUT)),
        (Offset(0, child=Offset(1)), Offset(0, child=Offset(2))),
        (Offset(Signal(4, name="x")), Offset(Signal(4, name="y"))),
        (Offset(Signal(4, name="x")), Offset(Signal(4, name="x", init=1))),
        (Offset(Signal(4, name="x")), Offset(Signal(4, name="x", reset_less=True))),
        (Offset(object()), Offset(object())),
        (Offset(bytearray(b"a")), Offset(bytearray(b"a"))),
    ],
)
def test_components_built_differently_are_not(one, other):
    assert key(one) != key(other)


def test_sharing_a_signal_is_a_difference():
    shared = Signal(4, name="x")
    one = Offset([shared, shared])
    other = Offset([Signal(4, name="x"), Signal(4, name="x")])
    assert key(one) != key(other)


def test_equal_components_are_elaborated_once():
    elaborated.clear()
    units = split(Many([Offset(3, child=Offset(1)) for _ in range(10)]), "many")
    assert [(unit.name, unit.children) for unit in units] == [
        ("many_offset", {}),
        ("many_offset_2", {"many_offset": 1}),
        ("many", {"many_offset_2": 10}),
    ]
    assert [part.parameter for part in elaborated] == [3, 1]


def test_components_that_turn_out_equal_share_their_module_all_the_same():
    elaborated.clear()
    units = split(Many([Offset(parameter) for parameter in range(5)]), "many")
    assert [unit.children for unit in units] == [{}, {"many_offset": 5}]
    assert len(elaborated) == 5
