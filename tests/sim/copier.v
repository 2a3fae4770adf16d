// A stand-in for the accelerator: reads LIST_LENGTH beats at LIST_LOW in one burst and writes them
// back at BEYOND bytes on. QUIRK makes it break AXI's rules one by one.
module copier(
  input clk, input rst, output interrupt,
  output reg [39:0] m_axi_gmem_araddr, output [7:0] m_axi_gmem_arlen, output [2:0] m_axi_gmem_arsize,
  output [1:0] m_axi_gmem_arburst, output reg m_axi_gmem_arvalid, input m_axi_gmem_arready,
  input [127:0] m_axi_gmem_rdata, input [1:0] m_axi_gmem_rresp, input m_axi_gmem_rlast,
  input m_axi_gmem_rvalid, output m_axi_gmem_rready,
  output reg [39:0] m_axi_gmem_awaddr, output [7:0] m_axi_gmem_awlen, output [2:0] m_axi_gmem_awsize,
  output [1:0] m_axi_gmem_awburst, output reg m_axi_gmem_awvalid, input m_axi_gmem_awready,
  output [127:0] m_axi_gmem_wdata, output [15:0] m_axi_gmem_wstrb, output m_axi_gmem_wlast,
  output m_axi_gmem_wvalid, input m_axi_gmem_wready,
  input [1:0] m_axi_gmem_bresp, input m_axi_gmem_bvalid, output m_axi_gmem_bready,
  input [11:0] s_axi_control_awaddr, input s_axi_control_awvalid, output s_axi_control_awready,
  input [31:0] s_axi_control_wdata, input [3:0] s_axi_control_wstrb, input s_axi_control_wvalid,
  output s_axi_control_wready, output [1:0] s_axi_control_bresp, output reg s_axi_control_bvalid,
  input s_axi_control_bready,
  input [11:0] s_axi_control_araddr, input s_axi_control_arvalid, output s_axi_control_arready,
  output reg [31:0] s_axi_control_rdata, output [1:0] s_axi_control_rresp,
  output reg s_axi_control_rvalid, input s_axi_control_rready
);
  reg [31:0] list, beyond, strobes, quirk;
  reg [7:0] length, got, sent;
  reg [127:0] held [0:63];
  reg [1:0] read_response, write_response;
  reg done, writing;

  wire deaf = quirk == 4;
  assign interrupt = done;
  assign m_axi_gmem_arlen = length - 1;
  assign m_axi_gmem_awlen = length - 1;
  assign m_axi_gmem_arsize = quirk == 1 ? 3 : 4;
  assign m_axi_gmem_awsize = 4;
  assign m_axi_gmem_arburst = 1;
  assign m_axi_gmem_awburst = quirk == 2 ? 0 : 1;
  assign m_axi_gmem_rready = 1;
  assign m_axi_gmem_bready = 1;
  assign m_axi_gmem_wvalid = writing;
  assign m_axi_gmem_wdata = held[sent[5:0]];
  assign m_axi_gmem_wstrb = strobes[15:0];
  assign m_axi_gmem_wlast = quirk == 3 ? sent == 0 : sent == length - 1;

  wire write = s_axi_control_awvalid & s_axi_control_wvalid & ~s_axi_control_bvalid & ~deaf;
  assign s_axi_control_awready = write;
  assign s_axi_control_wready = write;
  assign s_axi_control_bresp = 0;
  assign s_axi_control_arready = ~s_axi_control_rvalid;
  assign s_axi_control_rresp = s_axi_control_araddr == 12'h7fc ? 2 : 0;

  always @(posedge clk) begin
    if (m_axi_gmem_arready) m_axi_gmem_arvalid <= 0;
    if (m_axi_gmem_awready) m_axi_gmem_awvalid <= 0;
    if (m_axi_gmem_rvalid) begin
      held[got[5:0]] <= m_axi_gmem_rdata;
      got <= got + 1;
      read_response <= read_response | m_axi_gmem_rresp;
      if (m_axi_gmem_rlast) begin
        m_axi_gmem_awvalid <= 1;
        m_axi_gmem_awaddr <= list + beyond;
        writing <= 1;
      end
    end
    if (writing & m_axi_gmem_wready) begin
      sent <= sent + 1;
      if (sent == length - 1) writing <= 0;
    end
    if (m_axi_gmem_bvalid) begin
      done <= 1;
      write_response <= m_axi_gmem_bresp;
    end
    if (s_axi_control_bready) s_axi_control_bvalid <= 0;
    if (write) begin
      s_axi_control_bvalid <= 1;
      case (s_axi_control_awaddr)
        12'h000: begin
          m_axi_gmem_arvalid <= quirk != 5;
          m_axi_gmem_araddr <= list;
          got <= 0;
          sent <= 0;
          read_response <= 0;
        end
        12'h00c: done <= 0;
        12'h034: list <= s_axi_control_wdata;
        12'h03c: length <= s_axi_control_wdata[7:0];
        12'h080: beyond <= s_axi_control_wdata;
        12'h084: strobes <= s_axi_control_wdata;
        12'h088: quirk <= s_axi_control_wdata;
      endcase
    end
    if (s_axi_control_rready) s_axi_control_rvalid <= 0;
    if (s_axi_control_arvalid & s_axi_control_arready) begin
      s_axi_control_rvalid <= 1;
      case (s_axi_control_araddr)
        12'h00c: s_axi_control_rdata <= done;
        12'h034: s_axi_control_rdata <= list;
        12'h044: s_axi_control_rdata <= read_response == 3 ? 4 : write_response == 3 ? 6 : 0;
        12'h050: s_axi_control_rdata <= got;
        default: s_axi_control_rdata <= 0;
      endcase
    end
    if (rst) begin
      m_axi_gmem_arvalid <= 0;
      m_axi_gmem_awvalid <= 0;
      s_axi_control_bvalid <= 0;
      s_axi_control_rvalid <= 0;
      done <= 0;
      writing <= 0;
      quirk <= 0;
      write_response <= 0;
    end
  end
endmodule
