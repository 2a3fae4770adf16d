"""Resource counts: what is known by hand, and that blocks add up to the whole."""

import json
from functools import cache

import pytest
from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw import resources
from dybit.hw.resources import KINDS, count_resources
from dybit.hw.verilog import emit
from tests.hw.verilog_designs import Counter, Mixer


class Known(wiring.Component):
    """A DSP block for a product of such factors, 36 and 18 kbit of memory, a 5-bit register."""

    def __init__(self, bits=18):
        super().__init__(
            {
                "a": In(signed(bits)),
                "b": In(signed(bits)),
                "i": In(5),
                "address": In(10),
                "data": In(36),
                "write": In(1),
                "product": Out(signed(2 * bits)),
                "o": Out(5),
                "wide": Out(36),
                "narrow": Out(18),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.d.sync += [self.o.eq(self.i), self.product.eq(self.a * self.b)]
        for output in (self.wide, self.narrow):
            m.submodules += (words := memory.Memory(shape=len(output), depth=1024, init=[]))
            write_port, read_port = words.write_port(), words.read_port()
            m.d.comb += [
                write_port.addr.eq(self.address),
                write_port.data.eq(self.data),
                write_port.en.eq(self.write),
                read_port.addr.eq(self.address),
                output.eq(read_port.data),
            ]
        return m


@pytest.fixture(scope="module", autouse=True)
def synthesised_once():
    """Let tests that count the same design share its synthesis, which takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resources, "synthesise", cache(resources.synthesise))
        yield


@pytest.fixture(scope="module")
def counter(tmp_path_factory):
    directory = tmp_path_factory.mktemp("counter")
    emit(Counter(24), "counter", directory)
    return directory


def test_what_is_known_by_hand(tmp_path):
    emit(Known(), "known", tmp_path)
    total = count_resources(tmp_path)["total"]
    assert (total["dsp"], total["bram"]) == (1, 1.5)
    assert 5 <= total["ff"] <= 5 + 36  # the product's register may sit in the DSP block


def test_a_counter_takes_its_bits(counter):
    report = count_resources(counter)
    assert report["total"]["ff"] == 24
    assert 24 <= report["total"]["lut"] <= 48
    assert report["total"]["dsp"] == report["total"]["bram"] == 0


def test_blocks_add_up(tmp_path):
    manifest = emit(Mixer(), "mixer", tmp_path)
    before = sorted(tmp_path.iterdir())
    report = count_resources(tmp_path)
    assert sorted(tmp_path.iterdir()) == before
    blocks = {block["module"]: block for block in report["blocks"]}
    assert list(blocks) == list(manifest["modules"])
    for kind in KINDS:
        summed = sum(block["instances"] * block["own"][kind] for block in report["blocks"])
        assert summed == report["total"][kind], kind
    bank, counter = blocks["mixer_bank"], blocks["mixer_counter"]
    assert counter["each"] == counter["own"]
    assert bank["each"]["ff"] == bank["own"]["ff"] + 2 * counter["own"]["ff"]
    assert counter["own"]["ff"] == 9
    assert json.loads(json.dumps(report)) == report


def test_what_is_dissolved_counts_as_its_parents(tmp_path):
    manifest = emit(Mixer(), "mixer", tmp_path)
    some, none = (count_resources(tmp_path, blocks) for blocks in (("Counter",), ()))
    counters = [name for name in manifest["modules"] if "counter" in name]
    assert [block["module"] for block in some["blocks"]] == ["mixer", *counters]
    assert [block["module"] for block in none["blocks"]] == ["mixer"]
    assert none["blocks"][0]["own"] == none["blocks"][0]["each"] == none["total"]
    # Optimised with its parent, a block can only lose registers, not gain any.
    assert some["blocks"][0]["own"]["ff"] < none["total"]["ff"] <= some["total"]["ff"]
    for kind in KINDS:
        summed = sum(block["instances"] * block["own"][kind] for block in some["blocks"])
        assert summed == some["total"][kind], kind


def test_a_product_without_dsp_blocks_is_built_from_luts(tmp_path):
    emit(Known(10), "known", tmp_path)
    total = count_resources(tmp_path, blocks=(), dsp=False)["total"]
    assert (total["dsp"], total["bram"]) == (0, 1.5)
    # A product has 10 x 10 partial bits; a LUT and its carry add two of them.
    assert total["lut"] > 10 * 10 / 2


def test_carries_and_depth_of_a_counter(counter):
    report = count_resources(counter)
    assert report["total"]["carry"] == 24 / 8
    assert report["depth"] == report["blocks"][0]["depth"] == [{"lut": 1, "carry": 1, "dsp": 0}]


def test_a_cell_nobody_weighed_is_refused(counter, monkeypatch):
    monkeypatch.delitem(resources._CELLS, "FDRE")
    with pytest.raises(ValueError, match=r"^Cells must be of a known kind, not 'FDRE'$"):
        count_resources(counter)
