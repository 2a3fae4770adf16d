  // Every write is handed on once, its address with its data, and answered once; every read is asked
  // once, and its answer is what was given; answers wait for the host.
  reg addressed = 0, given = 0, answering = 0, asking = 0, replying = 0;
  reg [11:0] address = 0, read_at = 0;
  reg [31:0] data = 0, reply = 0;
  reg [3:0] bytes = 0;
  wire writes = addressed & given & (~answering | axi__bready);
  always @(posedge clk) begin
    if (axi__awvalid & axi__awready) begin addressed <= 1; address <= axi__awaddr; end
    if (axi__wvalid & axi__wready) begin given <= 1; data <= axi__wdata; bytes <= axi__wstrb; end
    if (axi__bvalid & axi__bready) answering <= 0;
    if (write) begin addressed <= 0; given <= 0; answering <= 1; end
    if (axi__arvalid & axi__arready) begin asking <= 1; read_at <= axi__araddr; end
    if (axi__rvalid & axi__rready) replying <= 0;
    if (read & read_ready) begin asking <= 0; replying <= 1; reply <= read_data; end
  end
  always @* begin
    assert (inside__addressed == addressed & inside__given == given);
    assert (axi__awready == ~addressed & axi__wready == ~given);
    assert (write == writes);
    if (addressed) assert (write_address == address[11:2]);
    if (given) assert (write_data == data & write_bytes == bytes);
    assert (axi__bvalid == answering & axi__bresp == 0);
    assert (~(axi__awvalid & axi__awready & addressed) & ~(axi__wvalid & axi__wready & given));
    assert (read == asking);
    if (read) assert (read_address == read_at[11:2]);
    assert (axi__rvalid == replying & axi__rresp == 0);
    if (replying) assert (axi__rdata == reply);
    assert (~(axi__arvalid & axi__arready & asking));
    assert (~(read & replying & ~axi__rready) | ~axi__arready);
  end
