"""The accelerator as Vivado wants a component: flat ports that say which interface they are of."""

from dataclasses import dataclass

__all__ = ["CONTROL", "MEMORY", "WrapperPort", "wrapper", "wrapper_ports"]

MEMORY, CONTROL = "m_axi_gmem", "s_axi_control"

_AXI = "xilinx.com:interface:aximm:1.0"

_SIGNALS = {
    "ap_clk": ("xilinx.com:signal:clock:1.0", "CLK"),
    "ap_rst_n": ("xilinx.com:signal:reset:1.0", "RST"),
    "interrupt": ("xilinx.com:signal:interrupt:1.0", "INTERRUPT"),
}

# What cannot be seen from the ports; it comes with the first port of an interface.
_PARAMETERS = {
    "ap_clk": f"ASSOCIATED_BUSIF {MEMORY}:{CONTROL}, ASSOCIATED_RESET ap_rst_n",
    "ap_rst_n": "POLARITY ACTIVE_LOW",
    "interrupt": "SENSITIVITY LEVEL_HIGH",
    MEMORY: (
        "PROTOCOL AXI4, ADDR_WIDTH 40, DATA_WIDTH 128, ID_WIDTH 1, SUPPORTS_NARROW_BURST 0, "
        "HAS_LOCK 0, HAS_QOS 0, HAS_REGION 0, MAX_BURST_LENGTH 64"
    ),
    CONTROL: "PROTOCOL AXI4LITE, ADDR_WIDTH 12, DATA_WIDTH 32",
}


@dataclass(frozen=True, slots=True)
class WrapperPort:
    """A port of the wrapper.

    Members
    -------
    name : str
    direction : str
        ``input`` or ``output``.
    width : int
    kind : str
        Vendor, library, name and version of its interface's kind.
    interface : str
    role : str
        What the interface calls it.
    parameters : str or None
        The interface's, with its first port.
    """

    name: str
    direction: str
    width: int
    kind: str
    interface: str
    role: str
    parameters: str | None

    def verilog(self):
        """Return the declaration, with the attributes that Vivado's packager reads."""
        lines = [f'  (* X_INTERFACE_INFO = "{self.kind} {self.interface} {self.role}" *)']
        if self.parameters is not None:
            lines.append(f'  (* X_INTERFACE_PARAMETER = "{self.parameters}" *)')
        span = f"[{self.width - 1}:0] " if self.width > 1 else ""
        lines.append(f"  {self.direction} wire {span}{self.name}")
        return "\n".join(lines)


def wrapper_ports(manifest):
    """Return the ports of the wrapper around an emitted accelerator, clock and reset first.

    They are called ``ap_clk`` and ``ap_rst_n``, active low, as Vitis HLS has them.
    """
    ports, described = [], set()
    clock = [{"name": name, "direction": "input", "width": 1} for name in ("ap_clk", "ap_rst_n")]
    for port in [*clock, *manifest["ports"]]:
        name = port["name"]
        if name in ("clk", "rst"):
            continue
        bus = next((bus for bus in (MEMORY, CONTROL) if name.startswith(f"{bus}_")), None)
        if bus is None:
            (kind, role), interface = _SIGNALS[name], name
        else:
            kind, interface, role = _AXI, bus, name.removeprefix(f"{bus}_").upper()
        parameters = None if interface in described else _PARAMETERS[interface]
        described.add(interface)
        ports.append(
            WrapperPort(name, port["direction"], port["width"], kind, interface, role, parameters)
        )
    return ports


def wrapper(manifest, name):
    """Return Verilog of module `name` around an emitted accelerator.

    The reset passes a register.

    Parameters
    ----------
    manifest : dict
        The accelerator's.
    name : str
    """
    ports = wrapper_ports(manifest)
    listed = ",\n".join(port.verilog() for port in ports)
    passed = [f".{port.name}({port.name})" for port in ports[2:]]
    connected = ",\n    ".join([".clk(ap_clk)", ".rst(reset)", *passed])
    return f"""\
// DyBit, {name}: the accelerator with the interfaces that Vivado's IP packager infers.

`default_nettype none

module {name} (
{listed}
);
  reg reset = 1'b1;
  always @(posedge ap_clk) reset <= ~ap_rst_n;

  {manifest["top"]} accelerator (
    {connected}
  );
endmodule

`default_nettype wire
"""
