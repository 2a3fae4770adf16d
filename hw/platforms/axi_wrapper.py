"""The accelerator as Vivado wants a component: flat ports that say which interface they are of."""

__all__ = ["CONTROL", "MEMORY", "wrapper"]

MEMORY, CONTROL = "m_axi_gmem", "s_axi_control"

_CLOCK = "xilinx.com:signal:clock:1.0 ap_clk CLK"
_RESET = "xilinx.com:signal:reset:1.0 ap_rst_n RST"
_INTERRUPT = "xilinx.com:signal:interrupt:1.0 interrupt INTERRUPT"
_AXI = "xilinx.com:interface:aximm:1.0"

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


def wrapper(manifest, name):
    """Return Verilog of module `name` around an emitted accelerator.

    Clock and reset are called ``ap_clk`` and ``ap_rst_n``, active low, as Vitis HLS has them; the
    reset passes a register.

    Parameters
    ----------
    manifest : dict
        The accelerator's.
    name : str
    """
    ports, connections, described = [], [], set()
    for port in manifest["ports"]:
        if port["name"] in ("clk", "rst"):
            continue
        interface = next((i for i in (MEMORY, CONTROL) if port["name"].startswith(f"{i}_")), None)
        if interface is None:
            info, described_as = _INTERRUPT, port["name"]
        else:
            role = port["name"].removeprefix(f"{interface}_").upper()
            info, described_as = f"{_AXI} {interface} {role}", interface
        parameters = None if described_as in described else _PARAMETERS[described_as]
        described.add(described_as)
        ports.append(_port(port["name"], port["direction"], port["width"], info, parameters))
        connections.append(f".{port['name']}({port['name']})")
    ports = [
        _port("ap_clk", "input", 1, _CLOCK, _PARAMETERS["ap_clk"]),
        _port("ap_rst_n", "input", 1, _RESET, _PARAMETERS["ap_rst_n"]),
        *ports,
    ]
    listed = ",\n".join(ports)
    connected = ",\n    ".join([".clk(ap_clk)", ".rst(reset)", *connections])
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


def _port(name, direction, width, info, parameters):
    lines = [f'  (* X_INTERFACE_INFO = "{info}" *)']
    if parameters is not None:
        lines.append(f'  (* X_INTERFACE_PARAMETER = "{parameters}" *)')
    span = f"[{width - 1}:0] " if width > 1 else ""
    lines.append(f"  {direction} wire {span}{name}")
    return "\n".join(lines)
