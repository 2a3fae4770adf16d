"""Tcl that puts the packaged accelerator beside a Zynq's processors and makes a bitstream."""

from dybit.hw.platforms.axi_wrapper import CONTROL, MEMORY
from dybit.hw.platforms.vivado_ip import VLNV

__all__ = ["CONTROL_ADDRESS", "DESIGN", "build_script", "design_script"]

DESIGN = "dybit"
"""Name of the project, the block design and what is made of it."""

CONTROL_ADDRESS = 0xA000_0000
"""Of the registers: where HPM0 begins."""

_CELL, _PS = "dybit_0", "zynq_ultra_ps_e_0"


def design_script(part, board, mhz):
    """Return Tcl that makes the project with its block design, in the folder ``project``.

    Parameters
    ----------
    part : str
    board : str
        Vendor and name of the board, any version of which will do: ``xilinx.com:zcu102``.
    mhz : int
        Clock of the programmable logic.
    """
    return f"""\
# The block design: the processors, the accelerator, and the buses between them.
create_project {DESIGN} project -part {part} -force
set boards [get_board_parts -quiet -latest_file_version {board}:*]
if {{[llength $boards] == 0}} {{
  error "no board files of {board}: install them with Vivado's Tools > Vivado Store"
}}
set_property board_part [lindex $boards 0] [current_project]
set_property ip_repo_paths [file normalize ip] [current_project]
update_ip_catalog
create_bd_design {DESIGN}

set ps [create_bd_cell -type ip -vlnv xilinx.com:ip:zynq_ultra_ps_e:* {_PS}]
apply_bd_automation -rule xilinx.com:bd_rule:zynq_ultra_ps_e \\
  -config {{apply_board_preset "1"}} $ps
# One port to the registers, one from the accelerator to DDR, an interrupt, a clock.
set_property -dict [list \\
  CONFIG.PSU__USE__M_AXI_GP0 1 \\
  CONFIG.PSU__USE__M_AXI_GP1 0 \\
  CONFIG.PSU__USE__M_AXI_GP2 0 \\
  CONFIG.PSU__USE__S_AXI_GP2 1 \\
  CONFIG.PSU__SAXIGP2__DATA_WIDTH 128 \\
  CONFIG.PSU__USE__IRQ0 1 \\
  CONFIG.PSU__FPGA_PL0_ENABLE 1 \\
  CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ {mhz} \\
] $ps
set accelerator [create_bd_cell -type ip -vlnv {VLNV} {_CELL}]
set reset [create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset:* reset]
foreach name {{control memory}} {{
  set smartconnect [create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect:* $name]
  set_property -dict [list CONFIG.NUM_SI 1 CONFIG.NUM_MI 1] $smartconnect
}}

connect_bd_intf_net [get_bd_intf_pins {_PS}/M_AXI_HPM0_FPD] [get_bd_intf_pins control/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins control/M00_AXI] [get_bd_intf_pins {_CELL}/{CONTROL}]
connect_bd_intf_net [get_bd_intf_pins {_CELL}/{MEMORY}] [get_bd_intf_pins memory/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins memory/M00_AXI] [get_bd_intf_pins {_PS}/S_AXI_HP0_FPD]
connect_bd_net [get_bd_pins {_CELL}/interrupt] [get_bd_pins {_PS}/pl_ps_irq0]

set clock [get_bd_pins {_PS}/pl_clk0]
foreach pin {{
  {_CELL}/ap_clk control/aclk memory/aclk reset/slowest_sync_clk
  {_PS}/maxihpm0_fpd_aclk {_PS}/saxihp0_fpd_aclk
}} {{
  connect_bd_net $clock [get_bd_pins $pin]
}}
connect_bd_net [get_bd_pins {_PS}/pl_resetn0] [get_bd_pins reset/ext_reset_in]
foreach pin {{{_CELL}/ap_rst_n control/aresetn memory/aresetn}} {{
  connect_bd_net [get_bd_pins reset/peripheral_aresetn] [get_bd_pins $pin]
}}

assign_bd_address -offset {CONTROL_ADDRESS:#x} -range 4K \\
  -target_address_space [get_bd_addr_spaces {_PS}/Data] \\
  [get_bd_addr_segs {_CELL}/{CONTROL}/Reg]
assign_bd_address
validate_bd_design
save_bd_design
set wrapper [make_wrapper -files [get_files {DESIGN}.bd] -top]
add_files -norecurse $wrapper
set_property top {DESIGN}_wrapper [current_fileset]
update_compile_order -fileset sources_1
"""


def build_script():
    """Return Tcl that does everything in batch, from Verilog to .bit, .hwh and .xsa.

    They end in the folder ``pynq``; reports of timing and utilisation lie beside this script. It
    fails where the clock is not met.
    """
    return f"""\
# From Verilog to an image: vivado -mode batch -source build.tcl, in this folder.
source package_ip.tcl
source design.tcl
launch_runs impl_1 -to_step write_bitstream -jobs 4
wait_on_run impl_1
if {{[get_property PROGRESS [get_runs impl_1]] ne "100%"}} {{
  error "implementation failed: [get_property STATUS [get_runs impl_1]]"
}}
open_run impl_1
report_timing_summary -file timing.rpt
report_utilization -hierarchical -file utilization.rpt
set slack [get_property STATS.WNS [get_runs impl_1]]
write_hw_platform -fixed -include_bit -force -file {DESIGN}.xsa
file copy -force project/{DESIGN}.runs/impl_1/{DESIGN}_wrapper.bit pynq/{DESIGN}.bit
file copy -force project/{DESIGN}.gen/sources_1/bd/{DESIGN}/hw_handoff/{DESIGN}.hwh \\
  pynq/{DESIGN}.hwh
if {{$slack < 0}} {{
  error "the clock is not met: slack of $slack ns, see timing.rpt; take a lower --mhz"
}}
puts "{DESIGN}.bit, {DESIGN}.hwh: in pynq; {DESIGN}.xsa: here; slack of $slack ns"
"""
