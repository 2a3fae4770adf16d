"""Tcl that packages the accelerator as an IP of Vivado's, registers and all."""

from dybit.hw.platforms.axi_wrapper import CONTROL, MEMORY
from dybit.hw.registers import REGISTERS, Access

__all__ = ["ACCESS", "MAP_BYTES", "REGISTER_BITS", "VLNV", "package_script"]

VENDOR, LIBRARY, IP, VERSION = "dybit", "accelerator", "dybit", "1.0"
VLNV = f"{VENDOR}:{LIBRARY}:{IP}:{VERSION}"
REGISTER_BITS = 32
MAP_BYTES = 4096
ACCESS = {
    Access.CONTROL: "read-write",
    Access.READ_WRITE: "read-write",
    Access.READ: "read-only",
    Access.CONSTANT: "read-only",
}


def package_script(files, top, part):
    """Return Tcl that writes the IP, its component.xml included, into the folder ``ip``.

    It runs in the folder that has ``verilog``, and leaves no project open.

    Parameters
    ----------
    files : sequence of str
        Names in ``verilog``.
    top : str
        The wrapper's module.
    part : str
    """
    sources = " ".join(files)
    return f"""\
# Packages the accelerator: component.xml and sources in ip, with the map of its registers.
create_project -in_memory -part {part}
foreach file {{{sources}}} {{
  add_files [file join verilog $file]
}}
set_property top {top} [current_fileset]
update_compile_order -fileset sources_1
ipx::package_project -root_dir [file normalize ip] -vendor {VENDOR} -library {LIBRARY} \\
  -taxonomy /Accelerators -import_files -set_current true -force
set core [ipx::current_core]
set_property name {IP} $core
set_property version {VERSION} $core
set_property display_name {{DyBit accelerator}} $core
set_property description {{Mixed-precision matrix engine for DyBit networks}} $core
set_property supported_families {{zynquplus Production}} $core
ipx::associate_bus_interfaces -busif {MEMORY} -clock ap_clk $core
ipx::associate_bus_interfaces -busif {CONTROL} -clock ap_clk $core

# What the packager made up of the addresses gives way to the registers there are.
foreach map [ipx::get_memory_maps -of_objects $core] {{
  ipx::remove_memory_map [get_property name $map] $core
}}
set map [ipx::add_memory_map {CONTROL} $core]
set_property slave_memory_map_ref {CONTROL} [ipx::get_bus_interfaces {CONTROL} -of_objects $core]
set block [ipx::add_address_block Reg $map]
set_property range {MAP_BYTES} $block
set_property width {REGISTER_BITS} $block
set_property usage register $block
{_registers()}
ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
close_project
"""


def _registers():
    lines = [
        "proc add_register {block name offset access description} {",
        "  set register [ipx::add_register $name $block]",
        "  set_property address_offset $offset $register",
        f"  set_property size {REGISTER_BITS} $register",
        "  set_property access $access $register",
        "  set_property description $description $register",
        "  return $register",
        "}",
        "proc add_field {register name low bits access description} {",
        "  set field [ipx::add_field $name $register]",
        "  set_property bit_offset $low $field",
        "  set_property bit_width $bits $field",
        "  set_property access $access $field",
        "  set_property description $description $field",
        "}",
    ]
    for register in REGISTERS:
        access = ACCESS[register.access]
        lines.append(
            f"set register [add_register $block {register.name} {register.offset:#05x} "
            f"{access} {{{register.description}}}]"
        )
        lines += [
            f"add_field $register {field.name} {field.low} {field.bits} {access} "
            f"{{{field.description}}}"
            for field in register.fields
        ]
    return "\n".join(lines)
