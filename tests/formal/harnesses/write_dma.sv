  // Addresses and data obey AXI: they wait unchanged; bursts stay within a block of 1 KiB; data are
  // as many as announced, the last one marked, and only the transfer's bytes enabled, none once the
  // run is aborted. Splitter and buffer are cut out: of them is assumed what is proved of them.
  reg dropping = 0, offered = 0;
  wire stopping = abort | dropping;
  reg [BURST-1:0] shown = 0;
  wire issues = inside__issue;
  always @(posedge clk) begin
    offered <= inside__buffer__o__valid & ~issues & ~stopping;
    shown <= inside__buffer__o__payload;
  end
  always @* begin
    if (offered)
      assume (inside__buffer__o__valid & inside__buffer__o__payload == shown);
    assume (b__beat[5:0] + b__length <= 63);
  end

  reg asks = 0, aw_waits = 0, w_waits = 0, sends = 0, answered = 0;
  reg [39:0] address = 0, address_shown = 0;
  reg [7:0] length = 0, length_shown = 0;
  reg [6:0] left = 0;  // beats that the burst at hand has still to bring
  reg first = 0, last = 0, send_last = 0;
  reg [3:0] start = 0, end_ = 0;
  reg [127:0] word = 0, word_shown = 0;
  reg [15:0] strobes = 0, strobes_shown = 0, strobes_now;
  reg last_shown = 0;
  reg [7:0] outstanding = 0, sent = 0;  // bursts without an answer, those all of whose beats are out
  wire takes = (left != 0) & (~sends | axi__wready);
  wire sent_now = axi__wvalid & axi__wready & axi__wlast;
  integer lane;
  always @* begin
    for (lane = 0; lane < 16; lane = lane + 1)
      strobes_now[lane] = ~stopping & ~(first & (lane < start))
        & ~(last & (left == 1) & (lane > end_));
  end
  always @* assume (~axi__bvalid | (sent > answered));
  always @(posedge clk) begin
    dropping <= stopping & outstanding != 0;
    if (issues) begin
      asks <= 1; address <= {b__beat, 4'd0}; length <= b__length;
    end else if (axi__awready) asks <= 0;
    aw_waits <= axi__awvalid & ~axi__awready;
    address_shown <= axi__awaddr; length_shown <= axi__awlen;
    if (takes) begin
      sends <= 1; word <= inside__buffer__beat; strobes <= strobes_now; send_last <= left == 1;
      left <= left - 1; first <= 0;
    end else if (axi__wready) sends <= 0;
    if (issues) begin
      left <= b__length + 1; first <= b__first; last <= b__last; start <= b__start; end_ <= b__end;
    end
    w_waits <= axi__wvalid & ~axi__wready;
    word_shown <= axi__wdata; strobes_shown <= axi__wstrb; last_shown <= axi__wlast;
    answered <= axi__bvalid;
    outstanding <= outstanding + issues - answered;
    sent <= sent + sent_now - answered;
  end
  always @* begin
    // What the induction needs to know.
    assert (inside__dropping == dropping & axi__awvalid == asks & axi__wvalid == sends);
    assert (inside__writing == (left != 0) & left <= 64);
    if (left != 0) begin
      assert (inside__ends == (left == 1) & inside__burst__length == ((left - 1) & 63));
      assert (inside__burst__first == first & inside__burst__last == last);
      assert (inside__burst__start == start & inside__burst__end == end_);
    end
    assert (outstanding == inside__finals__inner_level + inside__finals__r_rdy);
    assert (inside__finals__inner_level <= 32);
    assert (outstanding == sent + (left != 0) + (sends & send_last));
    assert (sent <= outstanding & (~answered | (sent > 0)));
    if (~inside__finals__r_rdy) assert (sent == 0 & ~(sends & send_last));

    // What is claimed.
    assert (axi__bready & axi__awsize == 4 & axi__awburst == 1 & axi__awid == 0);
    assert (~issues | (inside__buffer__o__valid & ~stopping & (~asks | axi__awready)));
    assert (inside__buffer__next == takes);
    if (aw_waits) assert (axi__awvalid & axi__awaddr == address_shown & axi__awlen == length_shown);
    if (axi__awvalid) begin
      assert (axi__awaddr == address & axi__awlen == length & axi__awaddr[3:0] == 0);
      assert (axi__awaddr[9:4] + axi__awlen <= 63);
    end
    if (w_waits) begin
      assert (axi__wvalid & axi__wdata == word_shown);
      assert (axi__wstrb == strobes_shown & axi__wlast == last_shown);
    end
    if (axi__wvalid)
      assert (axi__wdata == word & axi__wstrb == strobes & axi__wlast == send_last);
    assert (inside__finals__w_en == issues & (~issues | inside__finals__w_rdy));
    assert (inside__finals__r_en == answered & (~answered | inside__finals__r_rdy));
    assert (done == (answered & ~stopping & inside__finals__r_data));
    if (issues) assert (inside__finals__w_data == b__last & (left == 0 | takes & left == 1));
    assert (outstanding <= 33 & idle == (outstanding == 0));
  end
