"""Tests of the hardware: in Amaranth's simulator, and of the emitted Verilog under cocotb."""
