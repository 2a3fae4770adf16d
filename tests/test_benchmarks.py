"""The benchmarks of the hardware, on few and small designs: what they state and how it adds up."""

from __future__ import annotations

from threading import Lock
from typing import Any

import pytest

from benchmarks import arrays, elements
from dybit.hw.ecp5 import measure_ecp5
from dybit.scripts.bench import entries


def by_name(module: str, results: list[dict[str, Any]]) -> dict[str, Any]:
    return {entry.name: entry for entry in entries(module, results)}


def test_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    # One of the two is placed: placing is tested with hw.ecp5.
    lock, placed = Lock(), []

    def placed_once(*arguments: Any) -> dict[str, Any]:
        with lock:
            if not placed:
                placed.append(measure_ecp5(*arguments))
        return placed[0]

    monkeypatch.setattr(elements, "measure_ecp5", placed_once)
    (variant,) = (variant for variant in elements.VARIANTS if variant.name == "W4A4")
    found = by_name("elements", elements.measured((variant,), seeds=(1,)))
    lut = {}
    for activations in ("signed", "both"):
        prefix = f"W4A4, {activations} activations"
        lut[activations] = found[f"{prefix}, LUT"].value
        # Operand, two copies of the weights and the partial sum; 2 bytes each, and 32 bits.
        assert found[f"{prefix}, FF"].value >= 8 + 2 * 16 + 28
        assert found[f"{prefix}, DSP"].value == 0
        assert found[f"{prefix}, CARRY8"].value > 0
        assert 1 <= found[f"{prefix}, logic depth, LUT levels"].value < 10
        assert found[f"{prefix}, logic depth, carry chains"].value == 1
        assert found[f"{prefix}, logic depth, DSP blocks"].value == 0
        rate = found[f"{prefix}, W4A4 at 300 MHz"]
        assert rate.value == pytest.approx(2400 / lut[activations])
        assert rate.unit == "GOPS/kLUT"
        assert found[f"{prefix}, ECP5, LUT4"].value > lut[activations] / 2
        assert found[f"{prefix}, ECP5, FF"].value > 60
        assert 50 < found[f"{prefix}, ECP5, highest clock"].value < 500
    ratio = found["W4A4, LUT, both by signed activations"].value
    assert ratio == pytest.approx(lut["both"] / lut["signed"])
    assert all(entry.rival is None for entry in found.values())


def test_an_element_with_cells_of_ultrascale_is_not_placed_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(elements, "ACTIVATIONS", ("signed",))
    variant = elements.Variant("W8A8", {"modes": ("W8A8",)}, dsp=True, ecp5=False)
    found = by_name("elements", elements.measured((variant,)))
    assert found["W8A8, signed activations, DSP"].value == 1
    assert not [name for name in found if "ECP5" in name]


@pytest.mark.long
def test_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    modes = {"modes": ("W4A4", "W2A2")}
    without = arrays.Variant(1, 1, modes, name="small")
    with_dsp = arrays.Variant(1, 1, modes, dsp=True)
    monkeypatch.setattr(arrays, "ON_ZCU102", with_dsp)
    found = by_name("arrays", arrays.measured((without, with_dsp)))
    prefix = "1x1 W4A4 + W2A2, small, no DSP"
    assert found[f"{prefix}, DSP"].value == 0
    lut = found[f"{prefix}, LUT"].value
    for mode, macs in (("W4A4", 4), ("W2A2", 16)):
        rate = found[f"{prefix}, {mode} at 300 MHz"]
        assert rate.value == pytest.approx(2 * macs * 0.3 / lut * 1000)
    assert found[f"{prefix}, W2A2 at 300 MHz"].rival is None
    published = found[f"{prefix}, W4A4 at 300 MHz"]
    assert published.rival == "ESB, published, 10.95 GOPS/kLUT"
    assert published.ratio == pytest.approx(published.value / 10.95)

    prefix = "1x1 W4A4 + W2A2, DSP"
    assert found[f"{prefix}, DSP"].value > 0
    assert found[f"{prefix}, LUT"].value < lut
    assert found[f"{prefix}, W4A4 at 300 MHz"].rival is None
    share = found[f"{prefix}, LUT of a ZCU102"].value
    assert share == pytest.approx(100 * found[f"{prefix}, LUT"].value / 274_080)
    peak = found[f"{prefix}, W4A4 at 300 MHz, peak"]
    assert peak.value == pytest.approx(2 * 4 * 300e6 / 1e12)
    assert peak.ratio == pytest.approx(peak.value / 3.45)


def test_what_does_not_fit_the_device_is_compared_with_nothing() -> None:
    total = dict.fromkeys(arrays.ZCU102, 0) | {"lut": 274_081}
    report = {"total": total, "modes": {"W4A4": {"macs_per_cycle": 6144}}}
    *_, peak = arrays._on_zcu102(arrays.ON_ZCU102, report)
    assert peak["value"] == pytest.approx(3.6864)
    assert "rival" not in peak
