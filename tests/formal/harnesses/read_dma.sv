  // Addresses obey AXI: they wait unchanged, stay within a block of 1 KiB, and each is a burst of one
  // client's splitter for which its buffer has room; beats go to the client that asked, each byte in
  // its lane. Splitters and buffers are cut out: of them is assumed what is proved of them.
  wire [CLIENTS-1:0] split_valid = {SPLIT_VALID}, split_ready = {SPLIT_READY};
  wire [CLIENTS-1:0] fits = {FITS}, reserve = {RESERVE}, beat_valid = {BEAT_VALID};
  wire [BURST*CLIENTS-1:0] bursts = {BURSTS};
  reg [CLIENTS-1:0] waits = 0;
  reg [BURST*CLIENTS-1:0] bursts_shown = 0;
  integer i, lane;
  always @(posedge clk) begin
    waits <= split_valid & ~split_ready & {CLIENTS{~stopping}};
    bursts_shown <= bursts;
  end
  always @* for (i = 0; i < CLIENTS; i = i + 1) begin
    if (waits[i]) assume (split_valid[i]);
    if (waits[i]) assume (bursts[BURST * i +: BURST] == bursts_shown[BURST * i +: BURST]);
    assume (bursts[BURST * i +: 6] + bursts[BURST * i + LENGTH_LOW +: 6] <= 63);
  end

  reg dropping = 0, ar_waits = 0, asks = 0;
  wire stopping = abort | dropping;
  reg [39:0] address = 0, address_shown = 0;
  reg [7:0] length = 0, length_shown = 0;
  reg [7:0] outstanding = 0, on_bus = 0;
  reg came = 0, came_last = 0;
  reg [127:0] word = 0;
  wire issues = |(split_valid & split_ready);
  reg [CLIENTS-1:0] lowest;
  reg [BURST-1:0] chosen;
  reg [3:0] number;
  always @* begin
    lowest = 0; chosen = 0; number = 0;
    for (i = CLIENTS - 1; i >= 0; i = i - 1) if (split_valid[i] & fits[i]) begin
      lowest = 1 << i; chosen = bursts[BURST * i +: BURST]; number = i;
    end
  end
  // The bus answers bursts that it took, and no others.
  always @* assume (~axi__rvalid | (on_bus > (came & came_last)));
  always @(posedge clk) begin
    if (~axi__arvalid | axi__arready) asks <= issues;
    if (issues) begin
      address <= {chosen[35:0], 4'd0}; length <= chosen >> LENGTH_LOW & 63;
    end
    ar_waits <= axi__arvalid & ~axi__arready;
    address_shown <= axi__araddr; length_shown <= axi__arlen;
    outstanding <= outstanding + issues - (came & came_last);
    on_bus <= on_bus + (axi__arvalid & axi__arready) - (came & came_last);
    came <= axi__rvalid; came_last <= axi__rlast; word <= axi__rdata;
    dropping <= stopping & outstanding != 0;
  end
  wire [3:0] start = inside__origins__r_data >> START_LOW >> ALIGNMENT_BITS << ALIGNMENT_BITS;
  wire [3:0] client = inside__origins__r_data & (1 << CLIENT_BITS) - 1;
  reg [3:0] from;
  always @* begin
    // What the induction needs to know.
    assert (inside__dropping == dropping & axi__arvalid == asks);
    assert (outstanding == inside__origins__inner_level + inside__origins__r_rdy);
    assert (outstanding == on_bus + asks & inside__origins__inner_level <= 32);
    if (~inside__origins__r_rdy) assert (on_bus == 0);
    assert (inside__valid == came & inside__ends == came_last & inside__word == word);
    assert (~came | (on_bus > 0));

    // What is claimed.
    assert (axi__rready & axi__arsize == 4 & axi__arburst == 1 & axi__arid == 0);
    if (ar_waits) assert (axi__arvalid & axi__araddr == address_shown & axi__arlen == length_shown);
    if (axi__arvalid) begin
      assert (axi__araddr == address & axi__arlen == length & axi__araddr[3:0] == 0);
      assert (axi__araddr[9:4] + axi__arlen <= 63);
    end
    assert ((split_valid & split_ready) == (issues ? lowest : 0) & reserve == (issues ? lowest : 0));
    assert (~issues | (lowest & ~fits) == 0 & ~stopping);
    assert (inside__origins__w_en == issues & (~issues | inside__origins__w_rdy));
    if (issues) begin
      assert ((inside__origins__w_data & (1 << CLIENT_BITS) - 1) == number);
      assert ((inside__origins__w_data >> START_LOW & 15) == (chosen >> BURST_START & 15));
    end
    assert (outstanding <= 33 & idle == (outstanding == 0));
    if (came) begin
      assert (inside__origins__r_rdy & inside__origins__r_en == came_last);
      assert (beat_valid == 1 << client | (client >= CLIENTS & beat_valid == 0));
    end else assert (beat_valid == 0 & ~inside__origins__r_en);
    for (lane = 0; lane < 16; lane = lane + 1) begin
      from = lane + start;
      assert (inside__buffer_0__beat[8 * lane +: 8] == word[8 * from +: 8]);
    end
  end
