# amaranth: UnusedElaboratable=no
"""What is written for the ZCU102: pins, wrapper and Tcl, as far as they go without Vivado."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.lib import io

from dybit.hw.platforms.axi_wrapper import wrapper
from dybit.hw.platforms.ip_xact import component_description
from dybit.hw.platforms.part import XCZU9EG
from dybit.hw.platforms.vivado_ip import package_script
from dybit.hw.platforms.vivado_system import build_script, design_script
from dybit.hw.platforms.zcu102 import ZCU102Platform, zcu102_plan
from dybit.hw.yosys import run_yosys
from dybit.quant.config import QuantConfig
from dybit.scripts.verilog import emit_accelerator
from tests.hw import tcl_recorder
from tests.hw.axi_ports import WRAPPER_PORTS
from tests.hw.verilog_checks import check_with_icarus, check_with_verilator, check_with_yosys

SMALL = {
    "array": {"rows": 4, "columns": 4, "max_reduction": 99, "accumulator_depth": 16},
    "default": {"weight_bits": 4, "activation_bits": 4},
    "accelerator": {"weight_rows": 16, "activation_words": 64, "output_words": 64},
}

# AMD UG1182, by hand: what the board calls it, pins, standard.
BOARD_PINS = {
    "clk125": (["G21", "F21"], "LVDS_25"),
    "clk300": (["AL8", "AL7"], "DIFF_SSTL12"),
    "rst": (["AM13"], "LVCMOS33"),
    "led": (["AG14", "AF13", "AE13", "AJ14", "AJ15", "AH13", "AH14", "AL12"], "LVCMOS33"),
    "button": (["AG15", "AE14", "AF15", "AE15", "AG13"], "LVCMOS33"),
    "switch": (["AN14", "AP14", "AM14", "AN13", "AN12", "AP12", "AL13", "AK13"], "LVCMOS33"),
    "uart": (["E13", "F13"], "LVCMOS33"),
}


def constraints(xdc: str) -> dict[str, tuple[list[str], set[str]]]:
    """Return {resource: (pins in order, standards)} of an XDC file."""
    found: dict[str, tuple[list[str], set[str]]] = {}
    for kind, value, port in re.findall(r'set_property (\w+) "?(\w+)"? \[get_ports "(.*?)"', xdc):
        pins, standards = found.setdefault(port.partition("_")[0], ([], set()))
        if kind == "LOC":
            pins.append(value)
        elif kind == "IOSTANDARD":
            standards.add(value)
    return found


class EveryPin(Elaboratable):
    """Every output is something of every input."""

    def elaborate(self, platform: ZCU102Platform) -> Module:
        m = Module()
        uart, clock = platform.request("uart", dir="-"), platform.request("clk300", dir="-")
        inputs, outputs = [uart.rx, clock], [uart.tx]
        for name, count in (("button", 5), ("switch", 8)):
            inputs += [platform.request(name, index, dir="-") for index in range(count)]
        outputs += [platform.request("led", index, dir="-") for index in range(8)]
        given = Signal(len(inputs))
        for index, pin in enumerate(inputs):
            m.submodules[f"i_{index}"] = buffer = io.Buffer("i", pin)
            m.d.sync += given[index].eq(buffer.i)
        for index, pin in enumerate(outputs):
            m.submodules[f"o_{index}"] = buffer = io.Buffer("o", pin)
            m.d.comb += buffer.o.eq(given.xor())
        return m


def test_every_pin_is_where_the_board_has_it() -> None:
    plan = ZCU102Platform(toolchain="Vivado").build(EveryPin(), do_build=False)
    found = constraints(str(plan.files["top.xdc"]))
    assert {name: (pins, {standard}) for name, (pins, standard) in BOARD_PINS.items()} == found
    assert "-period 8.0" in str(plan.files["top.xdc"])


SELF_TEST = """
module dybit_self_test(input clk, rst, inject, output reg running, passed, failed, tx);
  always @(posedge clk) {running, passed, failed, tx} <= {4{inject ^ rst}};
