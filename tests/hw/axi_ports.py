"""The ports that the ZCU102's wrapper must have, by AXI and Vitis alone."""

from __future__ import annotations

__all__ = ["WRAPPER_PORTS"]

# AXI, by hand (ARM IHI 0022): signals of each channel and who drives them, as bits or None.
AXI4_OF_MANAGER = {
    **{f"a{c}{signal}": bits for c in "rw" for signal, bits in [
        ("id", 1), ("addr", 40), ("len", 8), ("size", 3), ("burst", 2), ("cache", 4), ("prot", 3),
        ("valid", 1),
    ]},
    "wdata": 128, "wstrb": 16, "wlast": 1, "wvalid": 1, "bready": 1, "rready": 1,
}  # fmt: skip
AXI4_OF_SUBORDINATE = {
    "arready": 1, "awready": 1, "wready": 1, "bid": 1, "bresp": 2, "bvalid": 1,
    "rid": 1, "rdata": 128, "rresp": 2, "rlast": 1, "rvalid": 1,
}  # fmt: skip
LITE_OF_MANAGER = {
    "awaddr": 12, "awprot": 3, "awvalid": 1, "wdata": 32, "wstrb": 4, "wvalid": 1, "bready": 1,
    "araddr": 12, "arprot": 3, "arvalid": 1, "rready": 1,
}  # fmt: skip
LITE_OF_SUBORDINATE = {
    "awready": 1, "wready": 1, "bresp": 2, "bvalid": 1, "arready": 1, "rdata": 32, "rresp": 2,
    "rvalid": 1,
}  # fmt: skip

WRAPPER_PORTS = {
    **{f"m_axi_gmem_{n}": ("output", bits) for n, bits in AXI4_OF_MANAGER.items()},
    **{f"m_axi_gmem_{n}": ("input", bits) for n, bits in AXI4_OF_SUBORDINATE.items()},
    **{f"s_axi_control_{n}": ("input", bits) for n, bits in LITE_OF_MANAGER.items()},
    **{f"s_axi_control_{n}": ("output", bits) for n, bits in LITE_OF_SUBORDINATE.items()},
    "interrupt": ("output", 1),
    "ap_clk": ("input", 1),
    "ap_rst_n": ("input", 1),
}
"""Direction and bits of each."""
