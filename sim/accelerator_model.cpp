// An emitted accelerator with memory behind its AXI4 port, and a host on its AXI4-Lite port.
//
// The memory answers a read some cycles after its address, then with a beat a cycle, in order;
// it takes a beat a cycle and acknowledges a burst as many cycles after its last beat. What lies
// beyond its end is a decode error. Bursts that AXI forbids end the run.
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include "Vdut.h"
#if VM_TRACE_VCD
#include "verilated_vcd_c.h"
#endif
#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

constexpr uint64_t kBeat = 16, kPage = 4096;
constexpr int kOkay = 0, kDecerr = 3;
constexpr uint64_t kPatience = 1000;  // cycles that an access to a register may take

struct Burst {
    uint64_t address;
    uint32_t beats;
    uint64_t ready;  // cycle of its first beat, or of its acknowledgement
    int response;
};

// What the AXI4-Lite port shows before a clock edge.
struct Control {
    bool write_address_taken, write_data_taken, wrote;
    bool read_address_taken, read;
    int response;
    uint32_t data;
};

struct Model {
    VerilatedContext context;
    std::unique_ptr<Vdut> dut;
#if VM_TRACE_VCD
    std::unique_ptr<VerilatedVcdC> trace;
#endif
    uint8_t* memory = nullptr;
    uint64_t size = 0;
    uint64_t origin = 0;  // address of the memory's first byte
    uint64_t latency = 0;
    uint64_t cycle = 0;
    uint64_t last_transfer = 0;
    std::deque<Burst> reads, writes, acknowledgements;
    std::string violation;

    bool holds(uint64_t address) const {
        return address >= origin && address - origin < size && size - (address - origin) >= kBeat;
    }

    void evaluate(int clock) {
        dut->clk = clock;
        dut->eval();
        context.timeInc(1);
#if VM_TRACE_VCD
        if (trace) trace->dump(context.time());
#endif
    }

    void forbid(const std::string& text) {
        if (violation.empty()) violation = text + " in cycle " + std::to_string(cycle);
    }

    void take(std::deque<Burst>& queue, const char* channel, uint64_t address, uint32_t length,
              int size_code, int kind) {
        const uint64_t bytes = (length + 1) * kBeat;
        if (address % kPage + bytes > kPage) forbid(std::string(channel) + " crosses 4 KiB");
        if (size_code != 4 || kind != 1) forbid(std::string(channel) + " is no burst of 16 bytes");
        queue.push_back({address & ~(kBeat - 1), length + 1, cycle + latency, kOkay});
    }

    void drive() {
        const bool reading = !reads.empty() && cycle >= reads.front().ready;
        dut->m_axi_gmem_arready = 1;
        dut->m_axi_gmem_rvalid = reading;
        if (reading) {
            const Burst& burst = reads.front();
            const bool inside = holds(burst.address);
            if (inside) std::memcpy(dut->m_axi_gmem_rdata.data(), memory + (burst.address - origin), kBeat);
            else std::memset(dut->m_axi_gmem_rdata.data(), 0, kBeat);
            dut->m_axi_gmem_rresp = inside ? kOkay : kDecerr;
            dut->m_axi_gmem_rlast = burst.beats == 1;
        }
        dut->m_axi_gmem_awready = 1;
        dut->m_axi_gmem_wready = !writes.empty();
        const bool written =
            !acknowledgements.empty() && cycle >= acknowledgements.front().ready;
        dut->m_axi_gmem_bvalid = written;
        dut->m_axi_gmem_bresp = written ? acknowledgements.front().response : kOkay;
    }

    void write_beat() {
        Burst& burst = writes.front();
        const uint32_t strobes = dut->m_axi_gmem_wstrb;
        if (dut->m_axi_gmem_wlast != (burst.beats == 1)) forbid("wlast is out of place");
        if (holds(burst.address)) {
            const auto* data = reinterpret_cast<const uint8_t*>(dut->m_axi_gmem_wdata.data());
            for (uint64_t byte = 0; byte < kBeat; ++byte)
                if (strobes >> byte & 1) memory[burst.address - origin + byte] = data[byte];
        } else {
            burst.response = kDecerr;
        }
        burst.address += kBeat;
        if (--burst.beats == 0) {
            burst.ready = cycle + latency;
            acknowledgements.push_back(burst);
            writes.pop_front();
        }
    }