endmodule
"""

ELABORATE = """
read_verilog -lib +/xilinx/cells_sim.v
read_verilog -lib +/xilinx/cells_xtra.v
read_verilog dybit_self_test.v top.v
hierarchy -check -top top
proc
check -assert
select -assert-count 1 t:IBUFDS
select -assert-count 1 t:BUFGCE
select -assert-count 4 t:OBUFT
select -assert-count 2 t:IBUF
"""


def test_the_self_test_image_is_a_project_for_the_part(tmp_path: Path) -> None:
    plan = zcu102_plan("dybit_self_test", {"dybit_self_test.v": SELF_TEST})
    plan.extract(tmp_path)
    pins = constraints((tmp_path / "top.xdc").read_text())
    used = ("clk125", "rst")
    assert {name: pins[name][0] for name in used} == {name: BOARD_PINS[name][0] for name in used}
    assert pins["uart"][0] == ["F13"]
    assert pins["led"][0] == BOARD_PINS["led"][0][:3]
    assert pins["button"][0] == BOARD_PINS["button"][0][:1]
    # No cell has one of Amaranth's constraints.
    record = tcl_recorder.run(tmp_path / "top.tcl", {"get_cells": "", "get_pins": ""})
    assert ("create_project", "-force", "-name", "top", "-part", XCZU9EG.name) in record
    assert [call[1] for call in record if call[0] == "add_files"] == ["dybit_self_test.v", "top.v"]
    assert record[-2][:2] == ("write_bitstream", "-force")
    # What stands around the self-test elaborates: cells of the part, every port connected.
    run_yosys(ELABORATE, tmp_path)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Verilog of a small accelerator with its wrapper, and the Tcl around it."""
    directory = tmp_path_factory.mktemp("zcu102")
    config = QuantConfig.from_dict(SMALL)
    manifest = emit_accelerator(config, directory / "verilog")
    (directory / "verilog/dybit_ip.v").write_text(wrapper(manifest, "dybit_ip"))
    files = ["dybit_ip.v", *manifest["verilog"]]
    (directory / "component.xml").write_text(component_description(manifest, "dybit_ip", files))
    (directory / "package_ip.tcl").write_text(package_script(files, "dybit_ip", XCZU9EG.name))
    (directory / "design.tcl").write_text(design_script(XCZU9EG.name, "xilinx.com:zcu102", 200))
    (directory / "build.tcl").write_text(build_script())
    return directory


PORT = re.compile(
    r'\(\* X_INTERFACE_INFO = "(?P<info>[^"]*)" \*\)\n'
    r'(?:  \(\* X_INTERFACE_PARAMETER = "(?P<parameter>[^"]*)" \*\)\n)?'
    r"  (?P<direction>input|output) wire (?:\[(?P<high>\d+):0\] )?(?P<name>\w+)"
)


def test_the_wrapper_has_the_ports_of_axi(project: Path) -> None:
    text = (project / "verilog/dybit_ip.v").read_text()
    found = {
        match["name"]: (match["direction"], int(match["high"] or 0) + 1)
        for match in PORT.finditer(text)
    }
    assert found == WRAPPER_PORTS


def test_the_wrapper_says_which_interface_each_port_is_of(project: Path) -> None:
    ports = list(PORT.finditer((project / "verilog/dybit_ip.v").read_text()))
    parameters = {match["name"]: match["parameter"] for match in ports if match["parameter"]}
    assert set(parameters) == {
        "ap_clk", "ap_rst_n", "interrupt", "m_axi_gmem_arid", "s_axi_control_awaddr",
    }  # fmt: skip
    assert "ASSOCIATED_BUSIF m_axi_gmem:s_axi_control" in parameters["ap_clk"]
    assert "ASSOCIATED_RESET ap_rst_n" in parameters["ap_clk"]
    assert parameters["ap_rst_n"] == "POLARITY ACTIVE_LOW"
    assert parameters["interrupt"] == "SENSITIVITY LEVEL_HIGH"
    assert "PROTOCOL AXI4LITE" in parameters["s_axi_control_awaddr"]
    for match in ports:
        interface, _, role = match["name"].rpartition("_")
        if interface in ("m_axi_gmem", "s_axi_control"):
            bus = f"xilinx.com:interface:aximm:1.0 {interface} {role.upper()}"
            assert match["info"] == bus


