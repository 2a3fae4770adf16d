"""cocotb test benches: they run inside a simulator, started by `tests.hw.cocotb_runner`."""
