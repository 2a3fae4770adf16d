"""The highest clock on ECP5: nextpnr runs, times the design and nothing around it."""

import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dybit.hw import ecp5
from dybit.hw.ecp5 import NextpnrError, measure_ecp5
from dybit.hw.verilog import emit
from tests.hw.verilog_designs import Counter


class Product(wiring.Component):
    """A 6-bit product between registers, and a delay of one cycle beside it."""

    a: In(6)
    b: In(6)
    o: Out(12)

    def elaborate(self, platform):
        m = Module()
        a, b = Signal(6), Signal(6)
        m.d.sync += [a.eq(self.a), b.eq(self.b), self.o.eq(a * b)]
        return m


class Delay(wiring.Component):
    i: In(12)
    o: Out(12)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.o.eq(self.i)
        return m


def test_registers_are_the_components_own(tmp_path):
    emit(Delay(), "delay", tmp_path)
    before = sorted(tmp_path.iterdir())
    report = measure_ecp5(tmp_path, seeds=(1,))
    assert sorted(tmp_path.iterdir()) == before
    assert (report["lut"], report["ff"], report["dsp"]) == (0, 12, 0)
    # A wire, a register: only the pads, which are not timed, could be slow.
    assert report["fmax_mhz"] > 300


def test_a_product_is_slower_than_a_wire(tmp_path):
    emit(Product(), "product", tmp_path)
    report = measure_ecp5(tmp_path, dsp=False, seeds=(1, 2, 3))
    assert (report["ff"], report["dsp"]) == (24, 0)
    assert report["lut"] > 36  # no fewer than a partial product a bit
    assert 50 < report["fmax_mhz"] < 300
    assert report["fmax_mhz"] == sorted(report["fmax_mhz_by_seed"])[1]
    assert measure_ecp5(tmp_path, dsp=False, seeds=(2,))["fmax_mhz_by_seed"] == [
        report["fmax_mhz_by_seed"][1]
    ]


def test_what_nextpnr_says_is_passed_on(tmp_path):
    emit(Counter(4), "counter", tmp_path)
    with pytest.raises(NextpnrError, match=r"^nextpnr failed: .*seed"):
        measure_ecp5(tmp_path, seeds=("none",))


def test_a_missing_nextpnr_is_named_with_its_remedy(tmp_path, monkeypatch):
    emit(Counter(4), "counter", tmp_path)
    monkeypatch.setattr(ecp5.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NextpnrError, match=r"^nextpnr is missing: install it with `pip install"):
        ecp5._run(["--version"], tmp_path)


def test_a_cell_nobody_weighed_is_refused(tmp_path, monkeypatch):
    emit(Counter(4), "counter", tmp_path)
    monkeypatch.delitem(ecp5._CELLS, "TRELLIS_FF")
    with pytest.raises(ValueError, match=r"^Cells must be of a known kind, not 'TRELLIS_FF'$"):
        measure_ecp5(tmp_path, seeds=())
