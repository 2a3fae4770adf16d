"""Watches the bus: what is offered stays until it is taken."""

from __future__ import annotations

from typing import Any

from cocotb.triggers import FallingEdge

__all__ = ["watch"]

HELD = {
    "m_axi_gmem_ar": ("addr", "len", "size", "burst", "cache", "prot", "id"),
    "m_axi_gmem_aw": ("addr", "len", "size", "burst", "cache", "prot", "id"),
    "m_axi_gmem_w": ("data", "strb", "last"),
    "s_axi_control_b": ("resp",),
    "s_axi_control_r": ("data", "resp"),
}
"""What the accelerator sends, which must not change until it is taken."""


async def watch(dut: Any) -> None:
    """See that nothing offered on the bus is taken back or changes, whenever there is no reset."""
    channels = []
    for prefix, members in HELD.items():
        valid, ready = (getattr(dut, f"{prefix}{name}") for name in ("valid", "ready"))
        channels.append((prefix, valid, ready, [getattr(dut, f"{prefix}{m}") for m in members]))
    waiting: dict[str, list[int]] = {}
    while True:
        await FallingEdge(dut.clk)
        in_reset = dut.rst.value == 1
        for prefix, valid, ready, members in channels:
            if in_reset or valid.value != 1:
                assert in_reset or prefix not in waiting, f"{prefix}valid fell"
                waiting.pop(prefix, None)
                continue
            if prefix in waiting or ready.value != 1:
                sent = [int(member.value) for member in members]
                assert waiting.get(prefix, sent) == sent, f"{prefix} changed"
                waiting[prefix] = sent
            if ready.value == 1:
                waiting.pop(prefix, None)