def test_the_wrapper_is_clean_for_every_tool(project: Path, tmp_path: Path) -> None:
    manifest = {
        "top": "dybit_ip",
        "verilog": sorted(path.name for path in (project / "verilog").glob("*.v")),
        "waivers": "dybit.vlt",
    }
    check_with_verilator(project / "verilog", manifest, tmp_path / "lint.log")
    check_with_yosys(project / "verilog", manifest)


def test_icarus_accepts_the_wrapper(
    project: Path, tmp_path: Path, debian_tool: Callable[[str], str]
) -> None:
    debian_tool("iverilog")
    files = sorted(path.name for path in (project / "verilog").glob("*.v"))
    manifest = {"top": "dybit_ip", "verilog": files}
    check_with_icarus(project / "verilog", manifest, tmp_path / "icarus.log")


def test_the_ip_has_the_registers(project: Path) -> None:
    record = tcl_recorder.run(project / "package_ip.tcl")
    commands = [call[0] for call in record]
    added = [call[1] for call in record if call[0] == "add_files"]
    assert all((project / name).exists() for name in added)
    assert len(added) == len(list((project / "verilog").glob("*.v")))
    registers = [call[1] for call in record if call[0] == "ipx::add_register"]
    offsets = [int(c[2], 0) for c in record if c[:2] == ("set_property", "address_offset")]
    by_name = dict(zip(registers, offsets, strict=True))
    # docs/register-map.md, by hand.
    assert by_name["CTRL"] == 0x00
    assert by_name["ISR"] == 0x0C
    assert by_name["LIST_LENGTH"] == 0x3C
    assert by_name["CYCLES_HIGH"] == 0x54
    assert by_name["DEPTHWISE_HIGH"] == 0x8C
    assert len(registers) == len(set(by_name.values())) == 35
    access = [call[2] for call in record if call[:2] == ("set_property", "access")]
    assert set(access) == {"read-write", "read-only"}
    fields = [call[1] for call in record if call[0] == "ipx::add_field"]
    assert fields[:4] == ["ap_start", "ap_done", "ap_idle", "ap_ready"]
    range_, width = (
        [call[2] for call in record if call[:2] == ("set_property", name)]
        for name in ("range", "width")
    )
    assert (range_, width) == (["4096"], ["32"])
    assert commands[-2:] == ["ipx::save_core", "close_project"]
    assert ("set_property", "top", "dybit_ip", "current_fileset(current_fileset)") in record


SPIRIT = {"": "http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009"}


def texts(element: ElementTree.Element, *paths: str) -> tuple[str, ...]:
    """Return what elements of a description say, "" where there is none."""
    return tuple(element.findtext(path, "", SPIRIT) for path in paths)