    // One clock cycle; what the host drives on the AXI4-Lite port stays as it is.
    Control step() {
        drive();
        evaluate(0);
        const Vdut& d = *dut;
        const Control control = {
            bool(d.s_axi_control_awready),
            bool(d.s_axi_control_wready),
            bool(d.s_axi_control_bvalid),
            bool(d.s_axi_control_arready),
            bool(d.s_axi_control_rvalid),
            d.s_axi_control_bvalid ? d.s_axi_control_bresp : d.s_axi_control_rresp,
            d.s_axi_control_rdata,
        };
        const bool ar = d.m_axi_gmem_arvalid && d.m_axi_gmem_arready;
        const bool r = d.m_axi_gmem_rvalid && d.m_axi_gmem_rready;
        const bool aw = d.m_axi_gmem_awvalid && d.m_axi_gmem_awready;
        const bool w = d.m_axi_gmem_wvalid && d.m_axi_gmem_wready;
        const bool b = d.m_axi_gmem_bvalid && d.m_axi_gmem_bready;
        if (w) write_beat();
        if (ar)
            take(reads, "a read", d.m_axi_gmem_araddr, d.m_axi_gmem_arlen, d.m_axi_gmem_arsize,
                 d.m_axi_gmem_arburst);
        if (aw)
            take(writes, "a write", d.m_axi_gmem_awaddr, d.m_axi_gmem_awlen, d.m_axi_gmem_awsize,
                 d.m_axi_gmem_awburst);
        if (r) {
            reads.front().address += kBeat;
            if (--reads.front().beats == 0) reads.pop_front();
        }
        if (b) acknowledgements.pop_front();
        if (ar || r || aw || w || b) last_transfer = cycle;
        evaluate(1);
        ++cycle;
        return control;
    }
};

Model& model(void* handle) { return *static_cast<Model*>(handle); }

}  // namespace

EXPORT void* accelerator_open(const char* trace, uint64_t latency) {
    auto opened = std::make_unique<Model>();
#if VM_TRACE_VCD
    opened->context.traceEverOn(true);
#endif
    opened->latency = latency;
    opened->dut = std::make_unique<Vdut>(&opened->context);
#if VM_TRACE_VCD
    if (trace) {
        opened->trace = std::make_unique<VerilatedVcdC>();
        opened->dut->trace(opened->trace.get(), 99);
        opened->trace->open(trace);
    }
#endif
    return opened.release();
}

EXPORT void accelerator_close(void* handle) {
    std::unique_ptr<Model> closed(&model(handle));
    closed->dut->final();
#if VM_TRACE_VCD
    if (closed->trace) closed->trace->close();
#endif
}

// The memory stays the caller's.
EXPORT void accelerator_attach(void* handle, uint8_t* memory, uint64_t size, uint64_t origin) {
    model(handle).memory = memory;
    model(handle).size = size;
    model(handle).origin = origin;
}

// Reset the accelerator; what was on its way to and from memory is forgotten.
EXPORT void accelerator_reset(void* handle, uint64_t cycles) {
    Model& m = model(handle);
    m.dut->rst = 1;
    for (uint64_t cycle = 0; cycle < cycles; ++cycle) m.step();
    m.dut->rst = 0;
    m.reads.clear();
    m.writes.clear();
    m.acknowledgements.clear();
    m.violation.clear();
}

// Write a register; return the response, or -1 if none comes.
EXPORT int accelerator_write(void* handle, uint32_t offset, uint32_t value) {
    Model& m = model(handle);
    Vdut& d = *m.dut;
    d.s_axi_control_awaddr = offset;
    d.s_axi_control_wdata = value;
    d.s_axi_control_wstrb = 15;
    d.s_axi_control_awvalid = d.s_axi_control_wvalid = d.s_axi_control_bready = 1;
    int response = -1;
    for (uint64_t waited = 0; waited < kPatience && response < 0; ++waited) {
        const Control seen = m.step();
        if (seen.write_address_taken) d.s_axi_control_awvalid = 0;
        if (seen.write_data_taken) d.s_axi_control_wvalid = 0;
        if (seen.wrote) response = seen.response;
    }
    d.s_axi_control_awvalid = d.s_axi_control_wvalid = d.s_axi_control_bready = 0;
    return response;
}

// Read a register; return the response, or -1 if none comes.
EXPORT int accelerator_read(void* handle, uint32_t offset, uint32_t* value) {
    Model& m = model(handle);
    Vdut& d = *m.dut;
    d.s_axi_control_araddr = offset;
    d.s_axi_control_arvalid = d.s_axi_control_rready = 1;
    int response = -1;
    for (uint64_t waited = 0; waited < kPatience && response < 0; ++waited) {
        const Control seen = m.step();
        if (seen.read_address_taken) d.s_axi_control_arvalid = 0;
        if (seen.read) {
            response = seen.response;
            *value = seen.data;
        }
    }
    d.s_axi_control_arvalid = d.s_axi_control_rready = 0;
    return response;
}

// Run until the interrupt (0), for `limit` cycles (1), until the bus has been silent for `patience`
// cycles (2), or until a burst that AXI forbids (3).
EXPORT int accelerator_run(void* handle, uint64_t limit, uint64_t patience) {
    Model& m = model(handle);
    m.last_transfer = m.cycle;
    for (uint64_t count = 0; count < limit; ++count) {
        m.step();
        if (!m.violation.empty()) return 3;
        if (m.dut->__SYM__interrupt) return 0;
        if (m.cycle - m.last_transfer > patience) return 2;
    }
    return 1;
}

EXPORT uint64_t accelerator_cycles(void* handle) { return model(handle).cycle; }

EXPORT const char* accelerator_violation(void* handle) { return model(handle).violation.c_str(); }
