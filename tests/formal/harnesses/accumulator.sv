  // A lane is read, its word is added to, and the lane is read again `REVISIT` cycles later: it is
  // the lane before plus the lane of partial sums, modulo its width, or the latter alone; or it is
  // what it was where nothing was added. What other lanes hold or are given makes no difference.
  localparam ENTRY = SUMS + 2 + MODE_BITS + ADDRESS + ADDRESS + LANE_BITS + MODE_BITS + OUT;
  wire [ENTRY-1:0] now = {sums, valid, first, mode, address, read_address, read_lane, read_mode, lane};
  reg [7*ENTRY-1:0] past;
  always @(posedge clk) past <= {past, now};
  wire [8*ENTRY-1:0] all = {past, now};

  // Cycle 2 is that of the addition; it is 7 now.
  wire [8*SUMS-1:0] sums_at;
  wire [7:0] valid_at, first_at;
  wire [8*MODE_BITS-1:0] mode_at, read_mode_at;
  wire [8*ADDRESS-1:0] address_at, read_address_at;
  wire [8*LANE_BITS-1:0] read_lane_at;
  wire [8*OUT-1:0] lane_at;
  wire [7:0] same;
  for (genvar c = 0; c < 8; c = c + 1) begin: cycles
    assign {
      sums_at[c*SUMS +: SUMS], valid_at[c], first_at[c], mode_at[c*MODE_BITS +: MODE_BITS],
      address_at[c*ADDRESS +: ADDRESS], read_address_at[c*ADDRESS +: ADDRESS],
      read_lane_at[c*LANE_BITS +: LANE_BITS], read_mode_at[c*MODE_BITS +: MODE_BITS],
      lane_at[c*OUT +: OUT]
    } = all[(7-c)*ENTRY +: ENTRY];
    assign same[c] = valid_at[c] && address_at[c*ADDRESS +: ADDRESS] == read;
  end
  wire [ADDRESS-1:0] read = read_address_at[2*ADDRESS +: ADDRESS];
  wire [LANE_BITS-1:0] number = read_lane_at[2*LANE_BITS +: LANE_BITS];
  wire [MODE_BITS-1:0] used = read_mode_at[2*MODE_BITS +: MODE_BITS];
  wire signed [OUT-1:0] before = lane_at[4*OUT +: OUT];
  wire signed [OUT-1:0] after = lane_at[7*OUT +: OUT];
  wire again = read_address_at[5*ADDRESS +: ADDRESS] == read
    && read_lane_at[5*LANE_BITS +: LANE_BITS] == number
    && read_mode_at[5*MODE_BITS +: MODE_BITS] == used;
  wire alone = !same[0] && !same[1] && !same[3] && !same[4];
  wire [SUMS-1:0] given = sums_at[2*SUMS +: SUMS];

  for (genvar level = 0; 1 << level <= LANES; level = level + 1) begin: levels
    localparam COUNT = 1 << level;
    localparam LANE = SUMS / COUNT;
    localparam WIDE = ACCUMULATOR / COUNT;
    localparam SEEN = WIDE < OUT ? WIDE : OUT;
    for (genvar l = 0; l < COUNT; l = l + 1) begin: lanes
      wire signed [LANE-1:0] addend = given[l*LANE +: LANE];
      wire signed [OUT-1:0] extended = addend;
      wire signed [SEEN-1:0] sum = first_at[2] ? extended : before + extended;
      wire signed [OUT-1:0] expected = sum;
      always @* if (again && alone && MODES[level*8 + used] && number == l) begin
        if (!same[2]) assert (after == before);
        else if (mode_at[2*MODE_BITS +: MODE_BITS] == used) assert (after == expected);
      end
    end
  end