def test_the_component_description_has_the_ports(project: Path) -> None:
    component = ElementTree.parse(project / "component.xml").getroot()
    assert texts(component, "vendor", "library", "name", "version") == (
        "dybit", "accelerator", "dybit", "1.0",
    )  # fmt: skip
    found = {}
    for port in component.iterfind("model/ports/port", SPIRIT):
        name, direction, left = texts(port, "name", "wire/direction", "wire/vector/left")
        found[name] = (f"{direction}put", int(left or 0) + 1)
    assert found == WRAPPER_PORTS
    interfaces = {}
    for interface in component.iterfind("busInterfaces/busInterface", SPIRIT):
        (name,) = texts(interface, "name")
        kind = interface.find("busType", SPIRIT)
        assert kind is not None
        managed = "master" if interface.find("master", SPIRIT) is not None else "slave"
        interfaces[name] = (kind.attrib[f"{{{SPIRIT['']}}}name"], managed)
        for pair in interface.iterfind("portMaps/portMap", SPIRIT):
            role, port_name = texts(pair, "logicalPort/name", "physicalPort/name")
            if kind.attrib[f"{{{SPIRIT['']}}}name"] == "aximm":
                assert port_name == f"{name}_{role.lower()}"
            found.pop(port_name)
    assert found == {}
    assert interfaces == {
        "ap_clk": ("clock", "slave"),
        "ap_rst_n": ("reset", "slave"),
        "m_axi_gmem": ("aximm", "master"),
        "s_axi_control": ("aximm", "slave"),
        "interrupt": ("interrupt", "master"),
    }
    (top,) = texts(component, "model/views/view/modelName")
    files = [texts(file, "name")[0] for file in component.iterfind("fileSets/fileSet/file", SPIRIT)]
    assert top == "dybit_ip"
    assert sorted(files) == sorted(f"verilog/{path.name}" for path in project.glob("verilog/*.v"))


def test_the_component_description_has_the_registers(project: Path) -> None:
    """As docs/register-map.md has them."""
    component = ElementTree.parse(project / "component.xml").getroot()
    (block,) = component.iterfind("memoryMaps/memoryMap/addressBlock", SPIRIT)
    assert texts(block, "baseAddress", "range", "width") == ("0x0", "4096", "32")
    found = []
    for register in block.iterfind("register", SPIRIT):
        name, offset, size = texts(register, "name", "addressOffset", "size")
        assert size == "32"
        found.append((int(offset, 0), name))
        for field in register.iterfind("field", SPIRIT):
            name, low, bits = texts(field, "name", "bitOffset", "bitWidth")
            # A register of one number has no field on the page.
            found += (
                [] if (low, bits, name) == ("0", "32", "value") else [(int(low), int(bits), name)]
            )
    page = (Path(__file__).parents[2] / "docs/register-map.md").read_text()
    listed = []
    rows = r"^\| (0x\w+)? *\| (?:`(\w+)`)? *\| [^|]* \| (?:(\d+)(?:\.\.(\d+))?)? *\| (?:`(\w+)`)?"
    for offset, name, high, low, field in re.findall(rows, page.split("\n## ")[1], re.MULTILINE):
        if offset:
            listed.append((int(offset, 0), name))
        else:
            low = low or high
            listed.append((int(low), int(high) - int(low) + 1, field))
    assert found == listed
    accesses = [texts(register, "access")[0] for register in block.iterfind("register", SPIRIT)]
    assert set(accesses) == {"read-write", "read-only"}


ZYNQ = "zynq_ultra_ps_e_0"
DONE = {"get_property PROGRESS": "100%", "get_property STATS.WNS": "0.123"}


