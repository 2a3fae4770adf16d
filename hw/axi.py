"""AXI4 and AXI4-Lite interfaces, and how they become the flat ports that tools look for."""

from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

__all__ = [
    "ADDRESS_BITS",
    "BURST_BEATS",
    "BURST_INCR",
    "BUS_BYTES",
    "CACHE",
    "LITE_ADDRESS_BITS",
    "LITE_BYTES",
    "SIZE",
    "AXI4LiteSignature",
    "AXI4ReadSignature",
    "AXI4WriteSignature",
    "Response",
    "connect_flat",
    "flat_ports",
]

ADDRESS_BITS = 40
"""Bits of an address in memory: what the processing system of a Zynq UltraScale+ has."""

BUS_BYTES = 16
"""Bytes of a beat."""

BURST_BEATS = 64
"""Most beats of a burst: 1 KiB, so that a burst which ends where such a block does stays within
a page of 4 KiB, as AXI demands."""

SIZE = BUS_BYTES.bit_length() - 1
"""``arsize``, ``awsize``: every beat is as wide as the bus."""

BURST_INCR = 1
"""``arburst``, ``awburst``: addresses go up."""

CACHE = 0b0011
"""``arcache``, ``awcache``: normal memory, not cacheable, bufferable; what Vitis HLS sets."""

LITE_ADDRESS_BITS = 12
"""Bits of an address of a register: a page of 4 KiB, the least that tools map."""

LITE_BYTES = 4
"""Bytes of a register."""


class Response(enum.Enum, shape=2):
    """``rresp``, ``bresp``."""

    OKAY = 0
    EXOKAY = 1
    SLVERR = 2
    DECERR = 3


class AXI4ReadSignature(wiring.Signature):
    """Read channels of an AXI4 manager: 128 bits of data, one identifier.

    Members
    -------
    arid, araddr, arlen, arsize, arburst, arcache, arprot, arvalid, arready : addresses of bursts
    rid, rdata, rresp, rlast, rvalid, rready : their data
    """

    def __init__(self):
        super().__init__(
            {
                **_address_channel("ar"),
                "rid": In(1),
                "rdata": In(8 * BUS_BYTES),
                "rresp": In(Response),
                "rlast": In(1),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


class AXI4WriteSignature(wiring.Signature):
    """Write channels of an AXI4 manager: 128 bits of data, one identifier.

    Members
    -------
    awid, awaddr, awlen, awsize, awburst, awcache, awprot, awvalid, awready : addresses of bursts
    wdata, wstrb, wlast, wvalid, wready : their data
    bid, bresp, bvalid, bready : that they are written
    """

    def __init__(self):
        super().__init__(
            {
                **_address_channel("aw"),
                "wdata": Out(8 * BUS_BYTES),
                "wstrb": Out(BUS_BYTES),
                "wlast": Out(1),
                "wvalid": Out(1),
                "wready": In(1),
                "bid": In(1),
                "bresp": In(Response),
                "bvalid": In(1),
                "bready": Out(1),
            }
        )


class AXI4LiteSignature(wiring.Signature):
    """All channels of AXI4-Lite, 32 bits of data, as the manager sees them.

    Members
    -------
    awaddr, awprot, awvalid, awready, wdata, wstrb, wvalid, wready, bresp, bvalid, bready : writes
    araddr, arprot, arvalid, arready, rdata, rresp, rvalid, rready : reads
    """

    def __init__(self):
        super().__init__(
            {
                "awaddr": Out(LITE_ADDRESS_BITS),
                "awprot": Out(3),
                "awvalid": Out(1),
                "awready": In(1),
                "wdata": Out(8 * LITE_BYTES),
                "wstrb": Out(LITE_BYTES),
                "wvalid": Out(1),
                "wready": In(1),
                "bresp": In(Response),
                "bvalid": In(1),
                "bready": Out(1),
                "araddr": Out(LITE_ADDRESS_BITS),
                "arprot": Out(3),
                "arvalid": Out(1),
                "arready": In(1),
                "rdata": In(8 * LITE_BYTES),
                "rresp": In(Response),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


def _address_channel(name):
    members = {
        "id": 1,
        "addr": ADDRESS_BITS,
        "len": 8,
        "size": 3,
        "burst": 2,
        "cache": 4,
        "prot": 3,
        "valid": 1,
    }
    return {
        **{f"{name}{member}": Out(shape) for member, shape in members.items()},
        f"{name}ready": In(1),
    }


def flat_ports(prefix, signature):
    """Return the members of a component that has an interface as ports ``<prefix>_araddr`` ..

    A nested interface would be emitted with two underscores, and tools would not know it.

    Parameters
    ----------
    prefix : str
        Such as ``"m_axi_gmem"``.
    signature : Signature
        One of this module's, or its ``flip()`` on a subordinate.
    """
    return {f"{prefix}_{name}": member for name, member in signature.members.items()}


def connect_flat(m, component, prefix, interface):
    """Connect the ports that `flat_ports` named to an equal interface of a submodule."""
    for name, member in interface.signature.members.items():
        port, inner = getattr(component, f"{prefix}_{name}"), getattr(interface, name)
        target, source = (port, inner) if member.flow == wiring.Out else (inner, port)
        m.d.comb += target.eq(source)