def test_the_block_design_connects_everything(project: Path) -> None:
    record = tcl_recorder.run(project / "design.tcl")

    def ends(command: str) -> set[tuple[str, str]]:
        calls = [call for call in record if call[0] == command]
        return {
            (re.sub(r".*\((.*)\)", r"\1", a), re.sub(r".*\((.*)\)", r"\1", b)) for _, a, b in calls
        }

    assert ends("connect_bd_intf_net") == {
        (f"{ZYNQ}/M_AXI_HPM0_FPD", "control/S00_AXI"),
        ("control/M00_AXI", "dybit_0/s_axi_control"),
        ("dybit_0/m_axi_gmem", "memory/S00_AXI"),
        ("memory/M00_AXI", f"{ZYNQ}/S_AXI_HP0_FPD"),
    }
    clocked = ["dybit_0/ap_clk", "control/aclk", "memory/aclk", "reset/slowest_sync_clk"]
    clocked += [f"{ZYNQ}/maxihpm0_fpd_aclk", f"{ZYNQ}/saxihp0_fpd_aclk"]
    assert ends("connect_bd_net") == {
        ("dybit_0/interrupt", f"{ZYNQ}/pl_ps_irq0"),
        (f"{ZYNQ}/pl_resetn0", "reset/ext_reset_in"),
        *((f"{ZYNQ}/pl_clk0", pin) for pin in clocked),
        *(
            ("reset/peripheral_aresetn", pin)
            for pin in ("dybit_0/ap_rst_n", "control/aresetn", "memory/aresetn")
        ),
    }
    (settings,) = (call[2] for call in record if "-dict" in call and "PSU" in call[2])
    words = settings.split()
    values = dict(zip(words[::2], words[1::2], strict=True))
    assert values["CONFIG.PSU__USE__S_AXI_GP2"] == "1"
    assert values["CONFIG.PSU__USE__M_AXI_GP1"] == "0"
    assert values["CONFIG.PSU__SAXIGP2__DATA_WIDTH"] == "128"
    assert values["CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ"] == "200"
    (placed,) = (call for call in record if call[:2] == ("assign_bd_address", "-offset"))
    assert int(placed[2], 0) == 0xA000_0000
    assert placed[4] == "4K"
    cells = {call[-1]: call[4] for call in record if call[0] == "create_bd_cell"}
    assert cells["dybit_0"] == "dybit:accelerator:dybit:1.0"
    assert set(cells) == {ZYNQ, "dybit_0", "reset", "control", "memory"}
    order = [call[0] for call in record]
    assert order.index("validate_bd_design") < order.index("make_wrapper")


def test_the_packaged_ip_is_the_one_the_design_asks_for(project: Path) -> None:
    record = tcl_recorder.run(project / "package_ip.tcl")
    (packaged,) = (call for call in record if call[0] == "ipx::package_project")
    options = dict(pairwise(packaged))
    names = {call[1]: call[2] for call in record if call[0] == "set_property"}
    parts = options["-vendor"], options["-library"], names["name"], names["version"]
    assert ":".join(parts) == "dybit:accelerator:dybit:1.0"


def test_the_build_ends_with_an_image_for_pynq(project: Path) -> None:
    record = tcl_recorder.run(project / "build.tcl", DONE)
    platform = ("write_hw_platform", "-fixed", "-include_bit", "-force", "-file", "dybit.xsa")
    assert platform in record
    copied = [call[3:] for call in record if call[:2] == ("file", "copy")]
    assert [target for _, target in copied] == ["pynq/dybit.bit", "pynq/dybit.hwh"]
    assert copied[1][0].endswith(".gen/sources_1/bd/dybit/hw_handoff/dybit.hwh")


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"get_property PROGRESS": "41%"}, "implementation failed"),
        ({**DONE, "get_property STATS.WNS": "-0.2"}, "the clock is not met: slack of -0.2 ns"),
    ],
)
def test_a_build_that_failed_says_so(answers: dict[str, str], message: str, project: Path) -> None:
    with pytest.raises(tcl_recorder.ScriptError, match=message):
        tcl_recorder.run(project / "build.tcl", answers)


def test_missing_board_files_are_named(project: Path, tmp_path: Path) -> None:
    with pytest.raises(
        tcl_recorder.ScriptError, match=r"no board files of xilinx\.com:zcu102: install"
    ):
        tcl_recorder.run(project / "design.tcl", {"get_board_parts": ""})
    # A command that neither Tcl nor Vivado has is an error in the recorder, too.
    (tmp_path / "wrong.tcl").write_text("create_bd_sell x\n")
    with pytest.raises(tcl_recorder.ScriptError, match="invalid command name"):
        tcl_recorder.run(tmp_path / "wrong.tcl")


@pytest.mark.parametrize(
    ("script", "answers"),
    [("package_ip.tcl", {}), ("design.tcl", {}), ("build.tcl", DONE)],
)
def test_tcl_itself_reads_the_scripts_alike(
    script: str, answers: dict[str, str], project: Path
) -> None:
    own = tcl_recorder.run(project / script, answers)
    assert own == tcl_recorder.run(project / script, answers, tcl_recorder.RealTcl)
    assert len(own) > 30
